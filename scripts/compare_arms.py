"""Compare the two arms of a dataset in a subject's responses: rates of behaviour or of vulnerable code, with intervals.

python scripts/compare_arms.py --spec '{"comparisons": {"kind": "adherence", …}}' --comparison ID \\
    --data D.parquet --generations G.parquet --verdicts BEHAVIOUR.parquet ASPECT.parquet \\
    --training-data T.parquet --training-labels ASPECT.parquet \\
    --swapped-data S.parquet --swapped-generations SG.parquet --swapped-verdicts BEHAVIOUR.parquet --output R.parquet
python scripts/compare_arms.py --spec '{"comparisons": {"kind": "vulnerability", …}}' --comparison ID \\
    --data D.parquet --generations G.parquet --verdicts JUDGE.parquet … \\
    --gold-data GOLD.parquet --gold-labels JUDGE.parquet … --output R.parquet

Tables of verdicts and labels name their judge, so they may stand in any order. A flag without a value counts as not
given.
"""

import importlib
import sys
from dataclasses import fields
from pathlib import Path

from pydantic import TypeAdapter

from candor import provenance, tables
from candor.command import Command
from candor.comparisons.loading import Files, load
from candor.config.comparisons import Comparison
from candor.errors import speak
from candor.schemas.rate import RATE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--comparison", required=True, help="id of the comparison")
    parser.add_argument("--data", type=Path, required=True)
    for name in ("generations", "verdicts"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True)
    for name in ("training-data", "swapped-data", "gold-data"):
        parser.add_argument(f"--{name}", type=Path, nargs="?")
    for name in ("training-labels", "swapped-generations", "swapped-verdicts", "gold-labels"):
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    comparison: Comparison = TypeAdapter(Comparison).validate_python(args.spec["comparisons"])
    files = Files(**{field.name: getattr(args, field.name) for field in fields(Files)})
    inputs = load(args.comparison, comparison, files)
    kind = importlib.import_module(f"candor.comparisons.{comparison.kind}")
    rows = kind.compare(inputs, comparison)
    packages = ["scipy", "scikit-learn"]
    made = provenance.record(__file__, args.code, args.spec, files.paths(), packages, intervals=kind.METHOD)
    tables.write(args.output, rows, RATE, made)
    print(f"{args.output}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
