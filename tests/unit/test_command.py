"""The flags that scripts share, and how a script ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from candor.command import Command
from candor.errors import CandorError, speak

SCRIPTS = Path(__file__).parents[2] / "scripts"


class TestCommand:
    def test_spec_is_a_json_object_and_code_a_digest(self) -> None:
        args = Command("Doc.").parse_args(["--spec", '{"probes": {"family": "mean", "name": "ü"}}', "--code", "c0ffee"])
        assert args.spec == {"probes": {"family": "mean", "name": "ü"}} and args.code == "c0ffee"

    def test_by_hand_neither_is_needed(self) -> None:
        args = Command("Doc.").parse_args([])
        assert args.spec == {} and args.code == "by hand"

    @pytest.mark.parametrize("spec", ["", "{", "{'a': 1}", "[]", '[["a", 1]]', "null", "5"])
    def test_a_spec_that_is_no_object_is_refused(self, spec: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            Command("Doc.").parse_args(["--spec", spec])
        assert end.value.code == 2
        assert "argument --spec: not a JSON object" in capsys.readouterr().err

    def test_the_docstring_is_the_help_as_it_stands(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            Command("What it does.\n\npython scripts/x.py --spec '{…}' \\\n    --output O").parse_args(["--help"])
        assert "What it does.\n\npython scripts/x.py --spec '{…}' \\\n    --output O\n" in capsys.readouterr().out


class TestSpeak:
    def test_an_error_that_the_user_can_mend_is_its_sentence_alone(self, tmp_path: Path) -> None:
        (tmp_path / "x.py").write_text(
            f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
            "from candor.errors import speak\nfrom candor.tables import TableError\n"
            "def main(): raise TableError('t.parquet: no such file.')\n"
            "speak(main)\n"
        )
        done = subprocess.run([sys.executable, tmp_path / "x.py"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: t.parquet: no such file.\n")

    def test_any_other_error_keeps_its_traceback(self) -> None:
        def main() -> None:
            raise KeyError("a mistake of ours")

        with pytest.raises(KeyError):
            speak(main)

    def test_a_script_that_ends_well_says_nothing(self) -> None:
        done: list[str] = []
        speak(lambda: done.append("work"))
        assert done == ["work"]

    def test_the_words_are_the_error(self) -> None:
        def main() -> None:
            raise CandorError("config.yaml: probes.mean.seeds is empty; give at least one.")

        with pytest.raises(SystemExit, match=r"^error: config\.yaml: probes\.mean\.seeds is empty"):
            speak(main)
