"""Time dry runs of whole graphs, beside a bare import of snakemake: what each start of a study pays before any job.

python benchmarks/graph.py --rounds 3

Two graphs: that of config.paper.yaml, and that of a larger study, made of it: `--subjects` more models, each with a
capture, a task and two figures of its own, as for checkpoints of one model over its training, and every dataset spread
over `--shards` jobs. With the profile of a laptop, and with that of a SLURM site where the executor's plugin is
installed in this Python: there each job's memory, GPUs and runtime are computed too. Nothing is submitted.

Each round runs one of each in turn, the import first, in a folder that holds a copy of the project and no results. Wall
and CPU seconds are medians of the rounds; a ratio is of the CPU seconds of one round, and the median is printed with
the lowest and the highest. The first dry run of all parses the code, of which later ones find the digests in
.snakemake/parsed.json; it is told apart. `--profile FILE` runs the larger graph once more under cProfile and keeps what
that found; `--dump FOLDER` keeps what the dry runs said, to be compared between two versions. It measures and asserts
nothing.
"""

import argparse
import importlib.util
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config.yaml", "config.paper.yaml", "rules", "scripts", "profiles", "resources", "report", "envs")
LIKE = "high-stakes-llama-8b"
"""The task that each further model has one like."""
TARGET = "results/figures/all"


class Graph(NamedTuple):
    """A graph to be planned: its name, and the configs that are laid over config.yaml."""

    name: str
    configs: tuple[str, ...]


class Done(NamedTuple):
    """A command that has ended: wall and CPU seconds, and what it said."""

    wall: float
    cpu: float
    said: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--subjects", type=int, default=17, help="further models of the larger study")
    parser.add_argument(
        "--shards", type=int, default=4, help="jobs that each dataset of the larger study is spread over"
    )
    parser.add_argument("--profile", type=Path, help="file for cProfile's numbers of the larger graph")
    parser.add_argument("--dump", type=Path, help="folder for what the dry runs say")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        copy_project(project)
        larger = larger_study(project, args.subjects, args.shards)
        (project / "config.larger.yaml").write_text(yaml.safe_dump(larger), encoding="utf-8")
        graphs = [
            Graph("config.paper.yaml", ("config.paper.yaml",)),
            Graph("larger study", ("config.paper.yaml", "config.larger.yaml")),
        ]
        profiles = ["default", *(["slurm"] if importlib.util.find_spec("snakemake_executor_plugin_slurm") else [])]
        cases = [(graph, profile) for graph in graphs for profile in profiles]
        first = run(project, dry_run(*cases[0])).cpu
        print(f"the first dry run, which parses the code: {first:.1f} s of CPU\n")
        compare(project, cases, args.rounds, args.dump)
        if args.profile:
            command = dry_run(*cases[-1])
            run(project, [command[0], "-m", "cProfile", "-o", str(args.profile.absolute()), *command[1:]])


def copy_project(folder: Path) -> None:
    """The parts of the project that a dry run reads, in a folder."""
    folder.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    shutil.copy2(folder / "profiles/slurm/partitions.yaml.example", folder / "profiles/slurm/partitions.yaml")
    (folder / "mental-health.csv").touch()


def larger_study(project: Path, subjects: int, shards: int) -> dict[str, Any]:
    """What is laid over config.paper.yaml: further models with all that is made of each, and shards."""
    both = [
        yaml.safe_load((project / name).read_text(encoding="utf-8")) for name in ("config.yaml", "config.paper.yaml")
    ]
    paper = both[1]
    task = paper["tasks"][LIKE]
    capture = paper["captures"][task["capture"]]
    model = paper["models"][capture["subject"]]
    ids = [f"{LIKE}-{number:02d}" for number in range(subjects)]
    figures = {
        f"{plot}_{id}": {"plot": plot, "task": id, "title": id, "caption": "Another checkpoint of the same model."}
        for id in ids
        for plot in ("probe_comparison", "roc")
    }
    return {
        "models": {id: {**model, "revision": id} for id in ids},
        "captures": {id: {**capture, "subject": id} for id in ids},
        "tasks": {id: {**task, "capture": id} for id in ids},
        "figures": figures,
        "run": {
            "figures": [*paper["run"]["figures"], *figures],
            "shards": {id: shards for config in both for id in config["datasets"]},
        },
    }


def dry_run(graph: Graph, profile: str) -> list[str]:
    """The command of a dry run."""
    options = ["--workflow-profile", f"profiles/{profile}", "--configfile", *graph.configs]
    return [sys.executable, "-m", "snakemake", "--dry-run", *options, "--", TARGET]


def compare(project: Path, cases: Sequence[tuple[Graph, str]], rounds: int, dump: Path | None) -> None:
    """Plan each graph once a round, and print the medians."""
    bare = [sys.executable, "-c", "import snakemake.cli"]
    imports: list[Done] = []
    found: dict[tuple[Graph, str], list[Done]] = {case: [] for case in cases}
    for _ in range(rounds):
        imports.append(run(project, bare))
        for case in cases:
            found[case].append(run(project, dry_run(*case)))
    print("| graph | profile | jobs | wall s | CPU s | times a bare import |\n|---|---|---|---|---|---|")
    print(f"| import snakemake | | | {medians(imports)} | 1 |")
    for (graph, profile), done in found.items():
        ratios = sorted(each.cpu / alone.cpu for each, alone in zip(done, imports, strict=True))
        spread = f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        print(f"| {graph.name} | {profile} | {jobs(done[0].said):,} | {medians(done)} | {spread} |")
        if dump:
            dump.mkdir(parents=True, exist_ok=True)
            (dump / f"{graph.configs[-1]}.{profile}.txt").write_text(done[0].said, encoding="utf-8")


def medians(done: Sequence[Done]) -> str:
    """Two cells of the table: wall and CPU seconds."""
    return " | ".join(f"{statistics.median(times):.1f}" for times in zip(*(each[:2] for each in done), strict=True))


def jobs(said: str) -> int:
    """How many jobs a dry run counted."""
    found = re.search(r"^total +(\d+)$", said, re.MULTILINE)
    return int(found[1]) if found else 0


def run(project: Path, command: Sequence[str]) -> Done:
    """Run a command in the project's folder."""
    environment = {**os.environ, "CANDOR_MENTAL_HEALTH": str(project / "mental-health.csv")}
    before, start = spent(), time.perf_counter()
    done = subprocess.run(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    wall, cpu = time.perf_counter() - start, spent() - before
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
    return Done(wall, cpu, done.stdout)


def spent() -> float:
    """CPU seconds of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
