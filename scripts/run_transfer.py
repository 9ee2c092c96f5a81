"""Run one experiment of kind transfer: each task's selected probe on the evaluation sets of every task.

python scripts/run_transfer.py --spec '{"experiments": {…}, "tasks": {…}}' --experiment ID --data D.parquet … \
    --captures ID … --activations A.safetensors … --selections S.json … --monitors TASK/PROBE … \
    --probes P.safetensors … --baselines TASK/BASELINE … --texts T.safetensors … --output E.parquet

One selection for each task, in the config's order. `--captures` names the capture of each file of activations,
`--monitors` and `--baselines` whose each probe and text model is.
"""

import sys
from pathlib import Path

import torch

from candor import provenance, tables
from candor.command import Command
from candor.config.experiments import Transfer
from candor.config.tasks import Measurement
from candor.errors import speak
from candor.experiments.transfer import TransferContext, read_parts_of, read_source, run
from candor.progress import Progress
from candor.schemas.cell import CELL


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--experiment", required=True, help="id of the experiment")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="dataset tables of all evaluation parts")
    parser.add_argument("--captures", nargs="+", required=True, help="capture of each file of activations")
    parser.add_argument("--activations", type=Path, nargs="+", required=True, help="all shards of all captures")
    parser.add_argument("--selections", type=Path, nargs="+", required=True, help="of select_probe, one for each task")
    parser.add_argument("--monitors", nargs="+", required=True, help="task/probe of each file of probes")
    parser.add_argument("--probes", type=Path, nargs="+", required=True)
    parser.add_argument("--baselines", nargs="*", default=[], help="task/baseline of each text model")
    parser.add_argument("--texts", type=Path, nargs="*", default=[], help="models of text baselines")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    experiment = Transfer.model_validate(args.spec["experiments"])
    tasks = {id: Measurement.model_validate(args.spec["tasks"][id]) for id in experiment.tasks}
    probes = dict(zip(args.monitors, args.probes, strict=True))
    texts = dict(zip(args.baselines, args.texts, strict=True))
    shards = list(zip(args.captures, args.activations, strict=True))
    for path in args.selections:
        print(f"selection {path}: sha256 {provenance.sha256(path)}", file=sys.stderr)
    context = TransferContext(
        id=args.experiment,
        experiment=experiment,
        tasks=tasks,
        sources={
            id: read_source(id, tables.read_json(path), probes, texts)
            for id, path in zip(tasks, args.selections, strict=True)
        },
        parts={id: read_parts_of(task, args.data, shards) for id, task in tasks.items()},
        progress=lambda name, total, unit: Progress(name, total, unit, args.progress),
    )
    rows = run(context)
    read = [*args.data, *args.activations, *args.selections, *args.probes, *args.texts]
    packages = ["torch", "scikit-learn", "scipy"]
    made = provenance.record(__file__, args.code, args.spec, dict.fromkeys(read), packages, threads=args.threads)
    tables.write(args.output, rows, CELL, made)
    print(f"{args.output}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
