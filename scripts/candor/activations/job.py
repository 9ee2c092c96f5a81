"""One extraction job, from its command line to its file: as a rule of the workflow, or by hand."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from candor import models, provenance, tables
from candor.activations.extraction import extract_to_file
from candor.activations.files import DTYPES, Header
from candor.batching import shard_slice
from candor.config.captures import Capture
from candor.config.models import HubModel, Model
from candor.config.sources import LocalSource
from candor.data.examples import RawRow, messages_of
from candor.errors import CandorError
from candor.hardware import auto_batch_tokens, auto_device, auto_dtype
from candor.models import Subject
from candor.schemas.dataset import DATASET
from candor.sources import fetch

PACKAGES = ("torch", "transformers", "safetensors")


def from_config(args: Namespace) -> dict[str, int]:
    """Extract a shard of a dataset table with the capture and model of the spec; return counts by status."""
    capture = Capture.model_validate(args.spec["captures"])
    model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
    facts = models.read_facts(Path(args.model))
    rows = tables.read(args.data, DATASET).to_pylist()
    rows = rows[shard_slice(args.shard, len(rows))]
    subject = models.load(model, facts, args.adapter)
    return _extract(
        args,
        subject,
        capture,
        subject_id=capture.subject,
        revision=facts["revision"] or provenance.digest(facts["files"])[:16],
        ids=[row["example_id"] for row in rows],
        messages=[row["messages"] for row in rows],
        data=args.data,
        inputs=[Path(args.model), *models.adapter_files(args.adapter), args.data],
    )


def by_hand(args: Namespace) -> dict[str, int]:
    """Extract a file of rows from a model's folder or hub id; return counts by status."""
    device = auto_device()
    dtype = auto_dtype(device)
    known = {"name": args.model, "blocks": 1, "width": 1, "parameters": 1, "device": device, "dtype": dtype}
    if Path(args.model).is_dir():
        found = models.describe(Path(args.model))
        subject = models.load_folder(args.model, device, dtype)
    else:
        hub = HubModel(source="hub", id=args.model, **known)
        found, folder = models.fetch_unchecked(hub)
        subject = models.load_folder(folder, device, dtype)
    try:
        capture = Capture(subject="by-hand", hook=args.hook, layers=args.layers, store=args.store)
    except ValidationError as error:
        raise CandorError(f"--layers {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    fetched = fetch(LocalSource(kind="local", files=[str(args.dataset)])).rows
    raw = [RawRow(row["origin"], json.loads(row["row"])) for row in fetched]
    field = next((name for name in ("messages", "prompt", "inputs", "text") if name in raw[0].fields), "messages")
    id_fields = [name for name in ("example_id", "id", "ids") if name in raw[0].fields]
    raw = raw[shard_slice(args.shard, len(raw))]
    return _extract(
        args,
        subject,
        capture,
        subject_id=args.model,
        revision=found.revision or provenance.digest(found.files)[:16],
        ids=[str(row.get(id_fields[0])) if id_fields else row.origin for row in raw],
        messages=[messages_of(row.get(field), row.origin) for row in raw],
        data=args.dataset,
        inputs=[args.dataset],
    )


def _extract(
    args: Namespace,
    subject: Subject,
    capture: Capture,
    *,
    subject_id: str,
    revision: str | None,
    ids: list[str],
    messages: list[Any],
    data: Path,
    inputs: list[Path],
) -> dict[str, int]:
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    weights = subject.model.get_input_embeddings().weight
    text = subject.model.config.get_text_config()
    dtype = str(weights.dtype).removeprefix("torch.")
    if capture.batch_tokens == "auto":
        capture = capture.model_copy(update={"batch_tokens": auto_batch_tokens(str(weights.device.type))})
    facts = {"device": weights.device.type, "dtype": dtype, "threads": torch.get_num_threads()}
    made = provenance.record(__file__, args.code, args.spec, inputs, PACKAGES, **facts)
    made["script"] = "extract_activations.py"
    header = Header(
        subject=subject_id,
        revision=revision,
        hook=capture.hook,
        layers=capture.stored_layers(text.num_hidden_layers),
        mean_layers=capture.means(text.num_hidden_layers),
        store=capture.store,
        width=text.hidden_size,
        blocks=text.num_hidden_layers,
        dtype="float32" if capture.store in ("mean", "spans") or dtype not in DTYPES else dtype,
        dataset=data.stem,
        dataset_sha256=provenance.sha256(data),
        shard=args.shard,
        example_ids=ids,
        sample_indices=[0] * len(ids),
        spans=list(capture.spans),
        log_probs=capture.log_probs,
    )
    return extract_to_file(subject, messages, capture, header, made, args.output, args.partial, args.progress)
