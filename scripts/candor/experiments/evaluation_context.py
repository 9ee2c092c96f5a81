"""What an experiment on evaluation sets is given: parts with their activations, trained probes, and the selection."""

import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from candor import models, tables
from candor.activations.files import ActivationsError
from candor.config.experiments import SELECTED, Experiment
from candor.config.models import Model
from candor.config.probes import Probe
from candor.config.tasks import Measurement, dataset_of
from candor.data.parts import texts_of
from candor.errors import CandorError
from candor.experiments.curves import Sheet
from candor.probes.features import Part, read_part
from candor.probes.files import SavedProbe
from candor.progress import Progress
from candor.provenance import safetensors_header
from candor.schemas.score import SCORE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Usable(NamedTuple):
    """The examples of a part that carry a score and a label of the task: label 0 or 1 int64 [n], and group of each.

    `at` are their rows in the part; `n_skipped` rows are left out.
    """

    part: Part
    at: list[int]
    y: np.ndarray
    groups: list[str]
    n_skipped: int

    def of(self, chosen: Sequence[int]) -> "Usable":
        """Some of them, by their place among the usable; the others do not count as skipped."""
        at, groups = [self.at[i] for i in chosen], [self.groups[i] for i in chosen]
        return Usable(self.part, at, self.y[list(chosen)], groups, self.n_skipped)


@dataclass
class EvaluationContext:
    """A task's parts, its probes as they were trained, and what has been selected."""

    id: str
    experiment: Any
    task: Measurement
    probes: Mapping[str, Any]
    """Config of each probe, by id."""
    saved: Mapping[str, SavedProbe]
    selection: Mapping[str, Any]
    train: Part
    evaluation: Mapping[str, Part]
    """By name, in the order of the task."""
    development: Mapping[str, Part]
    progress: Callable[[str, int, str], Any]
    baselines: Mapping[str, pa.Table] = field(default_factory=dict)
    """Scores of monitors that read no activations, on the evaluation parts."""
    tokenizer: Callable[[], "PreTrainedTokenizerBase"] | None = None
    responses: Sequence[Path] = ()
    """What the subject answered to the training dataset's texts, for an experiment that reads it."""

    def probe(self, id: str) -> tuple[str, Any, SavedProbe, int]:
        """Id, config, trained weights and selected layer of a probe; `selected` stands for the one that was chosen."""
        monitor = str(self.selection["monitor"]) if id == SELECTED else id
        if monitor not in self.saved:
            given = ", ".join(self.saved)
            raise CandorError(f"experiments.{self.id}: the probe {monitor} was not given; given are {given}.")
        saved = self.saved[monitor]
        layer = int({**self.selection["probes"], **self.selection.get("controls", {})}[monitor]["layer"])
        for part in (self.train, *self.evaluation.values(), *self.development.values()):
            header = part.activations.header
            saved.refuse_other(
                subject=header.subject,
                revision=header.revision,
                hook=header.hook,
                width=header.width,
                path=part.activations.paths[0],
            )
        return monitor, self.probes[monitor], saved, layer

    def usable(self, part: Part, probe: Any) -> Usable:
        """The part's examples that a probe scores and that have a label; CandorError for other than two classes."""
        classes = self.task.classes
        if len(classes) != 2:
            raise CandorError(
                f"experiments.{self.id}: its task has {len(classes)} classes, and its AUROC is that of two; "
                "name a task of two classes."
            )
        part = part.of_roles(probe.roles)
        labels = part.labels(classes)
        at = [i for i in part.scored() if labels[i] is not None]
        if not at:
            raise CandorError(f"{part.name}: no example has a label of the task and tokens that the probe reads.")
        y = np.array([labels[i] for i in at], dtype=np.int64)
        return Usable(part, at, y, [part.rows[i]["group_id"] for i in at], len(part.rows) - len(at))

    def sheet(self, name: str, usable: Usable) -> Sheet:
        """Draws of groups of an evaluation set, or of some of its examples."""
        task = self.task
        return Sheet(name, usable.y == 1, usable.groups, usable.n_skipped, task.bootstrap, task.seed)

    def outside(self, parts: Sequence[str]) -> list[str]:
        """Those of the parts that enter the mean: out of distribution, or all where none is."""
        return [part for part in parts if part not in self.task.in_distribution] or list(parts)


def read_context(args: Namespace) -> EvaluationContext:
    """The context that the command line of run_evaluation_experiment names."""
    captured = [*args.evaluation_activations, *args.development_activations]
    probes = by_id(args.spec["probes"], args.monitors)
    task = Measurement.model_validate(args.spec["tasks"])

    def tokenizer() -> "PreTrainedTokenizerBase":
        facts = models.read_facts(args.model)
        model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
        return models.tokenizer_of(models.folder_of(model, facts), facts)

    return EvaluationContext(
        id=args.experiment,
        experiment=TypeAdapter(Experiment).validate_python(args.spec["experiments"]),
        task=task,
        probes={id: TypeAdapter(Probe).validate_python(config) for id, config in probes.items()},
        # none where an experiment learns everything anew
        saved={id: SavedProbe.load(path) for id, path in zip(args.monitors, args.probes, strict=bool(args.probes))},
        selection=tables.read_json(args.selection) if args.selection else {},
        train=read_part(task.train, args.data, args.activations),
        evaluation=read_parts(args.evaluation_parts, args.evaluation_data, captured),
        development=read_parts(args.development_parts, args.development_data, captured),
        baselines=tables_by_monitor(args.baseline_scores),
        tokenizer=tokenizer,
        responses=args.responses,
        progress=lambda name, total, unit: Progress(name, total, unit, args.progress),
    )


def read_parts(names: Sequence[str], data: Sequence[Path], shards: Sequence[Path]) -> dict[str, Part]:
    """Parts by name: `data` is the dataset's file of each, and `shards` all files of activations, in any order.

    A file belongs to the dataset that its header names, and to those that only label it anew.
    """
    of_dataset: dict[str, list[tuple[str, Path]]] = {}
    for path in dict.fromkeys(shards):
        header = safetensors_header(path).get("__metadata__", {})
        if "capture" not in header:
            raise ActivationsError(f"{path}: is not an activations file.")
        capture = json.loads(header["capture"])
        of_dataset.setdefault(capture["dataset"], []).append((capture["shard"], path))
    if len(data) != len(names):
        raise CandorError(f"{len(names)} parts ({', '.join(names)}) have {len(data)} files of data; give one for each.")
    found = {}
    for name, path in zip(names, data, strict=True):
        texts = texts_of(path, dataset_of(name)).dataset
        if texts not in of_dataset:
            held = ", ".join(sorted(of_dataset)) or "none"
            raise ActivationsError(
                f"{name}: no file of activations was given of its dataset; given are those of {held}."
            )
        found[name] = read_part(name, path, [shard for _, shard in sorted(of_dataset[texts])])
    return found


def by_id(section: Mapping[str, Any], monitors: Sequence[str]) -> dict[str, Any]:
    """The spec's section `probes` by id: one entry alone, which has a family, is that of the only monitor."""
    if isinstance(section.get("family"), str):
        if len(monitors) != 1:
            raise CandorError(f"the spec has one probe, but the monitors are {', '.join(monitors)}.")
        return {monitors[0]: section}
    absent = [id for id in monitors if id not in section]
    if absent:
        raise CandorError(f"the spec has no probe {', '.join(absent)}; it has {', '.join(section)}.")
    return {id: section[id] for id in monitors}


def tables_by_monitor(paths: Sequence[Path]) -> dict[str, pa.Table]:
    """Score tables put together by the monitor that their rows name, in the order of the files."""
    found: dict[str, list[pa.Table]] = {}
    for path in dict.fromkeys(paths):
        table = tables.read(path, SCORE)
        for monitor in table.column("monitor").unique().to_pylist():
            found.setdefault(monitor, []).append(table.filter(pc.equal(table.column("monitor"), monitor)))
    return {monitor: pa.concat_tables(parts) for monitor, parts in found.items()}
