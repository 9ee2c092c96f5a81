"""Hold several judges of the same texts against each other, and against the dataset's labels where they are gold.

python scripts/compare_judges.py --spec '{"panels": {"texts": "datasets/D", "gold": true, …}}' --panel ID \\
    --data D.parquet --verdicts LABELS.parquet … --output A.parquet
python scripts/compare_judges.py --spec '{"panels": {"texts": "generations/SAMPLING/SUBJECT/D", …}}' --panel ID \\
    --data D.parquet --generations G.parquet … --verdicts VERDICTS.parquet … --output A.parquet
python scripts/compare_judges.py --spec '{"panels": {"texts": "verbalisations/VERBALISER/CAPTURE/D", …}}' --panel ID \\
    --data D.parquet --verdicts LABELS.parquet … --output A.parquet

Tables of verdicts name their judge, so they may stand in any order, and a judge may have several. A flag without a
value counts as not given.
"""

import sys
from pathlib import Path

from candor import provenance, tables
from candor.command import Command
from candor.config.panels import Panel
from candor.errors import speak
from candor.panels.loading import read_texts
from candor.panels.measuring import METHOD, measure, misjudged
from candor.schemas.agreement import AGREEMENT


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--panel", required=True, help="id of the panel")
    parser.add_argument("--data", type=Path, required=True, help="dataset that the texts belong to, or answer")
    parser.add_argument(
        "--generations", type=Path, nargs="*", default=[], help="all shards, where responses are judged"
    )
    parser.add_argument("--verdicts", type=Path, nargs="+", required=True, help="all tables of all judges")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    panel = Panel.model_validate(args.spec["panels"])
    rows = measure(args.panel, panel, read_texts(panel, args.data, args.generations, args.verdicts))
    inputs = [args.data, *args.generations, *args.verdicts]
    made = provenance.record(__file__, args.code, args.spec, inputs, ["scipy"], intervals=METHOD)
    tables.write(args.output, rows, AGREEMENT, made)
    print("\n".join([f"{args.output}: {len(rows)} rows", *misjudged(rows)]), file=sys.stderr)


if __name__ == "__main__":
    speak(main)
