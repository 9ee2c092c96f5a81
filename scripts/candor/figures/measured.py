"""The metric table of one task, looked up by monitor, evaluation set and quantity."""

from collections.abc import Sequence

from candor.config.tasks import Task
from candor.figures import style
from candor.figures.inputs import FigureError, Row
from candor.schemas.metric import MEAN_DATASET

FEW_NEGATIVES = 300
"""Below this many negatives a false positive rate of 1 % is a count of 0, 1 or 2 (docs/high_stakes.md)."""

KINDS = {
    "selected probe": style.HEADLINE,
    "other probes": style.PROBE,
    "controls": style.CONTROL,
    "text": style.TEXT,
    "prompted": style.PROMPTED,
    "finetuned": style.FINETUNED,
    "judge": style.JUDGE,
}
"""What monitors are called by kind, and how they are drawn."""
FAMILIES = {
    "tfidf": "text",
    "bag_of_words": "text",
    "length": "controls",
    "prompted": "prompted",
    "finetuned": "finetuned",
    "judge": "judge",
}
"""The kind of a baseline by its family; of another family it is drawn as text."""


class Measured:
    """Rows of METRIC of one task; every probe stands at its own selected layer.

    Monitors are probes, which are selected from, controls, which should tell little, and baselines.
    """

    def __init__(self, rows: Sequence[Row], task: Task) -> None:
        self.task = task
        self._rows = {(row["monitor"], row["dataset"], row["class"], row["metric"], row["versus"]): row for row in rows}
        self._layers: dict[str, int | None] = {row["monitor"]: row["layer"] for row in rows}
        self._families: dict[str, str] = {row["monitor"]: row["family"] for row in rows}
        known = set(self._layers)
        self.probes = [probe for probe in task.probes if probe in known]
        self.controls = [control for control in task.controls if control in known]
        self.baselines = [baseline for baseline in task.baselines if baseline in known]
        selected = sorted({row["monitor"] for row in rows if row["selected"]})
        if len(selected) != 1:
            raise FigureError(
                f"the metric table marks {', '.join(selected) or 'no monitor'} as selected, where it should mark "
                "exactly one; measure the task again."
            )
        self.headline: str = selected[0]

    @property
    def monitors(self) -> list[str]:
        """All that were measured, in the config's order."""
        return [*self.probes, *self.controls, *self.baselines]

    def kind(self, monitor: str) -> str:
        """What a monitor is, by its name in KINDS."""
        if monitor in self.probes:
            return "selected probe" if monitor == self.headline else "other probes"
        return "controls" if monitor in self.controls else FAMILIES.get(self._families[monitor], "text")

    def look(self, monitor: str) -> style.Look:
        """How a monitor is drawn."""
        return KINDS[self.kind(monitor)]

    def kinds(self, monitors: Sequence[str]) -> dict[str, style.Look]:
        """The kinds among monitors, in the order of a legend."""
        found = {self.kind(monitor) for monitor in monitors}
        return {kind: look for kind, look in KINDS.items() if kind in found}

    @property
    def columns(self) -> list[str]:
        """The evaluation sets in the config's order, and the mean where it is over two or more of them."""
        parts = list(self.task.evaluation)
        return [*parts, MEAN_DATASET] if len(self.averaged) > 1 else parts

    @property
    def averaged(self) -> list[str]:
        """The evaluation sets that the mean is taken over: those out of distribution, or all where there are none."""
        return [p for p in self.task.evaluation if p not in self.task.in_distribution] or list(self.task.evaluation)

    def text_baseline(self) -> str:
        """The first baseline of the task that was measured."""
        if not self.baselines:
            raise FigureError("the metric table has no baseline of the task; add one to the task and measure it again.")
        return self.baselines[0]

    def row(self, monitor: str, dataset: str, metric: str, versus: str | None = None) -> Row:
        """The row of a quantity; one without a value where it was not measured.

        The AUROC of a task with three or more classes is the macro mean; its rates are those of `rated_class`.
        """
        macro = metric == "auroc" and len(self.task.classes) > 2
        return self._find(monitor, dataset, "macro" if macro else self.rated_class, metric, versus)

    def auroc_of_rated_class(self, monitor: str, dataset: str) -> Row:
        """The AUROC that belongs to the ROC curve of `rated_class`."""
        return self._find(monitor, dataset, self.rated_class, "auroc", None)

    def _find(self, monitor: str, dataset: str, name: str, metric: str, versus: str | None) -> Row:
        nothing = {"value": None, "low": None, "high": None, "p_holm": None, "n": 0, "n_groups": 0, "n_skipped": 0}
        unmeasured = {**nothing, "metric": metric, "versus": versus, "n_negative": 0, "n_seeds": 0}
        return self._rows.get((monitor, dataset, name, metric, versus), unmeasured)

    @property
    def rated_class(self) -> str:
        """The class that rates are about: the positive one of two, else the second one against the rest."""
        return self.task.classes[1]

    def layer(self, monitor: str) -> int | None:
        """The block that a monitor reads."""
        return self._layers[monitor]

    def name(self, monitor: str) -> str:
        """A monitor's id, with the block that it reads."""
        layer = self._layers[monitor]
        return monitor if layer is None else f"{monitor} L{layer}"

    def few_negatives(self, dataset: str) -> bool:
        """Whether a set, or one of those under the mean, has too few negatives for its rate at 1 % to be resolved."""
        sets = self.averaged if dataset == MEAN_DATASET else [dataset]
        return any(0 < self.negatives(part) < FEW_NEGATIVES for part in sets)

    def negatives(self, dataset: str) -> int:
        """Negatives of a set; the fewest over monitors, where some skipped rows."""
        found = [self.row(m, dataset, "tpr_at_fpr")["n_negative"] for m in self.monitors]
        return min((n for n in found if n), default=0)

    def class_notes(self) -> list[str]:
        """What a figure of three or more classes says about its AUROC and rates."""
        if len(self.task.classes) == 2:
            return []
        return [f"AUROC: mean over classes, each against the rest. Rates: {self.rated_class} against the rest."]

    def mean_notes(self) -> list[str]:
        """What a figure that draws the mean over evaluation sets says about it."""
        if MEAN_DATASET not in self.columns:
            return []
        near = [part for part in self.task.evaluation if part not in self.averaged]
        left_out = f", without {', '.join(near)} (drawn like the training set)" if near else ""
        return [f"Mean: over {len(self.averaged)} evaluation sets{left_out}."]

    @property
    def how(self) -> str:
        """How the intervals are made, where the table does not say more."""
        return f"bootstrap over groups and seeds ({self.task.bootstrap} draws)"
