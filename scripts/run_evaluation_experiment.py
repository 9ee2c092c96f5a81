"""Run one experiment that reads activations of evaluation sets.

python scripts/run_evaluation_experiment.py --spec '{"experiments": {…}, "tasks": {…}, "probes": {…}, "models": {…}}' \
    --experiment ID --data TRAIN.parquet --activations A.safetensors \
    --evaluation-parts a@test b@test --evaluation-data A.parquet B.parquet --evaluation-activations … \
    --development-parts a@validation --development-data A.parquet --development-activations … \
    --responses G.parquet … --baseline-scores B.parquet … --selection S.json --monitors ID … \
    --probes P.safetensors … --model M.json --output E.parquet

Files of activations come in any order; the scores of baselines are those on the evaluation parts. An experiment that
learns everything anew is given no selection, probes and model; a flag without a value counts as not given.
"""

import importlib
import sys
from pathlib import Path

import torch

from candor import provenance, tables
from candor.command import Command
from candor.errors import speak
from candor.experiments.evaluation_context import read_context
from candor.schemas.cell import CELL
from candor.schemas.curve import CURVE
from candor.schemas.place import PLACE
from candor.schemas.token import TOKEN

SCHEMAS = {"token_scores": TOKEN, "leave_one_out": CELL, "projection": PLACE}
"""Tables of the kinds that give no curves."""


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--experiment", required=True, help="id of the experiment")
    parser.add_argument("--data", type=Path, required=True, help="dataset table of the training part")
    parser.add_argument("--activations", type=Path, nargs="+", required=True)
    for name in ("evaluation", "development"):
        parser.add_argument(f"--{name}-parts", nargs="*", default=[], help="dataset@split")
        parser.add_argument(f"--{name}-data", type=Path, nargs="*", default=[], help="dataset table of each part")
        parser.add_argument(f"--{name}-activations", type=Path, nargs="*", default=[], help="all shards of all parts")
    parser.add_argument("--responses", type=Path, nargs="*", default=[], help="answers to the training dataset's texts")
    parser.add_argument("--baseline-scores", type=Path, nargs="*", default=[])
    parser.add_argument("--selection", type=Path, nargs="?", help="of select_probe; its digest is printed and kept")
    parser.add_argument("--monitors", nargs="+", required=True, help="ids of the probes")
    parser.add_argument("--probes", type=Path, nargs="*", default=[], help="their files, in the same order")
    parser.add_argument("--model", type=Path, nargs="?", help="facts of fetch_model, for the tokenizer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.selection:
        print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    context = read_context(args)
    rows = importlib.import_module(f"candor.experiments.{context.experiment.kind}").run(context)
    read = [args.data, *args.activations, *args.evaluation_data, *args.evaluation_activations, *args.development_data]
    read += [*args.development_activations, *args.responses, *args.baseline_scores, *args.probes]
    read += filter(None, [args.selection, args.model])
    made = provenance.record(
        __file__, args.code, args.spec, dict.fromkeys(read), ["torch", "scikit-learn"], threads=args.threads
    )
    tables.write(args.output, rows, SCHEMAS.get(context.experiment.kind, CURVE), made)
    print(f"{args.output}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
