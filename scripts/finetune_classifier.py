"""Finetune one subject model as a classifier of a task; score the training examples held out, and the control examples.

python scripts/finetune_classifier.py --spec '{"tasks": {…}, "baselines": {…}, "models": {…}}' --monitor ID \
    --data D.parquet --control C.parquet --model M.json --weights W.safetensors --history H.parquet --scores S.parquet
A job that was killed goes on from its last checkpoint, in --partial.
"""

import sys
from pathlib import Path

from candor.baselines.finetuned import job
from candor.command import Command
from candor.errors import speak


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--monitor", required=True, help="id of the baseline")
    parser.add_argument("--data", type=Path, required=True, help="dataset of the task's training part")
    parser.add_argument("--control", type=Path, required=True, help="dataset of the task's control part")
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument("--partial", type=Path, default=Path("results/.partial"), help="folder for unfinished work")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--history", type=Path, required=True, help="table to write")
    parser.add_argument("--scores", type=Path, required=True, help="table to write")
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    print(f"{args.weights}: {job.finetune(args)}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
