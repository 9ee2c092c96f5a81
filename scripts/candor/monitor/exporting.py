"""One job of export_cases: from a study's files to the content of a file of cases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from candor import models, provenance, tables
from candor.activations.files import Activations
from candor.config.captures import Capture
from candor.config.models import Model
from candor.config.monitor_app import Replay
from candor.config.samplings import Sampling
from candor.config.tasks import dataset_of
from candor.data.parts import texts_of
from candor.monitor.cases import Reading, Stored, cases, described
from candor.monitor.watching import Watcher
from candor.probes.features import read_part
from candor.probes.files import SavedProbe
from candor.schemas.generation import GENERATION
from candor.schemas.score import SCORE
from candor.schemas.verbalisation import VERBALISATION


class Files(NamedTuple):
    """The files of a job, as scripts/export_cases.py names them."""

    selection: Path
    probe: Path
    model: Path
    data: list[Path]
    activations: list[Path]
    scores: list[Path]
    generations: list[Path]
    verbalisations: list[Path]


def export(
    files: Files, parts: Sequence[str], monitor: str | None, spec: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Path]]:
    """The content of the file of cases, and the files that were read.

    `spec` holds `captures`, `models`, `monitor` (its key `replay`) and, of a capture that names one, `samplings`.
    """
    selection = tables.read_json(files.selection)
    monitor = monitor or str(selection["monitor"])
    probe = files.probe / f"{monitor}.safetensors" if files.probe.is_dir() else files.probe
    capture = Capture.model_validate(spec["captures"])
    layer = {**selection["probes"], **selection["controls"]}[monitor]["layer"]
    saved = SavedProbe.load(probe)
    watcher = Watcher(saved, probe, layer, capture=capture)
    facts, model = models.read_facts(files.model), TypeAdapter(Model).validate_python(spec["models"])
    prefill = Sampling.model_validate(spec["samplings"]).prefill if capture.sampling else ""
    reading = Reading(capture, prefill, models.tokenizer_of(models.folder_of(model, facts), facts))
    stored = [_stored(part, files, saved, watcher.layer) for part in dict.fromkeys(parts)]
    replay = Replay.model_validate(spec.get("monitor", {}))
    found = cases(stored, _scores(files.scores, monitor, watcher), watcher, reading, replay)
    read = [files.selection, probe, files.model, *(path for each in files[3:] for path in each)]
    return described(watcher, monitor, found), read


def _stored(name: str, files: Files, probe: SavedProbe, layer: int) -> Stored:
    dataset = dataset_of(name)
    [data] = [path for path in files.data if path.stem == dataset]
    # a dataset that only labels another one anew has its activations, answers and words
    texts = texts_of(data, dataset).dataset
    shards = [path for path in files.activations if Activations([path]).header.dataset == texts]
    part = read_part(name, data, shards)
    part.expect_layers([layer], "tokens")
    header = part.activations.header
    probe.refuse_other(
        subject=header.subject, revision=header.revision, hook=header.hook, width=header.width, path=shards[0]
    )
    answers = {
        row["example_id"]: row
        for path in files.generations
        if path.parent.name == texts
        for row in tables.read(path, GENERATION).to_pylist()
        if row["sample_index"] == 0
    }
    words: dict[str, list[dict[str, Any]]] = {}
    for path in files.verbalisations:
        if path.parent.name == texts:
            # the prompt or the activation: words of the one say nothing that the prompt does not
            reads = provenance.read(path)["reads"]
            for row in tables.read(path, VERBALISATION).to_pylist():
                kept = {key: row[key] for key in ("token_index", "text", "status", "cosine", "fve")}
                # results/verbalisations/{verbaliser}/{capture}/{dataset}/{shard}.parquet
                words.setdefault(row["example_id"], []).append({"verbaliser": path.parts[-4], "reads": reads, **kept})
    return Stored(part, answers, words)


def _scores(paths: Sequence[Path], monitor: str, watcher: Watcher) -> pa.Table:
    """The scores of the probe that watches, at its layer and seed."""
    table = pa.concat_tables([tables.read(path, SCORE) for path in paths])
    wanted = {"monitor": monitor, "layer": watcher.layer, "seed": watcher.seed}
    for name, value in wanted.items():
        table = table.filter(pc.equal(table.column(name), value))
    return table
