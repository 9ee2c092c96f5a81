"""A cluster for all tests of a session, and a slice of the tiny study: made here, and to be made there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import plugins
from tests.cluster.slice import HELD, TARGETS
from tests.cluster.slurm import Cluster, unfit
from tests.tiny.study import Project

ASKED = "CANDOR_TEST_CLUSTER"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(ASKED) != "1":
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="starts a SLURM on this machine: make test-cluster"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """SLURM with a CPU node, and nodes of four A100 and two H100."""
    reason = unfit()
    assert reason is None, f"SLURM cannot be started here: {reason}"
    found = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study with nothing made, whose extraction stops at a gate while there is one; not to be changed."""
    project = Project.create(tmp_path_factory.mktemp("source") / "project")
    project.hold(*HELD)
    (project.folder / "gate").unlink()
    return project


@pytest.fixture(scope="session")
def here(source: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The slice, made on this machine."""
    project = source.copy(tmp_path_factory.mktemp("here") / "project")
    project.build(*TARGETS)
    return project


@pytest.fixture(scope="session")
def there(source: Project, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The slice, to be made on the cluster."""
    project = source.copy(tmp_path_factory.mktemp("there") / "project")
    project.write("profiles/slurm/partitions.yaml", project.read("profiles/slurm/partitions.yaml.example"))
    project.environment["PYTHONPATH"] = plugins.path_of("slurm")
    return project
