"""The lock, the conda environments and the texts of the project: one set of pins, and no trace of a machine."""

import ast
import re
import shlex
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
IMAGES = [ROOT / "envs/Dockerfile", ROOT / "envs/candor.def"]
# what is imported only where a user asks for it, and installs for it
OPTIONAL = {"vllm", "mlx", "mlx_lm"}
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
    plugins = {f"requirements-{name}.lock" for name in re.findall(r"foreach name,([^,]+),", makefile)[0].split()}
    assert all(name in makefile for name in names - plugins) and plugins <= names


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
def test_an_environment_has_what_candor_imports_at_the_lock_s_versions(path: Path) -> None:
    everything = locked(ROOT / "requirements.lock")
    wanted = required(path)
    assert wanted == locked(ROOT / "requirements.in")
    assert wanted == {name: everything[name] for name in wanted}


def test_the_locks_have_everything_that_the_scripts_import() -> None:
    known = locked(ROOT / "requirements.lock") | locked(ROOT / "requirements-storage.lock")
    distributions = packages_distributions()
    own = {path.stem for path in (ROOT / "scripts").iterdir()}
    missing = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "scripts").rglob("*.py")
        for name in imported(path) - OPTIONAL - sys.stdlib_module_names - own
        if not {canonicalize_name(each) for each in distributions.get(name, [name])} & known.keys()
    }
    assert missing == set()


def imported(path: Path) -> set[str]:
    """The packages that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in named}


class TestImages:
    """envs/Dockerfile and envs/candor.def, which cannot be built here: what they name is there, and they agree."""

    @pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
    def test_the_base_is_one_version_of_the_environments_python(self, path: Path) -> None:
        [base] = re.findall(r"(?m)^from:? +(\S+)$", path.read_text(encoding="utf-8"), re.IGNORECASE)
        assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
        for environment in ENVIRONMENTS:
            assert "python=3.11" in yaml.safe_load(environment.read_text(encoding="utf-8"))["dependencies"]

    def test_both_have_the_same_base_and_run_the_same_installation(self) -> None:
        docker, apptainer = (path.read_text(encoding="utf-8") for path in IMAGES)
        assert re.findall(r"python:\S+", docker) == re.findall(r"python:\S+", apptainer)
        assert installing(docker) == installing(apptainer)
        assert len(installing(docker)) == 3

    @pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
    def test_they_copy_every_lock_of_a_run_and_install_no_other_package(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        copied = [name for line in text.splitlines() for name in copies(line)]
        assert all((ROOT / name).is_file() for name in copied)
        submitting = {"requirements-slurm.lock", "requirements-kubernetes.lock"}
        assert set(copied) == {path.name for path in LOCKS} - {"requirements-dev.lock"} - submitting
        assert not re.search(r"==\d|https?:", text), "versions stand in the locks, and hosts nowhere"
        for command in installing(text):
            assert {word for word in shlex.split(command) if word.endswith(".lock")} or "grep" in command

    @pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
    def test_their_commands_are_shell(self, path: Path) -> None:
        for command in installing(path.read_text(encoding="utf-8")):
            assert subprocess.run(["sh", "-n", "-c", command], capture_output=True).returncode == 0, command

    def test_pods_find_the_plugin_that_they_install_in_the_image(self) -> None:
        text = IMAGES[0].read_text(encoding="utf-8")
        [name] = re.findall(r"grep '\^(\S+)==' \S+requirements-storage\.lock", text)
        assert name in locked(ROOT / "requirements-storage.lock")
        assert {"PIP_NO_INDEX=1", "PIP_NO_DEPS=1", "PIP_FIND_LINKS=/opt/candor/wheels"} <= set(text.split())
        assert text.index("pip download") < text.index("PIP_NO_INDEX=1")


def installing(text: str) -> list[str]:
    """The commands that an image's recipe installs with."""
    text = text.replace("\\\n", " ")
    lines = (part.strip() for line in text.splitlines() for part in line.removeprefix("RUN ").split("&&"))
    return [" ".join(line.split()) for line in lines if line.startswith("pip install ")]


def copies(line: str) -> list[str]:
    """The project's files that a line of a recipe copies."""
    if line.startswith("COPY "):
        return line.split()[1:-1]
    found = re.fullmatch(r" +(\S+\.lock) /\S+", line)
    return [found[1]] if found else []


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
