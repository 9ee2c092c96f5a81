"""A judge as a monitor: its scores or verdicts in the score contract, and the script."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from candor import provenance, tables
from candor.baselines.judged import JudgedError, score_part
from candor.config.baselines import Judged
from candor.schemas.dataset import DATASET
from candor.schemas.score import SCORE
from candor.schemas.verdict import VERDICT
from tests.small_parts import CLASSES, row

SCRIPTS = Path(__file__).parents[2] / "scripts"
ROWS = [row("a", "1", "high", "test"), row("b", "1", "low", "test"), row("c", "2", None, "test")]
BY_SCORE = Judged(kind="judge", judge="stakes")
BY_VERDICT = Judged(kind="judge", judge="stakes", positive=["high", "very high"])


def label(id: str, verdict: str | None = None, score: float | None = None, **more: Any) -> dict[str, Any]:
    """A row of a label table."""
    status = "ok" if verdict is not None or score is not None else "unparseable"
    nothing = {"token_index": None, "confidence": None, "rationale": None, "raw": None}
    cost = {"attempts": 1, "tokens_in": 5, "tokens_out": 1, "usd": 0.0}
    known = {"example_id": id, "sample_index": 0, "judge": "stakes", "verdict": verdict, "score": score}
    return {**known, "status": status, **nothing, **cost, **more}


def scored(labels: list[dict[str, Any]], config: Judged, classes: list[str] = CLASSES) -> list[dict[str, Any]]:
    given = {Path("L.parquet"): pa.Table.from_pylist(labels, schema=VERDICT.arrow())}
    return list(score_part(given, ROWS, "own@test", classes, "judge", config).to_pylist())


def test_a_judge_s_score_stays_the_number_it_is() -> None:
    found = scored([label("b", "low", 2), label("a", "high", 9.5), label("c", "ambiguous", 5)], BY_VERDICT)
    assert [each["score"] for each in found] == [9.5, 2, 5]
    assert [each["label"] for each in found] == [True, False, None]
    for each in found:
        assert (each["monitor"], each["dataset"], each["split"]) == ("judge", "own", "test")
        assert [each[name] for name in ("probability", "flops_monitor", "flops_total", "fold", "layer")] == [None] * 5


def test_without_scores_verdicts_are_one_or_zero() -> None:
    found = scored([label("a", "very high"), label("b", "low"), label("c", "high")], BY_VERDICT)
    assert [each["score"] for each in found] == [1, 0, 1]


def test_a_text_without_a_verdict_has_no_score_and_keeps_its_status() -> None:
    found = scored(
        [label("a", "high", 9), label("b", status="refused"), label("c", "low", 1, status="truncated")], BY_SCORE
    )
    assert [each["score"] for each in found] == [9, None, 1]
    assert [each["status"] for each in found] == ["ok", "refused", "truncated"]


def test_a_verdict_without_a_score_is_invalid_where_others_have_one() -> None:
    found = scored([label("a", "high", 9), label("b", "low"), label("c", "low", 1)], BY_VERDICT)
    assert [each["status"] for each in found] == ["ok", "invalid", "ok"]
    assert found[1]["score"] is None


@pytest.mark.parametrize(
    ("labels", "config", "sentence"),
    [
        ([label("a", "high"), label("b", "low")], BY_VERDICT, r"L\.parquet: lacks 1 examples of own@test, first 'c'"),
        ([label("a", "high", judge="other")], BY_VERDICT, r"holds labels of 'other'; give those of 'stakes'"),
        ([label("a", "high"), label("a", "low", sample_index=1)], BY_VERDICT, "'a' is labelled more than once"),
        ([label("a", "high"), label("b", "low")], BY_SCORE, r"gives verdicts \(high, low\) and no score; name those"),
    ],
)
def test_labels_that_do_not_serve_are_a_sentence(labels: list[dict[str, Any]], config: Judged, sentence: str) -> None:
    with pytest.raises(JudgedError, match=sentence):
        scored(labels, config)


def test_a_task_of_three_classes_is_refused() -> None:
    with pytest.raises(JudgedError, match="judge: a judge tells two classes apart here, and the task has 3"):
        scored([label("a", "high")], BY_VERDICT, ["a", "b", "c"])


class TestScript:
    @pytest.fixture(autouse=True)
    def inputs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder with a dataset, its labels in two shards, and a selection."""
        monkeypatch.chdir(tmp_path)
        tables.write(Path("D.parquet"), [*ROWS, row("d", "4", "low")], DATASET, {})
        tables.write(Path("L0.parquet"), [label("a", "high", 9), label("b", "low", 2)], VERDICT, {})
        tables.write(Path("L1.parquet"), [label("c", "low", 1), label("d", "low", 1)], VERDICT, {})
        Path("S.json").write_text("{}")

    def run(self, monkeypatch: pytest.MonkeyPatch, control: str, *more: str) -> int | str | None:
        task = {"classes": CLASSES, "train": "own@train", "control": control}
        spec = json.dumps({"tasks": task, "baselines": BY_SCORE.model_dump()})
        flags = ["--spec", spec, "--monitor", "judge", "--part", "own@test", "--data", "D.parquet"]
        flags += ["--labels", "L0.parquet", "L1.parquet", *more, "--output", "scores.parquet"]
        monkeypatch.setattr(sys, "argv", ["score_judge.py", *flags])
        try:
            runpy.run_path(str(SCRIPTS / "score_judge.py"), run_name="__main__")
        except SystemExit as ended:
            return ended.code
        return 0

    def test_a_control_part_needs_no_selection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.run(monkeypatch, "own@test") == 0
        assert tables.read(Path("scores.parquet"), SCORE)["score"].to_pylist() == [9, 2, 1]

    def test_an_evaluation_part_is_scored_after_the_selection(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert self.run(monkeypatch, "everyday@test") == 2
        assert "own@test is not the task's control part, everyday@test; give --selection" in capfd.readouterr().err
        assert self.run(monkeypatch, "everyday@test", "--selection", "S.json") == 0
        digest = provenance.sha256(Path("S.json"))
        assert f"selection S.json: sha256 {digest}" in capfd.readouterr().err
        assert provenance.read(Path("scores.parquet"))["inputs"]["S.json"] == digest
