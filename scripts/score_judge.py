"""Score one part with a judge's labels of its dataset: the control part, or after the selection an evaluation part.

python scripts/score_judge.py --spec '{"tasks": {…}, "baselines": {…}}' --monitor ID --part b@test --data D.parquet \
    --labels L.parquet … [--selection S.json] --output scores.parquet
"""

import sys
from pathlib import Path

from candor import provenance, tables
from candor.baselines.judged import score_part
from candor.command import Command
from candor.config.baselines import Judged
from candor.config.tasks import Learning
from candor.data.parts import read_part
from candor.errors import speak
from candor.schemas.score import SCORE
from candor.schemas.verdict import VERDICT


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--monitor", required=True, help="id of the baseline")
    parser.add_argument("--part", required=True, help="dataset@split to score")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="of label, all shards of the dataset")
    parser.add_argument("--selection", type=Path, help="of select_probe, for an evaluation part; its digest is kept")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    task, baseline = Learning.model_validate(args.spec["tasks"]), Judged.model_validate(args.spec["baselines"])
    inputs = [args.data, *args.labels]
    if args.selection:
        print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
        inputs.append(args.selection)
    elif args.part != task.control:
        parser.error(f"{args.part} is not the task's control part, {task.control}; give --selection")
    rows = read_part(args.data, args.part)
    labels = {path: tables.read(path, VERDICT) for path in args.labels}
    scores = score_part(labels, rows, args.part, task.classes, args.monitor, baseline)
    made = provenance.record(__file__, args.code, args.spec, inputs, n=len(rows))
    tables.write(args.output, scores, SCORE, made)
    print(f"{args.output}: {scores.num_rows - scores['score'].null_count} of {scores.num_rows} scored", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
