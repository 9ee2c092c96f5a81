"""The selected probe beside controls and every baseline, per evaluation set and on their mean (Fig. 3 and 12)."""

from candor.config.figures import Figure
from candor.figures import compared
from candor.figures.inputs import Drawn, FigureInput
from candor.figures.measured import Measured


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A column per evaluation set; AUROC from .55 on as in the paper, or lower where a value or interval lies lower."""
    found = Measured(data.metrics or [], data.the_task())
    return compared.draw(data, figure, found, [[found.headline], found.baselines, found.controls], chance=False)
