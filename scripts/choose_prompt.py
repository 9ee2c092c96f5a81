"""Choose the prompt of a prompted baseline on training examples, and score the control examples with it.

python scripts/choose_prompt.py --spec '{"tasks": {…}, "baselines": {…}, "models": {…}}' --monitor ID \
    --data D.parquet --control D2.parquet --model M.json --template-files resources/prompted/*.txt \
    --choice C.json --templates T.parquet --scores S.parquet

The scores are of the control examples, and of the training examples that the prompts were compared on.
"""

import sys
from functools import partial
from pathlib import Path

import pyarrow as pa

from candor import provenance, tables
from candor.baselines import prompted
from candor.baselines.prompts import read_prompts
from candor.command import Command
from candor.config.baselines import Prompted
from candor.config.tasks import Bootstrapped
from candor.data.parts import read_part
from candor.errors import speak
from candor.progress import Progress
from candor.schemas.curve import CURVE
from candor.schemas.score import SCORE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--monitor", required=True, help="id of the baseline")
    parser.add_argument("--data", type=Path, required=True, help="dataset of the task's training part")
    parser.add_argument("--control", type=Path, required=True, help="dataset of the task's control part")
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model")
    parser.add_argument("--template-files", type=Path, nargs="+", required=True, help="prompts; a file is TEMPLATE.txt")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument("--choice", type=Path, required=True)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    task = Bootstrapped.model_validate(args.spec["tasks"])
    baseline = Prompted.model_validate(args.spec["baselines"])
    prompts = read_prompts(args.template_files, baseline.templates)
    control = read_part(args.control, task.control)
    rows = prompted.drawn(read_part(args.data, task.train), task.classes, baseline.limit, task.seed)
    loaded = prompted.load(args, baseline)
    before = len(prompts) * len(rows)
    progress = Progress(f"ask {args.monitor}", before + len(control), "prompts", args.progress)
    trials = [
        prompted.try_prompt(loaded, prompt, rows, task, baseline.truncate, partial(_say, progress, k * len(rows)))
        for k, prompt in enumerate(prompts)
    ]
    chosen = prompted.best(trials)
    asked = prompted.ask(loaded, chosen.prompt, control, baseline.truncate, partial(_say, progress, before))
    own = prompted.table(chosen.asked, rows, task.train, task.classes, args.monitor)
    on_control = prompted.table(asked, control, task.control, task.classes, args.monitor)
    made = provenance.record(
        __file__,
        args.code,
        args.spec,
        [args.data, args.control, args.model, *args.template_files],
        prompted.PACKAGES,
        **loaded.facts,
        wording={prompt.name: prompt.wording for prompt in prompts},
        template=chosen.prompt.name,
        n=len(rows),
    )
    tables.write(args.templates, prompted.curve_rows(trials, rows, task, args.monitor), CURVE, made)
    tables.write(args.scores, pa.concat_tables([own, on_control]), SCORE, made)
    tables.write_json(args.choice, prompted.choice(chosen, trials, args.monitor), made)
    said = {trial.prompt.name: trial.auroc.value and round(trial.auroc.value, 3) for trial in trials}
    print(f"{args.choice}: {chosen.prompt.name}, AUROC of {len(rows)} training examples {said}", file=sys.stderr)


def _say(progress: Progress, before: int, done: int) -> None:
    progress.update(before + done)


if __name__ == "__main__":
    speak(main)
