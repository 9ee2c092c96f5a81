"""Judge what a subject said: one verdict per response.

python scripts/judge.py --spec '{"judges": {…}}' --judge ID --data D.parquet --generations G.parquet … \
    --output V.parquet
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
from candor.schemas.generation import GENERATION
from candor.schemas.verdict import VERDICT


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--judge", required=True, help="id of the judge")
    parser.add_argument("--data", type=Path, required=True, help="dataset that the generations answer")
    parser.add_argument("--generations", type=Path, nargs="+", required=True, help="all shards")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    config: Judge = TypeAdapter(Judge).validate_python(args.spec["judges"])
    generations = [tables.read(path, GENERATION) for path in args.generations]
    texts = judging.responses(tables.read(args.data, DATASET), generations)
    rows = judging.verdict_rows(texts, args.judge, config)
    facts, inputs = judging.counts(rows), [args.data, *args.generations]
    made = provenance.record(__file__, args.code, args.spec, inputs, judging.packages(config), **facts)
    tables.write(args.output, rows, VERDICT, made)
    print(f"{args.output}: {facts}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
