"""Judge a dataset's own answers: one verdict per example, on its last turn, which is the assistant's.

python scripts/label.py --spec '{"judges": {…}}' --judge ID --data D.parquet --output L.parquet
"""

import sys
from pathlib import Path

from pydantic import TypeAdapter

from candor import provenance, tables
from candor.command import Command
from candor.config.judges import Judge
from candor.errors import speak
from candor.judges import judging
from candor.schemas.dataset import DATASET
from candor.schemas.verdict import VERDICT


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--judge", required=True, help="id of the judge")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    config: Judge = TypeAdapter(Judge).validate_python(args.spec["judges"])
    rows = judging.verdict_rows(judging.last_turns(tables.read(args.data, DATASET)), args.judge, config)
    facts = judging.counts(rows)
    made = provenance.record(__file__, args.code, args.spec, [args.data], judging.packages(config), **facts)
    tables.write(args.output, rows, VERDICT, made)
    print(f"{args.output}: {facts}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
