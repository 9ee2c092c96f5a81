"""Run one experiment on a task's training set.

python scripts/run_experiment.py --spec '{"experiments": {…}, "tasks": {…}, "probes": {…}}' --experiment ID \
    --data D.parquet --activations A.safetensors --selection S.json --text-scores B.parquet --output E.parquet
"""

import importlib
from pathlib import Path

import torch
from pydantic import TypeAdapter

from candor import provenance, tables
from candor.command import Command
from candor.config.experiments import Experiment
from candor.config.probes import Probe
from candor.config.tasks import Bootstrapped
from candor.errors import speak
from candor.experiments.context import Context
from candor.probes.features import read_part
from candor.progress import Progress
from candor.schemas.experiment import EXPERIMENT
from candor.schemas.score import SCORE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--experiment", required=True, help="id of the experiment")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--activations", type=Path, nargs="+", required=True)
    parser.add_argument("--selection", type=Path, nargs="?", help="for kinds that read a selected layer")
    parser.add_argument("--text-scores", type=Path, nargs="?", help="training scores of the task's first baseline")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    task = Bootstrapped.model_validate(args.spec["tasks"])
    experiment = TypeAdapter(Experiment).validate_python(args.spec["experiments"])
    context = Context(
        id=args.experiment,
        experiment=experiment,
        task=task,
        probe=TypeAdapter(Probe).validate_python(args.spec["probes"]),
        train=read_part(task.train, args.data, args.activations),
        selection=tables.read_json(args.selection) if args.selection else None,
        text=tables.read(args.text_scores, SCORE) if args.text_scores else None,
        progress=lambda name, total, unit: Progress(name, total, unit, args.progress),
    )
    rows = importlib.import_module(f"candor.experiments.{experiment.kind}").run(context)
    inputs = [args.data, *args.activations, *filter(None, [args.selection, args.text_scores])]
    made = provenance.record(__file__, args.code, args.spec, inputs, ["torch", "scikit-learn"], threads=args.threads)
    tables.write(args.output, rows, EXPERIMENT, made)


if __name__ == "__main__":
    speak(main)
