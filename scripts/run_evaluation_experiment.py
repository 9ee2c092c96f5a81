"""Run one experiment that reads activations of evaluation sets.

python scripts/run_evaluation_experiment.py --spec '{"experiments": {…}, "tasks": {…}, "probes": {…}, "models": {…}}' \
    --experiment ID --data TRAIN.parquet --activations A.safetensors \
    --evaluation-parts a@test b@test --evaluation-data A.parquet B.parquet --evaluation-activations … \
    --development-parts a@validation --development-data A.parquet --development-activations … \
    --baseline-scores B.parquet … --selection S.json --monitors ID … --probes P.safetensors … --model M.json \
    --output E.parquet

Files of activations come in any order; the scores of baselines are those on the evaluation parts.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter

from candor import models, provenance, tables
from candor.command import Command
from candor.config.experiments import Experiment
from candor.config.models import Model
from candor.config.probes import Probe
from candor.config.tasks import Measurement
from candor.errors import speak
from candor.experiments.evaluation_context import EvaluationContext, by_id, read_parts, tables_by_monitor
from candor.probes.features import read_part
from candor.probes.files import SavedProbe
from candor.progress import Progress
from candor.schemas.cell import CELL
from candor.schemas.curve import CURVE
from candor.schemas.token import TOKEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SCHEMAS = {"token_scores": TOKEN, "leave_one_out": CELL}
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
    parser.add_argument("--baseline-scores", type=Path, nargs="*", default=[])
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe; its digest is printed and kept")
    parser.add_argument("--monitors", nargs="+", required=True, help="ids of the probes")
    parser.add_argument("--probes", type=Path, nargs="+", required=True, help="their files, in the same order")
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model, for the tokenizer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    task = Measurement.model_validate(args.spec["tasks"])
    experiment = TypeAdapter(Experiment).validate_python(args.spec["experiments"])
    probes = by_id(args.spec["probes"], args.monitors)
    captured = [*args.evaluation_activations, *args.development_activations]

    def tokenizer() -> "PreTrainedTokenizerBase":
        facts = models.read_facts(args.model)
        model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
        return models.tokenizer_of(models.folder_of(model, facts), facts)

    context = EvaluationContext(
        id=args.experiment,
        experiment=experiment,
        task=task,
        probes={id: TypeAdapter(Probe).validate_python(config) for id, config in probes.items()},
        saved={id: SavedProbe.load(path) for id, path in zip(args.monitors, args.probes, strict=True)},
        selection=tables.read_json(args.selection),
        train=read_part(task.train, args.data, args.activations),
        evaluation=read_parts(args.evaluation_parts, args.evaluation_data, captured),
        development=read_parts(args.development_parts, args.development_data, captured),
        baselines=tables_by_monitor(args.baseline_scores),
        tokenizer=tokenizer,
        progress=lambda name, total, unit: Progress(name, total, unit, args.progress),
    )
    rows = importlib.import_module(f"candor.experiments.{experiment.kind}").run(context)
    read = [args.data, *args.activations, *args.evaluation_data, *captured, *args.development_data]
    read += [*args.baseline_scores, args.selection, *args.probes, args.model]
    made = provenance.record(
        __file__, args.code, args.spec, dict.fromkeys(read), ["torch", "scikit-learn"], threads=args.threads
    )
    tables.write(args.output, rows, SCHEMAS.get(experiment.kind, CURVE), made)
    print(f"{args.output}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
