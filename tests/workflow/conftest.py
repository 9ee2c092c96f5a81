"""A built copy of the tiny study for each test."""

from pathlib import Path

import pytest

from tests.tiny.building import built_once
from tests.tiny.study import Project


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study with every result made; not to be changed."""
    return built_once(tmp_path_factory).project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """A built copy that a test may change."""
    return built.copy(tmp_path / "project")
