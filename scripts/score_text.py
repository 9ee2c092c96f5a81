"""Score one evaluation part with a trained text baseline, after the selection is made.

python scripts/score_text.py --spec '{"tasks": {…}, "baselines": {…}}' --monitor ID --part b@test --data D.parquet \
    --model M.safetensors --selection S.json --output scores.parquet
"""

import sys
from pathlib import Path

from candor import provenance, tables
from candor.baselines.text import TextModel, score_part
from candor.command import Command
from candor.data.parts import read_part
from candor.errors import speak
from candor.schemas.score import SCORE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="of train_text.py")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", required=True, help="dataset@split to score")
    parser.add_argument("--monitor", required=True, help="id of the baseline")
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe; its digest is printed and kept")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    rows = read_part(args.data, args.part)
    scores = score_part(TextModel.load(args.model), rows, args.part, args.monitor)
    inputs = [args.data, args.model, args.selection]
    made = provenance.record(__file__, args.code, args.spec, inputs, ["scikit-learn"], n=len(rows))
    tables.write(args.output, scores, SCORE, made)


if __name__ == "__main__":
    speak(main)
