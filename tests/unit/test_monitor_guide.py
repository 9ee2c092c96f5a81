"""docs/monitor.md: a stranger's script scores a text as the monitor does, and the table of keys is whole."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

from candor.config.monitor_app import MonitorApp
from candor.monitor.choosing import Choices, app_of, read_config
from candor.monitor.reports import report
from candor.probes.scoring import class_scores
from tests.monitor_project import LAYER, write_project

GUIDE = (Path(__file__).parents[2] / "docs" / "monitor.md").read_text(encoding="utf-8")
TEXT = "My chest hurts and my left arm is numb."


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with trained probes."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize(("task", "probe"), [("stakes", "mean"), ("states", "logistic")])
def test_a_stranger_s_fifteen_lines_give_the_monitor_s_score(
    project: Path, task: str, probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    [script] = re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)
    lines = [line for line in script.splitlines() if line.strip()]
    assert len(lines) <= 15 and "candor" not in script and TEXT in script
    script = script.replace("path/of/the/model", str(project / "model"))
    script = script.replace("high-stakes/logistic", f"{task}/{probe}")
    said = io.StringIO()
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(said):
        exec(compile(script, "monitor.md", "exec"), names)
    found = names["score"].tolist()  # type: ignore[attr-defined]
    fitting = Choices(*read_config()).fitting(task)
    assert fitting.watcher.layer == LAYER == names["layer"]
    expected = list(report(fitting, TEXT, False)["scores"].values())
    # the monitor gives the log-odds of several classes' logits
    logits = class_scores(np.array([found]), fitting.watcher.probe.family)[0][0]
    assert logits.tolist() == pytest.approx(expected, abs=1e-3)
    assert str(fitting.watcher.header.classes) in said.getvalue()


def test_the_guide_s_config_is_one() -> None:
    import yaml

    [section] = re.findall(r"```yaml\n(.+?)```", GUIDE, re.DOTALL)
    app = app_of(yaml.safe_load(section)["monitor"])
    assert isinstance(app, MonitorApp) and app.default in app.probes


def test_the_guide_names_every_key_of_a_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    keys = set(report(Choices(*read_config()).fitting("stakes"), TEXT, True))
    table = GUIDE.split("| key | holds |")[1].split("\n\n")[0]
    assert keys <= set(re.findall(r"`(\w+)`", table))
