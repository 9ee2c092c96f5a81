"""Finetune a LoRA adapter for one subject model, and keep the weights of the best validation.

python scripts/finetune.py --spec '{"adapters": {…}, "models": {…}}' --model M.json --data D.parquet \
    --validation-data V.parquet --adapter adapter_model.safetensors --config adapter_config.json --history H.parquet
On several GPUs, which share out each batch's examples: accelerate launch --num_processes N scripts/finetune.py …
A job that was killed goes on from its last checkpoint, in --partial.
"""

import sys
from pathlib import Path

from candor.adapters import job
from candor.command import Command
from candor.errors import speak


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model")
    parser.add_argument("--data", type=Path, required=True, help="the dataset table with the training examples")
    parser.add_argument("--validation-data", type=Path, help="the one with the validation examples; --data without it")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument("--partial", type=Path, default=Path("results/.partial"), help="folder for unfinished work")
    parser.add_argument(
        "--tracking", type=Path, default=Path("results/logs/tracking"), help="folder of a tracker that writes files"
    )
    parser.add_argument("--adapter", type=Path, required=True, help="adapter_model.safetensors to write")
    parser.add_argument("--config", type=Path, required=True, help="adapter_config.json to write")
    parser.add_argument("--history", type=Path, required=True, help="table to write")
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    counts = job.run(args)
    skipped = counts["n_skipped"] + counts["n_validation_skipped"]
    print(
        f"{args.adapter}: {counts['n']} examples, validated on {counts['n_validation']}; "
        f"{skipped} left out as longer than max_tokens",
        file=sys.stderr,
    )


if __name__ == "__main__":
    speak(main)
