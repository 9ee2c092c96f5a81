"""Every probe and baseline on every evaluation set and on their mean: AUROC above, TPR at a low FPR below (Fig. 2)."""

from candor.config.figures import Figure
from candor.figures import compared
from candor.figures.inputs import Drawn, FigureInput
from candor.figures.measured import Measured


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A column per evaluation set, a line per monitor; probes stand at their own selected layer."""
    found = Measured(data.metrics or [], data.the_task())
    return compared.draw(data, figure, found, [found.probes, found.controls, found.baselines], chance=True)
