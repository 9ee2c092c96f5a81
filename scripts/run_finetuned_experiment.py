"""Finetune a baseline on fewer and fewer training examples, and score evaluation sets, after the selection is made.

python scripts/run_finetuned_experiment.py --experiment ID \
    --spec '{"experiments": {…}, "tasks": {…}, "baselines": {…}, "models": {…}}' --data D.parquet \
    --evaluation-parts b@test … --evaluation-data E.parquet … --model M.json --selection S.json --output C.parquet
A job that was killed goes on after the last finetuning that was done, in --partial.
"""

import sys
from pathlib import Path

from candor import provenance, tables
from candor.baselines.finetuned.loading import PACKAGES, classifier_of, load_subject
from candor.baselines.finetuned.texts import read_texts
from candor.command import Command
from candor.config.baselines import Finetuned
from candor.config.experiments import FinetunedEfficiency
from candor.config.tasks import Measurement
from candor.data.parts import read_part
from candor.errors import speak
from candor.experiments.finetuned_efficiency import FinetunedContext, Part, run
from candor.partial import workplace
from candor.progress import Progress
from candor.schemas.curve import CURVE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--experiment", required=True, help="id of the experiment")
    parser.add_argument("--data", type=Path, required=True, help="dataset of the task's training part")
    parser.add_argument("--evaluation-parts", nargs="+", required=True, help="dataset@split of each evaluation set")
    parser.add_argument("--evaluation-data", type=Path, nargs="+", required=True, help="their datasets, in that order")
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model")
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe; its digest is printed and kept")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument("--partial", type=Path, default=Path("results/.partial"), help="folder for unfinished work")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    task, options = Measurement.model_validate(args.spec["tasks"]), Finetuned.model_validate(args.spec["baselines"])
    files = [(task.train, args.data), *zip(args.evaluation_parts, args.evaluation_data, strict=True)]
    loaded = load_subject(args)
    parts = {}
    for name, path in files:
        rows = read_part(path, name)
        parts[name] = Part(rows, read_texts(rows, loaded.subject.tokenizer, options, name))
    inputs = sorted({args.model, args.selection, *(path for _, path in files)})
    made = provenance.record(__file__, args.code, args.spec, inputs, PACKAGES, **loaded.facts)
    with workplace(args.partial / provenance.digest([made, args.experiment])[:24]) as folder:
        context = FinetunedContext(
            id=args.experiment,
            experiment=FinetunedEfficiency.model_validate(args.spec["experiments"]),
            task=task,
            options=options,
            classifier=classifier_of(loaded, options, len(task.classes), options.lora),
            train=parts[task.train],
            evaluation={name: parts[name] for name in args.evaluation_parts},
            folder=folder,
            progress=lambda name, total, unit: Progress(name, total, unit, args.progress),
        )
        tables.write(args.output, run(context), CURVE, made)


if __name__ == "__main__":
    speak(main)
