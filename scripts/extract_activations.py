"""Extract the activations of one dataset, or of one shard of it, from one subject model.

In the workflow:
    python scripts/extract_activations.py --spec '{"captures": {…}, "models": {…}}' --model M.json --data D.parquet \
        --output A.safetensors
By itself, from a model's folder or a hub id, and a file with a `messages`, `prompt` or `inputs` in each row:
    python scripts/extract_activations.py --model PATH_OR_ID --layers 8 16 --dataset rows.jsonl --output A.safetensors
"""

import sys
from pathlib import Path

from candor.activations.job import by_hand, from_config
from candor.command import Command
from candor.errors import speak


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument(
        "--model", required=True, help="facts of fetch_model; by itself: a folder, or owner/name on the hub"
    )
    parser.add_argument("--adapter", type=Path, nargs="?", help="folder of a LoRA adapter of that model")
    parser.add_argument("--data", type=Path, help="a dataset table of build_dataset")
    parser.add_argument("--dataset", type=Path, help="by itself: rows as jsonl, json, csv or parquet")
    parser.add_argument("--layers", type=int, nargs="+", help="by itself: blocks, counted from 0")
    parser.add_argument("--hook", default="residual", choices=["residual", "input_layernorm"])
    parser.add_argument("--store", default="tokens", choices=["tokens", "mean"])
    parser.add_argument("--shard", default="000-of-001", help="INDEX-of-COUNT")
    parser.add_argument("--partial", type=Path, default=Path("results/.partial"), help="folder for unfinished work")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    if bool(args.data) == bool(args.dataset):
        parser.error("give --data with --spec (in the workflow), or --dataset with --layers (by itself)")
    if args.dataset and not args.layers:
        parser.error("--dataset needs --layers")
    counts = (from_config if args.data else by_hand)(args)
    print(f"{args.output}: {counts}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
