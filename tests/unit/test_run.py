"""A run: config as canonical JSON, scripts by the digest of their code, and both frozen for the jobs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from candor.digest import Code
from candor.run import RUNS, VARIABLE, Run, RunError, Script

SCRIPTS = Path(__file__).parents[2] / "scripts"
CONFIG: dict[str, Any] = {
    "probes": {"mean": {"family": "mean", "seeds": [0, 1]}, "max": {"seeds": [0], "family": "max"}},
    "tasks": {"stakes": {"train": "pairs@train", "folds": 5, "title": "Stakes", "seed": 0}},
}
FILES = {
    "train.py": "from library import fitting\n\nfitting.fit()\n",
    "library/__init__.py": "",
    "library/fitting.py": "def fit():\n    return 1\n",
    "library/mean.py": "WIDTH = 1\n",
}


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of scripts in a project, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / "scripts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scripts" / name).write_text(text)
    return tmp_path / "scripts"


@pytest.fixture
def run(scripts: Path) -> Run:
    return Run.begin(CONFIG, scripts)


class TestSpec:
    def test_a_whole_entry_stands_under_its_section(self, run: Run) -> None:
        assert json.loads(run.spec("probes/mean")) == {"probes": {"family": "mean", "seeds": [0, 1]}}

    def test_some_keys_of_an_entry(self, run: Run) -> None:
        assert json.loads(run.spec("tasks/stakes[train,seed]")) == {"tasks": {"train": "pairs@train", "seed": 0}}

    def test_entries_of_several_sections(self, run: Run) -> None:
        found = json.loads(run.spec("tasks/stakes[folds]", "probes/max"))
        assert found == {"tasks": {"folds": 5}, "probes": CONFIG["probes"]["max"]}

    def test_two_entries_of_one_section_stand_under_their_ids(self, run: Run) -> None:
        assert json.loads(run.spec("probes/mean", "probes/max[family]")) == {
            "probes": {"mean": CONFIG["probes"]["mean"], "max": {"family": "max"}}
        }

    def test_the_order_of_keys_does_not_count_and_every_value_does(self, run: Run, scripts: Path) -> None:
        turned = {
            section: {id: dict(reversed(entry.items())) for id, entry in reversed(entries.items())}
            for section, entries in reversed(CONFIG.items())
        }
        paths = ("probes/mean", "tasks/stakes[title,folds]")
        assert Run.begin(turned, scripts).spec(*paths) == run.spec(*paths)
        assert run.spec("tasks/stakes[folds,title]") == run.spec("tasks/stakes[title,folds]")
        swapped = {"probes": {"mean": {"family": "mean", "seeds": [1, 0]}}}
        assert Run.begin(swapped, scripts).spec("probes/mean") != run.spec("probes/mean")

    @pytest.mark.parametrize("path", ["probes/none", "none/mean", "probes/mean[none]"])
    def test_a_path_that_is_not_in_the_config_is_an_error(self, run: Run, path: str) -> None:
        with pytest.raises(KeyError, match="none"):
            run.spec(path)


class TestScript:
    def test_it_is_the_frozen_path_and_shows_as_the_digest_of_its_code(self, run: Run, scripts: Path) -> None:
        script = run.script("train.py")
        assert isinstance(script, Script)
        assert script.code == Code(scripts).digest("train.py")
        assert repr(script) == f"train.py with code {script.code}"
        assert Path(script).parts[:2] == RUNS.parts and Path(script).parts[-2:] == ("scripts", "train.py")

    def test_what_snakemake_records_does_not_know_the_folder(self, run: Run, scripts: Path) -> None:
        other = Run.begin({**CONFIG, "tasks": {}}, scripts).script("train.py")
        assert str(other) != str(run.script("train.py"))
        assert repr(other) == repr(run.script("train.py"))

    @pytest.mark.parametrize("file", ["train.py", "library/fitting.py", "library/__init__.py"])
    def test_an_edit_of_the_script_or_of_what_it_imports_shows(self, run: Run, scripts: Path, file: str) -> None:
        (scripts / file).write_text(FILES[file] + "\nMORE = 1\n")
        assert repr(Run.begin(CONFIG, scripts).script("train.py")) != repr(run.script("train.py"))

    def test_an_edit_elsewhere_does_not_show_unless_the_module_is_named(self, run: Run, scripts: Path) -> None:
        (scripts / "library/mean.py").write_text("WIDTH = 2\n")
        edited = Run.begin(CONFIG, scripts)
        assert repr(edited.script("train.py")) == repr(run.script("train.py"))
        assert repr(edited.script("train.py", "library.mean")) != repr(run.script("train.py", "library.mean"))

    def test_a_script_that_is_not_there_is_named(self, run: Run) -> None:
        with pytest.raises(FileNotFoundError, match=r"scripts/none\.py"):
            run.script("none.py")


class TestFrozenRun:
    def test_nothing_is_written_before_the_run_starts(self, run: Run, tmp_path: Path) -> None:
        run.spec("probes/mean")
        run.script("train.py")
        assert {path.name for path in tmp_path.iterdir()} == {"scripts", ".snakemake"}
        assert [path.name for path in (tmp_path / ".snakemake").iterdir()] == [
            "parsed.json"
        ]  # what code digests rest on

    def test_a_job_sees_what_the_run_started_with(self, run: Run, scripts: Path) -> None:
        environment: dict[str, str] = {}
        run.freeze(environment)
        (scripts / "library/fitting.py").write_text("def fit():\n    return 2\n")
        job = Run.thaw(environment)
        assert job.config == CONFIG
        assert job.spec("tasks/stakes") == run.spec("tasks/stakes")
        assert (str(job.script("train.py")), repr(job.script("train.py"))) == (
            str(run.script("train.py")),
            repr(run.script("train.py")),
        )
        assert "return 1" in (Path(job.script("train.py")).parent / "library/fitting.py").read_text()

    def test_the_copies_are_read_only(self, run: Run) -> None:
        environment: dict[str, str] = {}
        run.freeze(environment)
        copies = sorted(Path(environment[VARIABLE], "scripts").rglob("*.py"))
        assert len(copies) == len(FILES)
        assert {path.stat().st_mode & 0o222 for path in copies} == {0}

    def test_the_same_config_and_code_are_the_same_folder(self, run: Run, scripts: Path) -> None:
        first: dict[str, str] = {}
        second: dict[str, str] = {}
        run.freeze(first)
        del run._claim
        Run.begin(CONFIG, scripts).freeze(second)
        assert first == second
        assert len([path for path in RUNS.iterdir() if path.is_dir()]) == 1

    def test_every_byte_of_the_code_and_every_value_of_the_config_make_another_folder(self, scripts: Path) -> None:
        folders = {str(Run.begin(CONFIG, scripts).script("train.py"))}
        folders.add(str(Run.begin({**CONFIG, "tasks": {}}, scripts).script("train.py")))
        for text in (FILES["train.py"] + "# a comment\n", FILES["train.py"]):
            (scripts / "train.py").write_text(text)
            folders.add(str(Run.begin(CONFIG, scripts).script("train.py")))
        assert len(folders) == 3

    def test_a_second_run_in_the_same_folder_is_refused(self, run: Run, scripts: Path) -> None:
        run.freeze({})
        environment: dict[str, str] = {}
        with pytest.raises(RunError, match=r"Another snakemake is at work in this folder.*git worktree add"):
            Run.begin({**CONFIG, "tasks": {}}, scripts).freeze(environment)
        assert environment == {}
        assert len([path for path in RUNS.iterdir() if path.is_dir()]) == 1

    def test_the_claim_ends_with_a_process_that_is_killed(self, run: Run, scripts: Path) -> None:
        program = (
            "import os, signal; from pathlib import Path; from candor.run import Run\n"
            "run = Run.begin({}, Path('scripts')); run.freeze({})\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
        assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode < 0
        run.freeze({})

    def test_what_a_killed_run_left_half_written_is_no_run(self, run: Run, scripts: Path) -> None:
        folder = Path(run.script("train.py")).parents[1]
        (RUNS / f"{folder.name}.12345" / "scripts").mkdir(parents=True)
        environment: dict[str, str] = {}
        run.freeze(environment)
        assert Run.thaw(environment).config == CONFIG

    def test_a_job_without_the_variable_says_what_the_executor_must_do(self) -> None:
        with pytest.raises(RunError, match=rf"{VARIABLE}.*--export=ALL"):
            Run.thaw({})

    def test_a_job_whose_run_is_gone_says_so(self, scripts: Path) -> None:
        with pytest.raises(RunError, match=r"no run in .*/gone.*start snakemake again"):
            Run.thaw({VARIABLE: str(RUNS / "gone")})
