"""The judge that counts the votes of others."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from candor import provenance, tables
from candor.config.judges import Majority
from candor.errors import CandorError
from candor.judges import majority
from candor.judges.majority import Vote
from candor.judges.texts import Judged, Verdict
from candor.schemas.dataset import DATASET
from candor.schemas.verdict import VERDICT

SCRIPTS = Path(__file__).parents[2] / "scripts"
THREE = Majority(kind="majority", title="most", judges=["a", "b", "c"], least=2)


def text(id: str = "e", sample: int = 0) -> Judged:
    return Judged(id, sample, "g", None, [], None, "x", "ok", {})


def one(*votes: str | None, least: int = 2, statuses: str | None = None) -> Verdict:
    """The verdict on a text by judges a, b, c …; a vote of None has the status given, or `invalid`."""
    ids = "abcde"[: len(votes)]
    config = Majority(kind="majority", title="most", judges=list(ids), least=least)
    cast = {
        id: {("e", 0, None): Vote("ok" if vote else statuses or "invalid", vote)}
        for id, vote in zip(ids, votes, strict=True)
    }
    [verdict] = majority.judge([text()], config, cast)
    return verdict


def test_most_votes_give_the_verdict_and_their_share_the_score() -> None:
    found = one("yes", "no", "yes")
    assert found[:4] == ("ok", "yes", pytest.approx(2 / 3), "no 1 (b), yes 2 (a, c)")
    assert json.loads(found.raw or "") == {"a": "yes", "b": "no", "c": "yes"}
    assert one("no", "no", "no").score == 1


def test_who_has_no_verdict_has_no_vote() -> None:
    found = one("yes", None, "yes")
    assert (found.verdict, found.score, found.rationale) == ("yes", 1.0, "yes 2 (a, c)")


def test_too_few_votes_are_invalid_and_the_rationale_says_them() -> None:
    assert one("yes", None, None)[:4] == ("invalid", None, None, "fewer than 2 votes for any: yes 1 (a)")
    assert one("yes", "no", "yes", least=3).status == "invalid"
    assert one("x", "y", "z").rationale == "fewer than 2 votes for any: x 1 (a), y 1 (b), z 1 (c)"


def test_a_tie_is_invalid() -> None:
    assert one("yes", "no", "no", "yes")[:4] == ("invalid", None, None, "a tie: no 2 (b, c), yes 2 (a, d)")
    assert one("yes", "no", least=1).status == "invalid"
    assert one("yes", "no", "no", "yes", "no").verdict == "no"


def test_no_votes_at_all() -> None:
    assert one(None, None, None)[:2] == ("invalid", None)
    assert one(None, None, None, statuses="no_code")[:2] == ("no_code", None)


def test_a_truncated_text_stays_one() -> None:
    votes = {id: {("e", 0, None): Vote("truncated", "yes")} for id in "abc"}
    assert majority.judge([text()], THREE, votes)[0][:2] == ("truncated", "yes")


def test_votes_are_joined_by_example_and_sample() -> None:
    votes = {
        id: {("e", 1, None): Vote("ok", "no"), ("f", 0, None): Vote("ok", "no"), ("e", 0, None): Vote("ok", "yes")}
        for id in "abc"
    }
    found = majority.judge([text("e", 0), text("e", 1), text("f", 0)], THREE, votes)
    assert [verdict.verdict for verdict in found] == ["yes", "no", "no"]


def test_a_text_without_a_judge_s_row_is_an_error() -> None:
    votes = {"a": {("e", 0, None): Vote("ok", "yes")}, "b": {("f", 0, None): Vote("ok", "yes")}}
    with pytest.raises(CandorError, match="judge 'b' has no row for example 'e', sample 0"):
        majority.judge([text()], THREE, votes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"judges": ["a"]}, "at least 2 items"),
        ({"judges": ["a", "b", "a"]}, "names 'a' twice among its `judges`"),
        ({"least": 4}, "needs 4 votes (`least`), but has 3 judges"),
        ({"least": 0}, "greater than 0"),
    ],
)
def test_configs_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Majority.model_validate({**THREE.model_dump(), **changes})
    assert message in str(refused.value)


class TestScript:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        rest = {"group_id": "g", "split": "test", "label": None, "rating": None, "attributes": "{}", "truncated": False}
        turns = [{"role": "user", "content": "Well?"}]  # what the voters read is their own affair
        tables.write(Path("D.parquet"), [{**rest, "example_id": id, "messages": turns} for id in "efg"], DATASET, {})

    def votes(self, judge: str, said: dict[str, str | None], path: str) -> Path:
        rows = [
            {
                "example_id": id,
                "sample_index": 0,
                "token_index": None,
                "judge": judge,
                **Verdict("ok" if verdict else "invalid", verdict)._asdict(),
            }
            for id, verdict in said.items()
        ]
        tables.write(Path(path), rows, VERDICT, {})
        return Path(path)

    def label(self, monkeypatch: pytest.MonkeyPatch, votes: list[Path]) -> list[dict[str, Any]]:
        spec = json.dumps({"judges": THREE.model_dump()})
        flags = ("--spec", spec, "--judge", "most", "--data", "D.parquet", "--output", "L.parquet")
        monkeypatch.setattr(sys, "argv", ["label.py", *flags, "--votes", *map(str, votes)])
        runpy.run_path(str(SCRIPTS / "label.py"), run_name="__main__")
        rows: list[dict[str, Any]] = tables.read(Path("L.parquet"), VERDICT).to_pylist()
        return rows

    def test_tables_of_votes_whatever_their_shards_and_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        votes = [
            self.votes("a", {"e": "yes", "f": "no", "g": None}, "a.parquet"),
            self.votes("b", {"g": "yes", "e": "yes"}, "b0.parquet"),
            self.votes("b", {"f": "no"}, "b1.parquet"),
            self.votes("c", {"e": "no", "f": "no", "g": "yes"}, "c.parquet"),
        ]
        rows = self.label(monkeypatch, votes)
        assert [(row["example_id"], row["verdict"], row["judge"]) for row in rows] == [
            ("e", "yes", "most"),
            ("f", "no", "most"),
            ("g", "yes", "most"),
        ]
        assert set(provenance.read(Path("L.parquet"))["inputs"]) == {"D.parquet", *map(str, votes)}

    def test_a_table_given_twice_or_missing_is_a_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = self.votes("a", {"e": "yes", "f": "no", "g": None}, "a.parquet")
        for votes, message in (
            ([whole, whole], "has a row of 'a' in another table too"),
            ([whole], "judge 'b' has no row"),
        ):
            with pytest.raises(SystemExit) as ended:
                self.label(monkeypatch, votes)
            assert message in str(ended.value)
