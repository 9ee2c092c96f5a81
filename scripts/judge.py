"""Judge what a subject said: one verdict per response.

python scripts/judge.py --spec '{"judges": {…}, "clients": {…}}' --pace '{…}' --judge ID --data D.parquet \\
    --generations G.parquet … --shard 000-of-001 --output V.parquet
"""

import sys
from pathlib import Path

from pydantic import TypeAdapter

from candor import tables
from candor.command import Command
from candor.config.judges import Judge
from candor.errors import speak
from candor.judges import judging
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset that the generations answer")
    parser.add_argument("--generations", type=Path, nargs="+", required=True, help="the shard, or all of them")
    judging.add_flags(parser)
    args = parser.parse_args()
    config: Judge = TypeAdapter(Judge).validate_python(args.spec["judges"])
    generations = [tables.read(path, GENERATION) for path in args.generations]
    texts = judging.responses(tables.read(args.data, DATASET), generations, args.shard)
    facts = judging.write_verdicts(args, __file__, config, texts, [args.data, *args.generations])
    print(f"{args.output}: {facts}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
