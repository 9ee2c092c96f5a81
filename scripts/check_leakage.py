"""Stop the workflow where a group or a text stands on both sides: of one dataset's splits, or of two parts.

python scripts/check_leakage.py --data D.parquet --output results/leakage/d.json
python scripts/check_leakage.py --train A.parquet --train-part a@train --evaluation B.parquet --evaluation-part b@test \
    --output results/leakage/a@train/b@test.json

The spec is {"datasets": {"similarity": 0.8, "allow_near": []}}, for two datasets {"datasets": {"a": {…}, "b": {…}}}.
"""

import sys
from pathlib import Path

from candor import provenance, tables
from candor.command import Command
from candor.config.tasks import dataset_of
from candor.data.leakage import Tolerance, check_dataset, check_parts
from candor.data.parts import read_part
from candor.errors import speak
from candor.schemas.dataset import DATASET


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--data", type=Path, help="one dataset, whose splits are held against one another")
    parser.add_argument("--train", type=Path, help="dataset of the training part")
    parser.add_argument("--train-part", help="dataset@split")
    parser.add_argument("--evaluation", type=Path, help="dataset of the part that should be apart from it")
    parser.add_argument("--evaluation-part", help="dataset@split")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    pair = (args.train, args.train_part, args.evaluation, args.evaluation_part)
    if (args.data is None) != all(pair) or (args.data and any(pair)):
        parser.error("give --data, or all of --train, --train-part, --evaluation and --evaluation-part")
    if args.data:
        tolerance = Tolerance.model_validate(args.spec["datasets"])
        counts = check_dataset(tables.read(args.data, DATASET).to_pylist(), args.data.stem, tolerance)
        counts["repeats_dropped"] = provenance.read(args.data).get("repeats_dropped")
        inputs = [args.data]
    else:
        ids = {dataset_of(args.train_part), dataset_of(args.evaluation_part)}
        entries = args.spec["datasets"] if len(ids) == 2 else dict.fromkeys(ids, args.spec["datasets"])
        tolerances = {id: Tolerance.model_validate(entries[id]) for id in ids}
        train, evaluation = read_part(args.train, args.train_part), read_part(args.evaluation, args.evaluation_part)
        counts = check_parts(train, args.train_part, evaluation, args.evaluation_part, tolerances)
        inputs = sorted({args.train, args.evaluation})
    made = provenance.record(__file__, args.code, args.spec, inputs=inputs, packages=["datasketch"])
    tables.write_json(args.output, counts, made)
    print(f"{args.output}: no leak, highest similarity {counts['highest_similarity']}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
