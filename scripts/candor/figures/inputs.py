"""What a figure is drawn from: checked tables, its config, and the facts that its footnote states."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.figure
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from candor import provenance, tables
from candor.config.captures import Capture
from candor.config.comparisons import Adherence, Comparison, Vulnerability
from candor.config.figures import COMPARED, READS, Figure
from candor.config.judges import Judge
from candor.config.panels import Panel
from candor.config.tasks import Task
from candor.errors import CandorError
from candor.schemas.agreement import AGREEMENT
from candor.schemas.base import TableSchema
from candor.schemas.cell import CELL
from candor.schemas.curve import CURVE
from candor.schemas.dataset import DATASET
from candor.schemas.experiment import EXPERIMENT
from candor.schemas.history import HISTORY
from candor.schemas.metric import METRIC
from candor.schemas.place import PLACE
from candor.schemas.rate import RATE
from candor.schemas.score import SCORE
from candor.schemas.token import TOKEN

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


class Compared(NamedTuple):
    """A comparison: its config, the configs of its judges, and its rows of RATE.

    A row also has `metric` (its measure) and `n_groups` (its prompts), by which marks name what they draw.
    """

    id: str
    config: Adherence | Vulnerability
    judges: Mapping[str, Judge]
    rows: Sequence[Row]

    @property
    def arms(self) -> list[str]:
        """The arms that were compared, the control last."""
        found = dict.fromkeys(row["arm"] for row in self.rows if row["measure"] in ("behaviour", "vulnerable"))
        return sorted(found, key=lambda arm: arm == "control")

    @property
    def prompts(self) -> int:
        """Distinct prompts, of the arm that has most."""
        return max((row["n_prompts"] for row in self.rows if row["measure"] in ("behaviour", "vulnerable")), default=0)

    def row(
        self, measure: str, arm: str | None = None, judge: str | None = None, verdict: str | None = None
    ) -> Row | None:
        """The row of a measure; None where the table has none, so that nothing was to be measured."""
        wanted = (measure, arm, judge, verdict)
        found = (row for row in self.rows if (row["measure"], row["arm"], row["judge"], row["verdict"]) == wanted)
        return next(found, None)


class Agreement(NamedTuple):
    """A panel: its config, the configs of its judges, and its rows of AGREEMENT.

    A row also has `metric` (its measure), by which marks name what they draw.
    """

    id: str
    config: Panel
    judges: Mapping[str, Judge]
    rows: Sequence[Row]

    def row(
        self, measure: str, judge: str | None = None, other: str | None = None, gold: str | None = None
    ) -> Row | None:
        """The row of a measure of no single verdict; None where the table has none."""
        wanted = (measure, judge, other, None, gold)
        names = ("measure", "judge", "other", "verdict", "gold")
        return next((row for row in self.rows if tuple(row[name] for name in names) == wanted), None)

    def by_verdict(self, measure: str, judge: str | None = None, gold: str | None = None) -> list[Row]:
        """The rows of a measure that has one per verdict."""
        named = [row for row in self.rows if row["measure"] == measure and row["verdict"] is not None]
        return [row for row in named if (row["judge"], row["gold"]) == (judge, gold)]


class History(NamedTuple):
    """The course of one finetuning: rows of HISTORY, and what its provenance tells of the examples."""

    adapter: str
    rows: Sequence[Row]
    facts: Mapping[str, Any]


class Curves(NamedTuple):
    """Rows of CURVE of one experiment, or of one baseline's templates, or rows of CELL; and what provenance tells."""

    id: str
    rows: Sequence[Row]
    facts: Mapping[str, Any]

    def config(self, key: str) -> Any:
        """What the experiment's config has under a key; None where provenance does not tell."""
        return self.facts.get("spec", {}).get("experiments", {}).get(key)


@dataclass(frozen=True)
class FigureInput:
    """All that a plot may read; what was not given is None or empty."""

    metrics: list[Row] | None = None
    scores: pa.Table | None = None
    datasets: dict[str, Examples] = field(default_factory=dict)  # by dataset id
    experiment: list[Row] | None = None
    comparisons: tuple[Compared, ...] = ()
    histories: tuple[History, ...] = ()
    panels: tuple[Agreement, ...] = ()
    curves: tuple[Curves, ...] = ()
    templates: tuple[Curves, ...] = ()
    tokens: list[Row] | None = None
    cells: Curves | None = None
    places: list[Row] | None = None
    task: Task | None = None
    token_layers: tuple[int, ...] = ()  # blocks of the capture that the task's probes are trained on
    model: str | None = None
    selection: str | None = None  # digest of the file that names the selected monitor
    intervals: str | None = None  # how the intervals of the drawn tables were made

    def the_task(self) -> Task:
        """The task; FigureError without one."""
        if self.task is None:
            raise FigureError('the config of the task is not given; pass it in --spec as {"tasks": {…}}.')
        return self.task


@dataclass(frozen=True)
class Files:
    """The files of a figure; comparisons, histories, panels and curves stand in the order in which it names them."""

    metrics: Path | None = None
    cells: Path | None = None
    places: Path | None = None
    scores: Sequence[Path] = ()
    datasets: Sequence[Path] = ()
    experiment: Path | None = None
    comparisons: Sequence[Path] = ()
    histories: Sequence[Path] = ()
    panels: Sequence[Path] = ()
    curves: Sequence[Path] = ()
    templates: Sequence[Path] = ()
    tokens: Sequence[Path] = ()
    selection: Path | None = None
    models: Sequence[Path] = ()

    def paths(self) -> list[Path]:
        """Every file."""
        single = [p for p in (self.metrics, self.experiment, self.cells, self.places, self.selection) if p]
        several = (self.models, self.scores, self.datasets, self.comparisons, self.histories, self.panels)
        lines = (self.curves, self.templates, self.tokens)
        return [*single, *(path for paths in (*several, *lines) for path in paths)]


def load(spec: Mapping[str, Any], figure: Figure, files: Files) -> FigureInput:
    """Read and check the files of a figure; `spec` holds the configs of what they are about, by section."""
    capture = Capture.model_validate(spec["captures"]) if "captures" in spec else None
    measured = [path for path in (files.metrics, files.experiment, files.cells) if path]
    measured += [*files.comparisons, *files.panels]
    measured += [*files.curves, *files.templates]
    methods = dict.fromkeys(provenance.read(path).get("intervals") for path in measured)
    return FigureInput(
        metrics=tables.read(files.metrics, METRIC).to_pylist() if files.metrics else None,
        scores=pa.concat_tables([tables.read(path, SCORE) for path in files.scores]) if files.scores else None,
        datasets={path.stem: _examples(path) for path in files.datasets},
        experiment=tables.read(files.experiment, EXPERIMENT).to_pylist() if files.experiment else None,
        comparisons=_comparisons(spec, figure, files.comparisons),
        histories=_histories(figure, files.histories),
        panels=_panels(spec, figure, files.panels),
        curves=_curves(figure, files.curves),
        templates=tuple(_lines(path.stem, path) for path in files.templates),
        tokens=_tokens(figure, files.tokens),
        cells=_of_experiment(figure, files.cells, CELL) if files.cells else None,
        places=list(_of_experiment(figure, files.places, PLACE).rows) if files.places else None,
        task=Task.model_validate(spec["tasks"]) if "tasks" in spec else None,
        token_layers=tuple(capture.layers) if capture and isinstance(capture.layers, list) else (),
        model=", ".join(dict.fromkeys(str(tables.read_json(path)["name"]) for path in files.models)) or None,
        selection=provenance.sha256(files.selection) if files.selection else None,
        intervals="; ".join(method for method in methods if method) or None,
    )


def require(data: FigureInput, plot: str) -> None:
    """Stop with a sentence where an input is absent that the plot reads."""
    absent = [name for name in READS[plot] if not getattr(data, name)]
    if absent:
        raise FigureError(f"plot {plot} reads {', '.join(READS[plot])}; not given: {', '.join(absent)}.")


def _comparisons(spec: Mapping[str, Any], figure: Figure, paths: Sequence[Path]) -> tuple[Compared, ...]:
    if not paths:
        return ()
    _expect_one_each("comparisons", figure.comparisons, paths)
    reader: TypeAdapter[Comparison] = TypeAdapter(Comparison)
    configs = {
        id: reader.validate_python(entry) for id, entry in _entries(spec, "comparisons", figure.comparisons).items()
    }
    named = {id: config.all_judges() for id, config in configs.items()}
    judges = _judges(spec, named.values())
    found = []
    for (id, config), path in zip(configs.items(), paths, strict=True):
        if config.kind != COMPARED[figure.plot]:
            raise FigureError(f"plot {figure.plot} draws comparisons of kind {COMPARED[figure.plot]}; {id} is another.")
        rows = tables.read(path, RATE).to_pylist()
        if any(row["comparison"] != id for row in rows):
            raise FigureError(f"{path}: is not of the comparison {id}; give tables in the figure's order.")
        rows = [{**row, "metric": row["measure"], "n_groups": row["n_prompts"]} for row in rows]
        found.append(Compared(id, config, {name: judges[name] for name in named[id]}, rows))
    return tuple(found)


def _histories(figure: Figure, paths: Sequence[Path]) -> tuple[History, ...]:
    if not paths:
        return ()
    _expect_one_each("adapters", figure.adapters, paths)
    return tuple(
        History(id, tables.read(path, HISTORY).to_pylist(), provenance.read(path))
        for id, path in zip(figure.adapters, paths, strict=True)
    )


def _panels(spec: Mapping[str, Any], figure: Figure, paths: Sequence[Path]) -> tuple[Agreement, ...]:
    if not paths:
        return ()
    _expect_one_each("panels", figure.panels, paths)
    configs = {id: Panel.model_validate(entry) for id, entry in _entries(spec, "panels", figure.panels).items()}
    judges = _judges(spec, [config.judges for config in configs.values()])
    found = []
    for (id, config), path in zip(configs.items(), paths, strict=True):
        rows = tables.read(path, AGREEMENT).to_pylist()
        if any(row["panel"] != id for row in rows):
            raise FigureError(f"{path}: is not of the panel {id}; give tables in the figure's order.")
        rows = [{**row, "metric": row["measure"]} for row in rows]
        found.append(Agreement(id, config, {name: judges[name] for name in config.judges}, rows))
    return tuple(found)


def _curves(figure: Figure, paths: Sequence[Path]) -> tuple[Curves, ...]:
    if not paths:
        return ()
    _expect_one_each("experiments", figure.experiments, paths)
    found = tuple(_lines(id, path) for id, path in zip(figure.experiments, paths, strict=True))
    for curves, path in zip(found, paths, strict=True):
        _expect_of(curves.id, curves.rows, path)
    return found


def _lines(id: str, path: Path) -> Curves:
    return Curves(id, tables.read(path, CURVE).to_pylist(), provenance.read(path))


def _tokens(figure: Figure, paths: Sequence[Path]) -> list[Row] | None:
    rows = [row for path in paths for row in tables.read(path, TOKEN).to_pylist()]
    if rows and figure.experiment is not None:
        _expect_of(figure.experiment, rows, paths[0])
    return rows or None


def _of_experiment(figure: Figure, path: Path, schema: TableSchema) -> Curves:
    found = Curves(figure.experiment or path.stem, tables.read(path, schema).to_pylist(), provenance.read(path))
    _expect_of(found.id, found.rows, path)
    return found


def _expect_of(id: str, rows: Sequence[Row], path: Path) -> None:
    if any(row["experiment"] != id for row in rows):
        raise FigureError(f"{path}: is not of the experiment {id}; give tables in the figure's order.")


def _judges(spec: Mapping[str, Any], named: Iterable[Sequence[str]]) -> dict[str, Judge]:
    """The configs of judges by id."""
    judge: TypeAdapter[Judge] = TypeAdapter(Judge)
    wanted = list(dict.fromkeys(name for names in named for name in names))
    return {id: judge.validate_python(entry) for id, entry in _entries(spec, "judges", wanted).items()}


def _entries(spec: Mapping[str, Any], section: str, ids: Sequence[str]) -> dict[str, Any]:
    """The entries of a section by id; an entry that is alone stands there without its id."""
    if section not in spec:
        raise FigureError(f'the config of {", ".join(ids)} is not given; pass it in --spec as {{"{section}": {{…}}}}.')
    return {ids[0]: spec[section]} if len(ids) == 1 else {id: spec[section][id] for id in ids}


def _expect_one_each(key: str, ids: Sequence[str], paths: Sequence[Path]) -> None:
    if len(ids) != len(paths):
        raise FigureError(f"the figure names {len(ids)} {key}, but {len(paths)} tables are given; give one for each.")


def _examples(path: Path) -> Examples:
    table = tables.read(path, DATASET)
    return Examples(table, provenance.read(path).get("repeats_dropped"))


def part_of(examples: Examples, split: str) -> pa.Table:
    """The rows of one split."""
    return examples.table.filter(pc.equal(examples.table.column("split"), split))
