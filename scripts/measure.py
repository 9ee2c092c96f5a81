"""Measure all monitors of a task on its evaluation sets: metrics, 95 % intervals, and paired comparisons.

python scripts/measure.py --scores A.parquet B.parquet --selection S.json --task ID --families '{"mean": "mean"}' \
    --spec '{"tasks": {…}}' --output M.parquet
"""

import json
import sys
from pathlib import Path

import pyarrow as pa

from candor import provenance, tables
from candor.command import Command
from candor.config.tasks import Measurement
from candor.errors import speak
from candor.metrics.measuring import measure
from candor.schemas.metric import METRIC
from candor.schemas.score import SCORE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="score tables of all monitors and sets")
    parser.add_argument("--selection", type=Path, required=True, help="layers and thresholds that the task selected")
    parser.add_argument("--task", required=True, help="id of the task")
    parser.add_argument("--families", type=json.loads, required=True, help="family of each monitor, as a JSON object")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    task = Measurement.model_validate(args.spec["tasks"])
    scores = pa.concat_tables([tables.read(path, SCORE).replace_schema_metadata(None) for path in args.scores])
    rows = measure(scores, task, args.task, tables.read_json(args.selection), args.families)
    inputs = [*args.scores, args.selection]
    made = provenance.record(__file__, args.code, args.spec, inputs, packages=["scipy", "pandas"], rows=len(rows))
    tables.write(args.output, rows, METRIC, made)
    print(f"{args.output}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
