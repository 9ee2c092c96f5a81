"""Train one probe on a task: every layer, seed and fold at once; score it out of fold and on the control set.

python scripts/train_probe.py --spec '{"tasks": {…}, "probes": {…}}' --task ID --monitor ID --data D.parquet \
    --activations A.safetensors --control D2.parquet --control-activations A2.safetensors \
    --probe P.safetensors --scores S.parquet
"""

import sys
from pathlib import Path

import torch
from pydantic import TypeAdapter

from candor import provenance, tables
from candor.command import Command
from candor.config.probes import Probe
from candor.config.tasks import Training
from candor.errors import speak
from candor.probes.features import read_part
from candor.probes.training_job import train_probe
from candor.schemas.score import SCORE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--task", required=True, help="id of the task")
    parser.add_argument("--monitor", required=True, help="id of the probe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--activations", type=Path, nargs="+", required=True)
    parser.add_argument("--control", type=Path, required=True)
    parser.add_argument("--control-activations", type=Path, nargs="+", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--probe", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    task = Training.model_validate(args.spec["tasks"])
    train = read_part(task.train, args.data, args.activations)
    control = read_part(task.control, args.control, args.control_activations)
    probe = TypeAdapter(Probe).validate_python(args.spec["probes"])
    trained = train_probe(train, control, task, args.task, args.monitor, probe, args.progress)
    inputs = [args.data, *args.activations, args.control, *args.control_activations]
    facts = {"threads": args.threads, "n": len(train.rows), "n_skipped": trained.n_skipped, "seeds": task.seeds}
    made = provenance.record(__file__, args.code, args.spec, inputs, ["torch", "scikit-learn"], **facts)
    trained.probe.save(args.probe, made)
    tables.write(args.scores, trained.scores, SCORE, made)
    print(f"{args.probe}: {len(train.rows) - trained.n_skipped} examples, {trained.n_skipped} skipped", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
