"""Train one text baseline on a task; score its training examples out of fold, and the control examples.

python scripts/train_text.py --spec '{"tasks": {…}, "baselines": {…}}' --monitor ID \
    --data D.parquet --control D2.parquet [--responses G.parquet --control-responses G2.parquet] \
    --model M.safetensors --scores S.parquet
"""

import sys
from pathlib import Path

import pyarrow as pa

from candor import provenance, tables
from candor.baselines import text
from candor.baselines.responses import as_read
from candor.command import Command
from candor.config.tasks import Learning
from candor.data.parts import read_part
from candor.errors import speak
from candor.schemas.score import SCORE
from candor.schemas.status import SCORED


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset of the task's training part")
    parser.add_argument("--control", type=Path, required=True, help="dataset of the task's control part")
    for name in ("--responses", "--control-responses"):
        parser.add_argument(name, type=Path, nargs="*", default=[], help="what the subject answered, if it is read")
    parser.add_argument("--monitor", required=True, help="id of the baseline")
    parser.add_argument("--max-words", type=int, help="cap on a text, in words; none without it")
    parser.add_argument("--truncate", default="left", choices=["left", "right"], help="side on which a text is cut")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    args = parser.parse_args()
    task, baseline = Learning.model_validate(args.spec["tasks"]), text.parse_options(args.spec["baselines"])
    part = as_read(read_part(args.data, task.train), baseline.reads, args.responses)
    control = as_read(read_part(args.control, task.control), baseline.reads, args.control_responses)
    read = text.conversations(part, args.max_words, args.truncate)
    usable = [i for i, row in enumerate(part) if row["label"] in task.classes and read.statuses[i] in SCORED]
    rows = [part[i] for i in usable]
    trained = text.train(
        [read.texts[i] for i in usable],
        [row["label"] for row in rows],
        [row["group_id"] for row in rows],
        task.classes,
        baseline,
        task.folds,
        task.seed,
        args.max_words,
        args.truncate,
    )
    statuses = [read.statuses[i] for i in usable]
    own = text.table(trained.model, rows, task.train, args.monitor, trained.out_of_fold, statuses, trained.folds)
    on_control = text.score_part(trained.model, control, task.control, args.monitor)
    facts = {"n": len(rows), "n_skipped": len(part) - len(rows), "folds_at_min_df_1": trained.fallback_folds}
    inputs = [args.data, args.control, *args.responses, *args.control_responses]
    made = provenance.record(__file__, args.code, args.spec, inputs, ["scikit-learn"], **facts)
    trained.model.save(args.model, made)
    tables.write(args.scores, pa.concat_tables([own, on_control]), SCORE, made)
    header = trained.model.header
    asked = header.options.get("min_df")
    if header.min_df != asked or trained.fallback_folds:
        print(f"min_df {asked} left no n-gram, took 1: folds {trained.fallback_folds}", file=sys.stderr)
    print(f"{args.model}: {facts}, {len(header.vocabulary)} n-grams at min_df {header.min_df}", file=sys.stderr)


if __name__ == "__main__":
    speak(main)
