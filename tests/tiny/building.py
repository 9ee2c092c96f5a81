"""The tiny study with every result made: once for all processes that run tests."""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

from tests.tiny.study import Project

SECRET = "hf_PlantedTokenThatNoFileMayHold0123456789"
"""What stands in the environment while the study is built."""


class Built(NamedTuple):
    """A project with its results, what a dry run announced before, and what the build said."""

    project: Project
    announced: str
    said: str

    @property
    def results(self) -> Path:
        """The folder of results."""
        return self.project.folder / "results"

    def artefacts(self, *suffixes: str) -> list[Path]:
        """Results of these suffixes, or all; logs and benchmarks are none."""
        paths = [self.results / name for name in sorted(self.project.results())]
        return [path for path in paths if not suffixes or path.suffix in suffixes]


def build(project: Project, **environment: str) -> Built:
    """Make everything of a project, its chat service there for as long."""
    announced = project.snakemake("--dry-run")
    assert announced.returncode == 0, announced.stdout
    with project.served():
        made = project.snakemake(**environment)
    assert made.returncode == 0, made.stdout
    return Built(project, announced.stdout, made.stdout)


def built_once(factory: pytest.TempPathFactory) -> Built:
    """The study, built by the first process that asks for it while the others wait; not to be changed."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    told = folder / "told.json"
    with FileLock(folder.with_suffix(".lock")):
        if not told.exists():
            shutil.rmtree(folder, ignore_errors=True)
            built = build(Project.create(folder / "project"), HF_TOKEN=SECRET)
            told.write_text(json.dumps([built.announced, built.said]), encoding="utf-8")
    return Built(Project(folder / "project"), *json.loads(told.read_text(encoding="utf-8")))
