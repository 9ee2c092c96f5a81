"""The monitor without the app: a JSON line for each text, with the scores that the study has; errors are sentences."""

import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from candor import tables
from candor.config.study import ConfigError
from candor.errors import CandorError
from candor.monitor.choosing import Choices, app_of, read_config
from candor.monitor.engine import MonitorError
from candor.monitor.reports import chat_of, read_chat, report
from candor.schemas.score import SCORE
from tests.monitor_project import LAYER, write_project

SCRIPTS = Path(__file__).parents[2] / "scripts"
Run = Callable[..., "Done"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a trained probe of two classes and one of three."""
    return write_project(tmp_path_factory.mktemp("project"))


class Done(NamedTuple):
    """What came of a run of the script; `error` is the sentence that it ended with."""

    said: str
    error: str | None


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The script in the project's folder and in this process, which has torch already; its input is no terminal."""
    monkeypatch.chdir(project)
    spec = importlib.util.spec_from_file_location("monitor_script", SCRIPTS / "monitor.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def in_process(*flags: str, given: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["monitor.py", "--threads", "1", *flags])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        error = None
        try:
            script.main()
        except CandorError as stopped:
            error = str(stopped)
        return Done(capsys.readouterr().out, error)

    return in_process


def lines(done: Done) -> list[dict[str, Any]]:
    assert done.error is None
    return [json.loads(line) for line in done.said.splitlines()]


def held_out(project: Path, task: str) -> dict[str, dict[str, float]]:
    """Example -> class -> score in the study's own table, at the selected layer."""
    table = tables.read(project / "results" / "scores" / task / f"{task}@test" / "probes.parquet", SCORE)
    found: dict[str, dict[str, float]] = {}
    for row in table.to_pylist():
        if row["layer"] == LAYER:
            found.setdefault(row["example_id"], {})[row["class"]] = row["score"]
    return found


def texts(project: Path, task: str) -> dict[str, str]:
    from candor.schemas.dataset import DATASET

    rows = tables.read(project / "results" / "data" / f"{task}.parquet", DATASET).to_pylist()
    return {row["example_id"]: row["messages"][0]["content"] for row in rows if row["split"] == "test"}


@pytest.mark.parametrize("task", ["stakes", "states"])
def test_each_line_gets_the_score_of_the_study_s_own_table(project: Path, run: Run, task: str) -> None:
    said, expected = texts(project, task), held_out(project, task)
    found = lines(run("--probe", task, given="\n".join(said.values()).encode()))
    assert len(found) == len(said) and all(line["status"] == "ok" for line in found)
    for line, example in zip(found, said, strict=True):
        assert line["scores"] == pytest.approx(expected[example], abs=1e-3)
        passed = [line["scores"][name] > line["threshold"][name] for name in line["scores"] if name != "normal"]
        assert line["flagged"] == any(passed)
        assert line["predicted"] in line["probabilities"]
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_a_text_is_scored_with_its_tokens(run: Run) -> None:
    [line] = lines(run("--text", "Größer als 3, or the reactor?", "--tokens"))
    tokens = line["tokens"]
    assert "".join(token["token"] for token in tokens).count("Größer als 3, or the reactor?") == 1
    assert tokens[0]["scores"] is None and all(token["scores"] for token in tokens[1:])
    assert line["n_tokens"] == len(tokens) - 1 and line["subject"] == "small" and line["layer"] == LAYER


def test_an_empty_line_keeps_its_place_and_two_texts_are_two_lines(run: Run) -> None:
    found = lines(run("--stdin", given=b"reactor\n\nkettle\r\n"))
    assert [line["status"] for line in found] == ["ok", "empty", "ok"]
    assert found[1]["scores"] is None and found[1]["flagged"] is None
    again = lines(run("--text", "reactor", "--text", "kettle"))
    assert [again[0], again[1]] == [found[0], found[2]]
    assert lines(run(given=b"")) == []


@pytest.mark.parametrize(
    ("flags", "given", "sentence"),
    [
        (["--probe", "none"], b"x", "there is no probe 'none' to watch with; choose one of: stakes, states"),
        (["--subject", "other"], b"x", "'other' cannot be watched: choose a model or an adapter of the config"),
        (["--configfile", "absent.yaml"], b"x", "absent.yaml: no such file; start in the project's folder."),
        ([], b"\xff", "line 1 of the input is not UTF-8"),
    ],
)
def test_errors_are_sentences(run: Run, flags: list[str], given: bytes, sentence: str) -> None:
    assert run(*flags, given=given) == Done("", sentence)


def test_flags_that_make_no_sense_are_refused_before_anything_is_loaded(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--port", "99999", "--text", "x").error == (
        "config: monitor.port: Input should be less than or equal to 65535."
    )
    for flags, said in (
        (["--threads", "0"], "argument --threads: 0 is no number of threads"),
        (["--text", "x", "--app"], "argument --app: not allowed with argument --text"),
    ):
        with pytest.raises(SystemExit):
            run(*flags)
        assert said in capsys.readouterr().err


def test_half_a_character_is_a_sentence(run: Run) -> None:
    # what Python makes of an argument that is not UTF-8
    assert run("--text", "ab\udcff").error == "the text is not UTF-8: what stands at character 3 is no character"


def test_without_an_input_the_app_is_meant(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("monitor_script", SCRIPTS / "monitor.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "stdin", None)
    assert not script.piped()
    with pytest.raises(CandorError, match="the standard input is closed; give a text with --text"):
        next(script.lines())


def test_a_program_pipes_texts_in_and_reads_lines_or_an_error(project: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "monitor.py"), "--threads", "1"]
    done = subprocess.run(command, cwd=project, input=b"reactor\nkettle\n\xff", capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"error: line 3 of the input is not UTF-8\n")
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["ok", "ok"]


def test_a_probe_for_another_model_is_refused(run: Run) -> None:
    done = run("--subject", "twin", "--text", "x")
    assert done.error == (
        "results/probes/stakes/mean.safetensors: is a probe of small with subject small, and twin has subject "
        "twin; choose a probe that was trained on twin."
    )


def test_results_that_are_missing_are_named(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    choices = Choices(*read_config(), results=tmp_path)
    with pytest.raises(MonitorError, match=r"selections/stakes.json: no such file; run `make monitor`"):
        choices.fitting("stakes")
    with pytest.raises(MonitorError, match=r"models/small.json: no such file; run `make monitor`"):
        choices.engine("small")


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"probes": {"a": {"task": "absent"}}}, r"monitor.probes.a.task names 'absent', which is not one of: stakes"),
        ({"probes": {"a": {"task": "stakes", "probe": "max"}}}, r"a.probe names 'max', which is not one of: mean"),
        ({"subjects": ["absent"]}, r"monitor.subjects names 'absent', which is no model and no adapter"),
    ],
)
def test_a_wrong_config_is_a_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any], sentence: str
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(ConfigError, match=sentence):
        Choices(read_config()[0], app_of(section))
    with pytest.raises(ConfigError, match=r"config: monitor.port: .*\nconfig: monitor.engines: Extra inputs"):
        app_of({"port": 0, "engines": "mlx"})


def test_a_probe_of_answers_reads_what_the_model_answers(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    study, app = read_config()
    given = {"sampling": "answer", "store": "positions", "positions": "even", "k": 3, "of": "response"}
    capture = study.captures["small"].model_copy(update=given)
    from candor.config.samplings import Sampling

    sampling = Sampling(temperature=0.5, max_new_tokens=9)
    study = study.model_copy(update={"captures": {"small": capture}, "samplings": {"answer": sampling}})
    fitting = Choices(study, app).fitting("stakes")
    line = report(fitting, "Is the reactor safe?", True)
    assert line["answer"] and line["status"] in ("ok", "truncated") and line["scores"]
    scored = [token for token in line["tokens"] if token["scores"]]
    assert {token["role"] for token in scored} == {"assistant"} and len(scored) == line["n_tokens"] <= 9
    drawn = len(scored) - (line["status"] == "truncated")
    places = sorted({0, round((drawn - 1) / 2 + 1e-9), drawn - 1})
    expected = sum(scored[place]["scores"]["high-stakes"] for place in places) / len(places)
    assert line["scores"]["high-stakes"] == pytest.approx(expected, abs=1e-4)

    pasted = [{"role": "user", "content": "Is it safe?"}, {"role": "assistant", "content": "Evacuate the garden."}]
    heard = read_chat(fitting, pasted).transcript
    scored = [i for i, score in enumerate(heard.token) if score == score]
    assert "".join(heard.texts[i] for i in scored) == "Evacuate the garden." and heard.answer == "Evacuate the garden."
    with pytest.raises(MonitorError, match="this probe reads what the model answers: let the model answer"):
        read_chat(fitting, pasted[:1])


def test_what_is_pasted_becomes_a_chat() -> None:
    assert chat_of("Is it safe?\nuser: no") == [{"role": "user", "content": "Is it safe?\nuser: no"}]
    turns = chat_of("User: Is it\nsafe?\nassistant: Yes: it is.\n")
    assert turns == [
        {"role": "user", "content": "Is it\nsafe?"},
        {"role": "assistant", "content": "Yes: it is."},
    ]
    assert chat_of('[{"role": "system", "content": "Be brief."}]') == [{"role": "system", "content": "Be brief."}]
    assert chat_of("[1] see above") == [{"role": "user", "content": "[1] see above"}]
    with pytest.raises(Exception, match="message 1 of the pasted chat needs a `role`"):
        chat_of('[{"role": "robot", "content": "x"}]')
