"""Score one evaluation part with a finetuned classifier, after the selection is made.

python scripts/score_finetuned.py --spec '{"models": {…}}' --monitor ID --part b@test --data D.parquet --model M.json \
    --weights W.safetensors --selection S.json --output scores.parquet
A job that was killed starts again.
"""

import sys
from pathlib import Path

from candor import provenance
from candor.baselines.finetuned import job
from candor.command import Command
from candor.errors import speak


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--monitor", required=True, help="id of the baseline")
    parser.add_argument("--part", required=True, help="dataset@split to score")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model")
    parser.add_argument("--weights", type=Path, required=True, help="of finetune_classifier")
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe; its digest is printed and kept")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    print(f"{args.output}: {job.score(args)} examples without a score", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
