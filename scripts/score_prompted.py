"""Score one evaluation part with the chosen prompt of a prompted baseline, after the selection is made.

python scripts/score_prompted.py --spec '{"tasks": {…}, "baselines": {…}, "models": {…}}' --monitor ID --part b@test \
    --data D.parquet --model M.json --choice C.json --template-files resources/prompted/*.txt --selection S.json \
    --output scores.parquet
"""

import sys
from pathlib import Path

from candor import provenance, tables
from candor.baselines import prompted
from candor.baselines.prompts import read_prompts
from candor.command import Command
from candor.config.baselines import Prompted
from candor.config.tasks import Learning
from candor.data.parts import read_part
from candor.errors import speak
from candor.progress import Progress
from candor.schemas.score import SCORE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--monitor", required=True, help="id of the baseline")
    parser.add_argument("--part", required=True, help="dataset@split to score")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="facts of fetch_model")
    parser.add_argument("--choice", type=Path, required=True, help="of choose_prompt")
    parser.add_argument("--template-files", type=Path, nargs="+", required=True, help="prompts; a file is TEMPLATE.txt")
    parser.add_argument("--selection", type=Path, required=True, help="of select_probe; its digest is printed and kept")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")
    args = parser.parse_args()
    print(f"selection {args.selection}: sha256 {provenance.sha256(args.selection)}", file=sys.stderr)
    task, baseline = Learning.model_validate(args.spec["tasks"]), Prompted.model_validate(args.spec["baselines"])
    choice = tables.read_json(args.choice)
    (prompt,) = read_prompts(args.template_files, [choice["template"]])
    prompted.refuse_other(prompt, choice, args.choice)
    rows = read_part(args.data, args.part)
    loaded = prompted.load(args, baseline)
    progress = Progress(f"ask {args.monitor} {args.part}", len(rows), "prompts", args.progress)
    asked = prompted.ask(loaded, prompt, rows, baseline.truncate, progress.update)
    scores = prompted.table(asked, rows, args.part, task.classes, args.monitor)
    inputs = [args.data, args.model, args.choice, *args.template_files, args.selection]
    facts = {**loaded.facts, "wording": {prompt.name: prompt.wording}, "n": len(rows)}
    made = provenance.record(__file__, args.code, args.spec, inputs, prompted.PACKAGES, **facts)
    tables.write(args.output, scores, SCORE, made)


if __name__ == "__main__":
    speak(main)
