"""Judge a dataset's own texts: one verdict per example, on its last turn or on the whole of it.

python scripts/label.py --spec '{"judges": {…}, "clients": {…}}' --pace '{…}' --judge ID --data D.parquet \\
    --shard 000-of-001 --output L.parquet
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


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    judging.add_flags(parser)
    args = parser.parse_args()
    config: Judge = TypeAdapter(Judge).validate_python(args.spec["judges"])
    texts = judging.last_turns(tables.read(args.data, DATASET), args.shard, judging.reads_answers(config))
    facts = judging.write_verdicts(args, __file__, config, texts, [args.data])
    print(f"{args.output}: {facts}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
