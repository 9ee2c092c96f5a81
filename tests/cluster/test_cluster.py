"""The study on a real SLURM: what its own records say, and what disturbs a run and changes nothing in it."""

import csv
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.slice import ON_CPUS, ON_GPUS, PROFILE, TARGETS
from tests.cluster.slurm import Cluster, run, wait
from tests.tiny.study import Project

FIELDS = ("JobID", "Comment", "Partition", "ReqTRES", "State")
PATIENCE_S = 900


@dataclass(frozen=True)
class Record:
    """A job as the scheduler's database has it."""

    id: str
    rule: str
    partition: str
    gpus: dict[str, int]
    state: str


def records(after: int = 0) -> list[Record]:
    """All jobs but those up to an id, in order."""
    listed = run("sacct", "--allocations", "--parsable2", "--starttime=now-1days", f"--format={','.join(FIELDS)}")
    rows = csv.DictReader(listed.splitlines(), delimiter="|")
    found = [
        Record(
            row["JobID"],
            re.sub(r"^(rule|group)_(.*?)(_wildcards_.*)?$", r"\2", row["Comment"]),
            row["Partition"],
            {name: int(count) for name, count in re.findall(r"(gres/gpu[^=,]*)=(\d+)", row["ReqTRES"])},
            row["State"].partition(" ")[0],
        )
        for row in rows
    ]
    return [record for record in found if int(record.id) > after]


def last() -> int:
    """The id of the newest job."""
    return max((int(record.id) for record in records()), default=0)


@dataclass(frozen=True)
class Disturbed:
    """The slice, made on the cluster while it was disturbed, and all jobs of that."""

    project: Project
    records: list[Record]

    def states(self, rule: str) -> list[str]:
        """What became of a rule's jobs."""
        return sorted(record.state for record in self.records if record.rule == rule)


@pytest.fixture(scope="module")
def made(there: Project, cluster: Cluster) -> Disturbed:
    """A job is cancelled, the controller restarted, the config and a module edited while extraction is held."""
    before = last()
    os.mkfifo(there.folder / "gate")
    started = there.start(*PROFILE, *TARGETS)
    try:
        with there.held(started):
            cancelled = running("extract_activations")[0]
            run("scancel", cancelled)
            cluster.stop_controller()
            saved = {file: there.read(file) for file in ("config.yaml", "scripts/candor/tables.py")}
            there.replace("config.yaml", "figures:", "figures: [half a li")
            there.replace("scripts/candor/tables.py", "import ", "raise SystemExit\nimport ")
            cluster.start_controller()
            wait("the job is cancelled", lambda: state(cancelled) == "CANCELLED")
        assert started.wait(timeout=PATIENCE_S) == 0
    finally:
        started.kill()
    for file, text in saved.items():
        there.write(file, text)
    return Disturbed(there, records(before))


class TestSlice:
    def test_gpu_rules_get_an_a100_and_no_others_do(self, made: Disturbed) -> None:
        assert {record.rule for record in made.records} == ON_GPUS | ON_CPUS
        for record in made.records:
            a100 = {"gres/gpu": 1, "gres/gpu:a100": 1}
            placed = ("gpu", a100) if record.rule in ON_GPUS else ("cpu", {})
            assert (record.partition, record.gpus) == placed, record

    def test_a_cancelled_job_is_tried_again_and_a_restarted_controller_loses_none(self, made: Disturbed) -> None:
        # for some seconds a new controller knows of no GPUs, and what it starts then fails and is tried once more
        found = {rule: [state for state in made.states(rule) if state != "FAILED"] for rule in ON_GPUS | ON_CPUS}
        assert found.pop("extract_activations") == ["CANCELLED", "COMPLETED", "COMPLETED"]
        assert {state for states in found.values() for state in states} == {"COMPLETED"}
        assert all("FAILED" not in made.states(rule) for rule in ON_CPUS)
        assert made.states("extract_activations").count("FAILED") <= 1

    def test_results_are_those_of_this_machine_whatever_was_edited_on_the_way(
        self, made: Disturbed, here: Project
    ) -> None:
        assert made.project.results() == here.results()

    def test_a_study_that_moves_between_a_cluster_and_a_laptop_makes_nothing_again(self, made: Disturbed) -> None:
        assert made.project.jobs(*TARGETS) == set()
        assert made.project.jobs(*PROFILE, *TARGETS) == set()


FOUR_SCORES = """
rule all:
    input:
        collect("{part}.txt", part=[*"abcd"]),


rule score_prompted:
    output:
        "{part}.txt",
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=lambda wildcards: 2 if wildcards.part == "a" else 1,
        gpu_model="a100",
        gpu_turn=1,
        nodes=1,
    shell:
        "mkdir turn && echo {wildcards.part} >{output} && rmdir turn"
"""


class TestGroups:
    def test_short_gpu_jobs_take_turns_in_one_on_as_many_gpus_as_the_largest_asks_for(
        self, there: Project, tmp_path: Path
    ) -> None:
        before = last()
        small = Project(tmp_path / "four")
        small.environment = there.environment
        shutil.copytree(there.folder / "profiles", small.folder / "profiles")
        small.write("Snakefile", FOUR_SCORES)
        made = small.snakemake(*PROFILE, "--retries", "0")
        assert made.returncode == 0, made.stdout
        (found,) = records(before)
        assert (found.partition, found.gpus) == ("gpu", {"gres/gpu": 2, "gres/gpu:a100": 2})


def running(rule: str) -> list[str]:
    """The ids of a rule's jobs that run now, of which the database has no comment yet."""
    listed = run("squeue", "--noheader", "--states=RUNNING", "--sort=i", "--format=%i %k").splitlines()
    return [id for id, comment in map(str.split, listed) if comment.startswith(f"rule_{rule}_")]


def state(id: str) -> str:
    """The state of a job."""
    return next(record.state for record in records() if record.id == id)
