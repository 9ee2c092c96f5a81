"""What a figure is drawn from: checked tables, its config, and the facts that its footnote states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.figure
import pyarrow as pa
import pyarrow.compute as pc

from candor import provenance, tables
from candor.config.captures import Capture
from candor.config.figures import READS
from candor.config.tasks import Task
from candor.errors import CandorError
from candor.schemas.dataset import DATASET
from candor.schemas.experiment import EXPERIMENT
from candor.schemas.metric import METRIC
from candor.schemas.score import SCORE

Row = dict[str, Any]
"""A row of a table, by the columns of its contract."""
Mark = dict[str, str | int | float | bool | None]
"""One drawn mark: a row of the figure's CSV."""


class FigureError(CandorError):
    """A figure cannot be drawn; the message says what is absent and what to do."""


class Drawn(NamedTuple):
    """A picture, and a row for each of its marks."""

    picture: matplotlib.figure.Figure
    marks: list[Mark]


class Examples(NamedTuple):
    """A dataset table, and how many repeated texts were dropped when it was built (None: not recorded)."""

    table: pa.Table
    repeats_dropped: int | None


@dataclass(frozen=True)
class FigureInput:
    """All that a plot may read; what was not given is None or empty."""

    metrics: list[Row] | None = None
    scores: pa.Table | None = None
    datasets: dict[str, Examples] = field(default_factory=dict)  # by dataset id
    experiment: list[Row] | None = None
    task: Task | None = None
    token_layers: tuple[int, ...] = ()  # blocks of the capture that the task's probes are trained on
    model: str | None = None
    selection: str | None = None  # digest of the file that names the selected monitor
    intervals: str | None = None  # how the intervals of the drawn table were made

    def the_task(self) -> Task:
        """The task; FigureError without one."""
        if self.task is None:
            raise FigureError('the config of the task is not given; pass it in --spec as {"tasks": {…}}.')
        return self.task


def load(
    spec: Mapping[str, Any],
    metrics: Path | None = None,
    scores: Sequence[Path] = (),
    datasets: Sequence[Path] = (),
    experiment: Path | None = None,
    selection: Path | None = None,
    models: Path | None = None,
) -> FigureInput:
    """Read and check the files of a figure; of `spec` the sections tasks and captures are read, where given."""
    capture = Capture.model_validate(spec["captures"]) if "captures" in spec else None
    measured = metrics or experiment
    return FigureInput(
        metrics=tables.read(metrics, METRIC).to_pylist() if metrics else None,
        scores=pa.concat_tables([tables.read(path, SCORE) for path in scores]) if scores else None,
        datasets={path.stem: _examples(path) for path in datasets},
        experiment=tables.read(experiment, EXPERIMENT).to_pylist() if experiment else None,
        task=Task.model_validate(spec["tasks"]) if "tasks" in spec else None,
        token_layers=tuple(capture.layers) if capture and isinstance(capture.layers, list) else (),
        model=str(tables.read_json(models)["name"]) if models else None,
        selection=provenance.sha256(selection) if selection else None,
        intervals=provenance.read(measured).get("intervals") if measured else None,
    )


def require(data: FigureInput, plot: str) -> None:
    """Stop with a sentence where an input is absent that the plot reads."""
    absent = [name for name in READS[plot] if not getattr(data, name)]
    if absent:
        raise FigureError(f"plot {plot} reads {', '.join(READS[plot])}; not given: {', '.join(absent)}.")


def _examples(path: Path) -> Examples:
    table = tables.read(path, DATASET)
    return Examples(table, provenance.read(path).get("repeats_dropped"))


def part_of(examples: Examples, split: str) -> pa.Table:
    """The rows of one split."""
    return examples.table.filter(pc.equal(examples.table.column("split"), split))
