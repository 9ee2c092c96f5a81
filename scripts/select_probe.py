"""Choose layer, probe and threshold of a task from training scores alone, before anything is evaluated.

python scripts/select_probe.py --spec '{"tasks": {…}}' --probe-scores S.parquet … --baseline-scores S.parquet … \
    --output selection.json

A task's controls are probes whose scores are read with the others; they get layers and thresholds like these, and are
never selected.
"""

from pathlib import Path

from candor import provenance, tables
from candor.command import Command
from candor.config.tasks import Contest
from candor.errors import speak
from candor.probes.selection import select, thresholds_of
from candor.schemas.score import SCORE


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument(
        "--probe-scores", type=Path, nargs="+", required=True, help="in the order of tasks.ID.probes, then controls"
    )
    parser.add_argument(
        "--baseline-scores", type=Path, nargs="*", default=[], help="in the order of tasks.ID.baselines"
    )
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    task = Contest.model_validate(args.spec["tasks"])
    paths = dict(zip(task.trained, args.probe_scores, strict=True))
    paths.update(zip(task.baselines, args.baseline_scores, strict=True))
    read = {monitor: tables.read(path, SCORE) for monitor, path in paths.items()}
    probes, controls, baselines = (
        {monitor: read[monitor] for monitor in monitors} for monitors in (task.probes, task.controls, task.baselines)
    )
    thresholds = {monitor: thresholds_of(scores, task.control, task.target_fpr) for monitor, scores in read.items()}
    selection = select(probes, controls, baselines, thresholds)
    made = provenance.record(__file__, args.code, args.spec, [*args.probe_scores, *args.baseline_scores])
    tables.write_json(args.output, selection, made)


if __name__ == "__main__":
    speak(main)
