"""Run one experiment of kind quantisation: a probe on a subject's weights as they are, and on rounded ones.

python scripts/run_quantisation.py --spec '{"experiments": {…}, "tasks": {…}, "captures": {…}, "models": {…}}' \
    --experiment ID --data D.parquet --activations A.safetensors --generations G.parquet --control C.parquet \
    --selection S.json --monitors ID … --probes P.safetensors … --model M.json --output E.parquet
"""

import sys
from pathlib import Path

import torch
from pydantic import TypeAdapter

from candor import models, provenance, tables
from candor.command import Command
from candor.config.captures import Capture
from candor.config.experiments import SELECTED, Quantisation
from candor.config.models import Model
from candor.config.samplings import Sampling
from candor.config.tasks import Measurement, split_of
from candor.errors import speak
from candor.experiments.quantisation import QuantisationContext, ids_of, run
from candor.hardware import auto_batch_tokens
from candor.probes.features import read_part
from candor.probes.files import SavedProbe
from candor.progress import Progress
from candor.schemas.cell import CELL
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--experiment", required=True, help="id of the experiment")
    parser.add_argument("--data", type=Path, required=True, help="dataset table of the part")
    parser.add_argument("--activations", type=Path, nargs="+", required=True)
    parser.add_argument("--generations", type=Path, nargs="*", default=[], help="of a capture with a sampling")
    parser.add_argument("--control", type=Path, nargs="?", help="dataset table of the control set, for its labels")
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe; its digest is printed and kept")
    parser.add_argument("--monitors", nargs="+", required=True, help="ids of the probes")
    parser.add_argument("--probes", type=Path, nargs="+", required=True, help="their files, in the same order")
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model")
    parser.add_argument("--adapter", type=Path, nargs="?", help="folder of the subject's LoRA adapter")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    experiment = Quantisation.model_validate(args.spec["experiments"])
    capture = Capture.model_validate(args.spec["captures"])
    sampling = Sampling.model_validate(args.spec["samplings"]) if capture.sampling else None
    model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
    facts, selection = models.read_facts(args.model), tables.read_json(args.selection)
    monitor = selection["monitor"] if experiment.probe == SELECTED else experiment.probe
    task = Measurement.model_validate(args.spec["tasks"])
    calm = tables.read(args.control, DATASET).to_pylist() if args.control else []
    tokenizer = models.tokenizer_of(models.folder_of(model, facts), facts)
    given = [row for path in args.generations for row in tables.read(path, GENERATION).to_pylist()]
    answers = {row["example_id"]: row["token_ids"] for row in given if row["sample_index"] == 0}
    context = QuantisationContext(
        id=args.experiment,
        experiment=experiment,
        task=task,
        monitor=monitor,
        layer={**selection["probes"], **selection.get("controls", {})}[monitor]["layer"],
        saved=SavedProbe.load(dict(zip(args.monitors, args.probes, strict=True))[monitor]),
        part=read_part(experiment.part, args.data, args.activations),
        texts=lambda rows: ids_of(rows, tokenizer, capture, sampling, answers),
        load=lambda: models.load(model, facts, args.adapter),
        batch_tokens=auto_batch_tokens(models.placement(model)[0]),
        progress=lambda name, total, unit: Progress(name, total, unit, args.progress),
        control_labels={row["label"] for row in calm if row["split"] == split_of(task.control)},
    )
    rows = run(context)
    control = [args.control] if args.control else []
    read = [args.data, *args.activations, *args.generations, *control, args.selection, *args.probes, args.model]
    read += models.adapter_files(args.adapter)
    packages = ["torch", "transformers", "scipy"]
    made = provenance.record(__file__, args.code, args.spec, read, packages, threads=args.threads)
    tables.write(args.output, rows, CELL, made)
    print(f"{args.output}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
