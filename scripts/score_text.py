"""Score one evaluation part with a trained text baseline, after the selection is made.

python scripts/score_text.py --spec '{"tasks": {…}, "baselines": {…}}' --monitor ID --part b@test --data D.parquet \
    [--responses G.parquet] --model M.safetensors --selection S.json --output scores.parquet
"""

import sys
from pathlib import Path

from candor import provenance, tables
from candor.baselines.responses import as_read
from candor.baselines.text import TextModel, parse_options, score_part
from candor.command import Command
from candor.data.parts import read_part
from candor.errors import speak
from candor.schemas.score import SCORE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="of train_text.py")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--responses", type=Path, nargs="*", default=[], help="what the subject answered, if it is read"
    )
    parser.add_argument("--part", required=True, help="dataset@split to score")
    parser.add_argument("--monitor", required=True, help="id of the baseline")
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe; its digest is printed and kept")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    model = TextModel.load(args.model)
    rows = as_read(read_part(args.data, args.part), parse_options(model.header.options).reads, args.responses)
    scores = score_part(model, rows, args.part, args.monitor)
    inputs = [args.data, *args.responses, args.model, args.selection]
    made = provenance.record(__file__, args.code, args.spec, inputs, ["scikit-learn"], n=len(rows))
    tables.write(args.output, scores, SCORE, made)


if __name__ == "__main__":
    speak(main)
