"""A built copy of the tiny study for each test."""

from pathlib import Path

import pytest

from tests.tiny.study import Project


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study with every result made; not to be changed."""
    project = Project.create(tmp_path_factory.mktemp("built") / "project")
    with project.served():
        project.build()
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """A built copy that a test may change."""
    return built.copy(tmp_path / "project")
