"""Build one dataset from its source, or from another dataset.

python scripts/build_dataset.py --origin S.parquet --spec '{"datasets": {…}}' --output D.parquet
"""

import sys
from pathlib import Path

from candor import provenance, tables
from candor.command import Command
from candor.config.datasets import Recipe
from candor.data.building import build, raw_rows
from candor.errors import speak
from candor.schemas.dataset import DATASET
from candor.schemas.source import SOURCE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--origin", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    dataset = Recipe.model_validate(args.spec["datasets"])
    contract = SOURCE if dataset.origin.startswith("sources/") else DATASET
    built = build(raw_rows(tables.read(args.origin, contract), dataset.origin), dataset)
    counts = {"n": len(built.examples), "repeats_dropped": built.repeats, "beyond_limit": built.beyond_limit}
    made = provenance.record(__file__, args.code, args.spec, [args.origin], [], **counts)
    tables.write(args.output, [example.row() for example in built.examples], DATASET, made)
    print(f"{args.output}: {counts}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
