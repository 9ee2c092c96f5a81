"""The lock, the conda environments and the texts of the project: one set of pins, and no trace of a machine."""

import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
# in pieces, since this file is one of those that are searched
FORBIDDEN = [
    "".join(parts)
    for parts in (
        ("pypi", ".org"),
        ("files.python", "hosted"),
        ("deb.", "debian.org"),
        ("registry.", "npmjs"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("/Us", "ers/"),
        ("/wo", "rk/main"),
        ("/wo", "rk/shared"),
    )
]


def pins(lines: list[str]) -> dict[str, str]:
    """Package -> version; every line must pin exactly one version."""
    found: dict[str, str] = {}
    for line in lines:
        requirement = Requirement(line)
        [specifier] = requirement.specifier
        assert specifier.operator == "==" and requirement.url is None, line
        name = canonicalize_name(requirement.name)
        assert name not in found, f"{name} is pinned twice"
        found[name] = specifier.version
    return found


def locked(path: Path) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return pins([line for line in lines if line])


def required(path: Path) -> dict[str, str]:
    """The packages of a conda environment that pip installs."""
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    [by_pip] = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    return pins(by_pip)


def test_the_makefile_s_locks_are_there() -> None:
    names = {path.name for path in LOCKS}
    assert names >= {"requirements.lock", "requirements-dev.lock", "requirements-weights.lock"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(name in makefile for name in names)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_every_package_once(path: Path) -> None:
    assert locked(path)


def test_no_package_has_two_versions() -> None:
    everything = [(name, version) for path in LOCKS for name, version in locked(path).items()]
    assert len({name for name, _ in everything}) == len(everything)


def test_the_lock_pins_torch_and_leaves_its_companions_to_the_build() -> None:
    for path in LOCKS:
        others = [name for name in locked(path) if name.startswith(("nvidia", "triton", "cuda"))]
        assert others == [], path.name
    version = locked(ROOT / "requirements.lock")["torch"]
    assert "+" not in version, "a local version such as +cpu is on no registry; other machines could not install it"


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_an_environment_has_the_lock_s_pins(path: Path) -> None:
    everything = {name: version for lock in LOCKS for name, version in locked(lock).items()}
    found = required(path)
    assert "snakemake" in found
    shared = found.keys() & everything.keys()
    assert {name: found[name] for name in shared} == {name: everything[name] for name in shared}
    assert shared == found.keys() or "mlx" in path.name


def test_every_environment_that_a_rule_names_is_there() -> None:
    rules = [ROOT / "Snakefile", *(ROOT / "rules").rglob("*.smk")]
    named = {
        line.strip().strip('",').removeprefix("../")
        for path in rules
        for line in path.read_text(encoding="utf-8").splitlines()
        if "envs/" in line and line.strip().startswith('"')
    }
    assert named and named <= {path.relative_to(ROOT).as_posix() for path in ENVIRONMENTS}


def test_no_text_names_a_folder_of_a_machine_or_a_registry_s_host() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: no list of the project's files")
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    found = []
    for name in filter(None, names):
        path = ROOT / name
        if path.is_file():  # a tracked file may be deleted and not yet committed
            content = path.read_bytes()
            found += [(name, text) for text in FORBIDDEN if text.encode() in content]
    assert found == []
