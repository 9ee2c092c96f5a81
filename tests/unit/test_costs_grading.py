"""Costs of verbalisers and graders: tests/unit/test_costs.py may take these in; they use its helpers."""

from pathlib import Path
from typing import Any

import pytest

from candor import tables
from candor.costs import costs, places_of
from candor.schemas.verbalisation import VERBALISATION
from tests.unit.test_costs import MAX_TOKENS, client, dataset, job, only

TOLD = {"kind": "chat", "client": "service", "template": "told.txt", "max_tokens": 50}
STORED = {"store": "positions", "positions": [-1, -4], "subject": "m", "layers": [1]}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDOR_CACHE", str(tmp_path / "cache"))
    Path("told.txt").write_text("[system]\nYou describe.\n[user]\n{prompt}\nWhat is it?\n", encoding="utf-8")
    Path("question.txt").write_text("[system]\nYou judge.\n[user]\n{answer}\n{reply}\n", encoding="utf-8")


def test_a_verbaliser_asks_once_for_each_example() -> None:
    data = dataset(Path("D.parquet"), {"a": None, "b": None})
    entry = client()
    spec = {"verbalisers": TOLD, "clients": job(data, entry).spec["clients"]}
    cost = only(costs([job(data, entry, who="told", spec=spec, verbaliser=TOLD, capture=STORED)]))
    assert (cost.who, cost.requests, cost.tokens_out, cost.guessed) == ("told", 2, 100, 0)
    absent = {**spec, "verbalisers": {**TOLD, "splits": ["train"]}}
    assert costs([job(data, entry, who="told", spec=absent, verbaliser=TOLD, capture=STORED)])[0].requests == 0


@pytest.mark.parametrize(("verbaliser", "asked"), [(TOLD, 2), ({"kind": "nla", "max_new_tokens": 9, "rows": []}, 4)])
def test_a_grader_of_words_that_nobody_has_written_is_guessed_place_by_place(
    verbaliser: dict[str, Any], asked: int
) -> None:
    data = dataset(Path("D.parquet"), {"a": None, "b": None})
    cost = only(costs([job(data, verbalisations=[Path("W.parquet")], verbaliser=verbaliser, capture=STORED)]))
    assert (cost.requests, cost.guessed, cost.tokens_out) == (asked, asked, asked * MAX_TOKENS)


def test_a_grader_of_words_that_are_there_asks_about_them_alone() -> None:
    data = dataset(Path("D.parquet"), {"a": None, "b": None})
    rest = {"sample_index": 0, "mse": None, "cosine": None, "fve": None}
    rows = [
        {**rest, "example_id": id, "token_index": place, "text": f"{id} {place}", "status": status}
        for id in "ab"
        for place, status in ((3, "ok"), (6, "unparseable"))
    ]
    tables.write(Path("W.parquet"), rows, VERBALISATION, {})
    cost = only(costs([job(data, verbalisations=[Path("W.parquet")], verbaliser=TOLD, capture=STORED)]))
    assert (cost.requests, cost.guessed) == (2, 0)


def test_places_that_a_capture_stores() -> None:
    for positions, k, places in ((["x"] * 3, None, 3), ("even", 5, 5), ("ends", None, 2), ("all", None, 200)):
        assert places_of({"positions": positions, "k": k}, {"rows": []}) == places
    assert places_of({"positions": "even", "k": 5}, {"rows": [0, -1]}) == 2
