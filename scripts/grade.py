"""Judge what a verbaliser wrote: one verdict per verbalisation, of a place or of a whole text.

python scripts/grade.py --spec '{"judges": {…}, "clients": {…}}' --pace '{…}' --judge ID --data D.parquet \\
    --verbalisations W.parquet … --shard 000-of-001 --output L.parquet
"""

import sys
from pathlib import Path

from pydantic import TypeAdapter

from candor import tables
from candor.command import Command
from candor.config.judges import Judge
from candor.errors import speak
from candor.judges import judging
from candor.judges.grading import verbalised
from candor.schemas.dataset import DATASET
from candor.schemas.verbalisation import VERBALISATION


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset whose examples were put into words")
    parser.add_argument("--verbalisations", type=Path, nargs="+", required=True, help="the shard, or all of them")
    judging.add_flags(parser)
    args = parser.parse_args()
    config: Judge = TypeAdapter(Judge).validate_python(args.spec["judges"])
    said = [tables.read(path, VERBALISATION) for path in args.verbalisations]
    texts = verbalised(tables.read(args.data, DATASET), said, config, args.shard)
    facts = judging.write_verdicts(args, __file__, config, texts, [args.data, *args.verbalisations])
    print(f"{args.output}: {facts}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
