"""Run one experiment that reads nothing but the scores of a task's monitors.

python scripts/run_score_experiment.py --spec '{"experiments": {…}, "tasks": {…}}' --experiment ID \
    --data D.parquet … --scores A.parquet … --train-scores T.parquet … --selection S.json --output C.parquet
"""

import importlib
import sys
from pathlib import Path

from pydantic import TypeAdapter

from candor import provenance, tables
from candor.command import Command
from candor.config.experiments import Experiment
from candor.config.tasks import Measurement
from candor.errors import speak
from candor.experiments.score_context import ScoreContext, read_rows, read_scores
from candor.schemas.curve import CURVE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--experiment", required=True, help="id of the experiment")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="datasets of the evaluation parts, in order"
    )
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="scores of all evaluation parts")
    parser.add_argument("--train-scores", type=Path, nargs="*", default=[], help="scores out of fold, where there are")
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe; its digest is printed and kept")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    task = Measurement.model_validate(args.spec["tasks"])
    experiment = TypeAdapter(Experiment).validate_python(args.spec["experiments"])
    context = ScoreContext(
        id=args.experiment,
        experiment=experiment,
        task=task,
        selection=tables.read_json(args.selection),
        scores=read_scores(args.scores),
        training=read_scores(args.train_scores),
        rows=read_rows(task, args.data),
    )
    rows = importlib.import_module(f"candor.experiments.{experiment.kind}").run(context)
    inputs = [*args.data, *args.scores, *args.train_scores, args.selection]
    made = provenance.record(
        __file__, args.code, args.spec, inputs, ["pandas", "scipy", "scikit-learn"], rows=len(rows)
    )
    tables.write(args.output, rows, CURVE, made)
    print(f"{args.output}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
