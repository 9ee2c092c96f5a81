"""Graders: judges of verbalisations, by place and by example, as labels of a dataset, and held against the category."""

import json
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from candor import provenance, tables
from candor.chat.messages import ChatRequest, Completion, nothing
from candor.config.datasets import Dataset
from candor.config.judges import Judge, unfit_grader
from candor.config.origins import grader_of, named, verbalised_in
from candor.config.panels import Panel
from candor.data.building import DatasetError, grade_rows
from candor.data.parts import Texts, texts_of
from candor.judges.clients import remote
from candor.judges.grades import Grade, of_example
from candor.schemas.agreement import AGREEMENT
from candor.schemas.base import TableSchema
from candor.schemas.dataset import DATASET
from candor.schemas.verbalisation import VERBALISATION
from candor.schemas.verdict import VERDICT

SCRIPTS = Path(__file__).parents[2] / "scripts"
CLASSES = ("normal", "eval_aware", "deceptive")
WORDS = {
    "kind": "keywords",
    "title": "keywords",
    "words": {"eval_aware": ["tested", "watched"], "deceptive": ["hides", "misleads"]},
    "otherwise": "normal",
}
ORIGIN = "labels/words/verbalisations/told/states/inner"
Row = dict[str, Any]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a script in this process, in tmp_path; give its exit status and all that it said."""
    monkeypatch.chdir(tmp_path)

    def run(script: str, spec: Mapping[str, Any], *arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [script, "--spec", json.dumps(spec), *map(str, arguments)])
        try:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
            return status, f"{capfd.readouterr().err}{ended.code}"
        return 0, capfd.readouterr().err

    return run


def dataset(tasks: int = 4, path: str = "inner.parquet") -> Path:
    """Tasks in three framings each, named 0.normal and so on; the last task is of the split test."""
    rows = [
        {
            "example_id": f"{task}.{label}",
            "group_id": str(task),
            "split": "test" if task == tasks - 1 else "train",
            "messages": [{"role": "user", "content": f"{label} framing of task {task}"}],
            "label": label,
            "rating": None,
            "attributes": json.dumps({"family": "letters"}),
            "truncated": False,
        }
        for task in range(tasks)
        for label in CLASSES
    ]
    tables.write(Path(path), rows, DATASET, {})
    return Path(path)


def words_of(said: Mapping[str, Sequence[str | None]], path: str, statuses: Mapping[str, str] = {}) -> Path:
    """Verbalisations: for each example what is said at its places 3, 6, …; None for one that cannot be parsed."""
    rows = [
        {
            "example_id": id,
            "sample_index": 0,
            "token_index": 3 * (number + 1),
            "text": "The model is tested and hides" if text is None else text,
            "status": "unparseable" if text is None else statuses.get(text, "ok"),
            "mse": None,
            "cosine": None,
            "fve": None,
        }
        for id, places in said.items()
        for number, text in enumerate(places)
    ]
    tables.write(Path(path), rows, VERBALISATION, {})
    return Path(path)


def verdict(place: int | None, said: str | None, id: str = "e", **columns: Any) -> Row:
    """A row of labels of verbalisations."""
    rest: Row = {"score": None, "confidence": None, "rationale": None, "raw": None}
    cost = {"attempts": 1, "tokens_in": 0, "tokens_out": 0, "usd": 0.0}
    own = {"example_id": id, "sample_index": 0, "token_index": place, "judge": "words", "verdict": said}
    return {**own, "status": "ok" if said else "unparseable", **rest, **cost, **columns}


def labels_of(said: Mapping[str, Sequence[str | None]], path: str, **columns: Any) -> Path:
    """Labels of verbalisations: for each example the verdicts on its places 0, 1, …"""
    rows = [verdict(place, each, id, **columns) for id, places in said.items() for place, each in enumerate(places)]
    return written(path, rows, VERDICT)


def written(path: str, rows: Sequence[Row], schema: TableSchema) -> Path:
    tables.write(Path(path), rows, schema, {})
    return Path(path)


def read(path: str, schema: TableSchema = VERDICT) -> list[Row]:
    rows: list[Row] = tables.read(Path(path), schema).to_pylist()
    return rows


TRAIN = [f"{task}.{label}" for task in range(3) for label in CLASSES]


class TestGrading:
    def test_a_row_for_each_place_with_its_place(self, run: Run) -> None:
        data = dataset()
        said = {id: ["The model is tested.", "It misleads and hides."] for id in [*TRAIN, *(f"3.{c}" for c in CLASSES)]}
        given = words_of(said, "W.parquet")
        flags = ("--judge", "words", "--data", data, "--output", "L.parquet", "--verbalisations", given)
        status, printed = run("grade.py", {"judges": WORDS}, *flags)
        assert status == 0, printed
        assert "'n': 24, 'verdicts': {'deceptive': 12, 'eval_aware': 12}" in printed
        rows = read("L.parquet")
        assert [(row["example_id"], row["token_index"], row["verdict"], row["score"]) for row in rows[:2]] == [
            ("0.normal", 3, "eval_aware", 1.0),
            ("0.normal", 6, "deceptive", 2.0),
        ]
        made = provenance.read(Path("L.parquet"))
        assert (made["script"], set(made["inputs"])) == ("grade.py", {str(data), str(given)})

    def test_rows_without_words_keep_their_status_and_a_cut_one_is_graded(self, run: Run) -> None:
        data, first = dataset(1), "0.normal"
        said = {first: [None, "It hides", "It misleads", ""], "0.eval_aware": ["x"], "0.deceptive": ["x"]}
        given = words_of(said, "W.parquet", {"It misleads": "truncated", "": "empty"})
        flags = ("--judge", "words", "--data", data, "--output", "L.parquet", "--verbalisations", given)
        assert run("grade.py", {"judges": WORDS}, *flags)[0] == 0
        found = [(row["verdict"], row["status"]) for row in read("L.parquet") if row["example_id"] == first]
        assert found == [(None, "unparseable"), ("deceptive", "ok"), ("deceptive", "truncated"), (None, "empty")]

    def test_a_whole_text_has_no_place(self, run: Run) -> None:
        data, empty = dataset(1), {"mse": None, "cosine": None, "fve": None}
        rows = [
            {"example_id": f"0.{c}", "sample_index": 0, "token_index": None, "text": "x", "status": "ok", **empty}
            for c in CLASSES
        ]
        given = written("W.parquet", rows, VERBALISATION)
        flags = ("--judge", "words", "--data", data, "--output", "L.parquet", "--verbalisations", given)
        assert run("grade.py", {"judges": WORDS}, *flags)[0] == 0
        assert {row["token_index"] for row in read("L.parquet")} == {None}

    def test_shards_are_the_whole_whatever_the_order(self, run: Run) -> None:
        data = dataset()
        ids = [row["example_id"] for row in read(str(data), DATASET)]
        said = {id: [f"It hides {id}", "tested"] for id in ids}
        halves = [
            words_of({id: said[id] for id in reversed(half)}, f"W{number}.parquet")
            for number, half in enumerate((ids[:6], ids[6:]))
        ]
        flags = ("--judge", "words", "--data", data, "--output", "L.parquet")
        run("grade.py", {"judges": WORDS}, *flags, "--verbalisations", *halves)
        whole, parts = read("L.parquet"), []
        for number, own in enumerate(halves):
            shard = ("--shard", f"00{number}-of-002")
            for given in ([own], halves):
                status, printed = run("grade.py", {"judges": WORDS}, *flags, *shard, "--verbalisations", *given)
                assert status == 0, printed
            parts += read("L.parquet")
        assert parts == whole and len(whole) == 24

    def test_a_split_that_was_not_put_into_words_is_none_of_its_business(self, run: Run) -> None:
        given = words_of({f"3.{c}": ["tested"] for c in CLASSES}, "W.parquet")
        flags = ("--judge", "words", "--data", dataset(), "--output", "L.parquet", "--verbalisations", given)
        assert run("grade.py", {"judges": WORDS}, *flags)[0] == 0
        assert len(read("L.parquet")) == 3

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            ([*TRAIN[1:]], "1 examples do not stand in the verbalisations, first '0.normal'"),
            ([*TRAIN, "9.normal"], "1 examples do not stand in the dataset, first '9.normal'"),
        ],
    )
    def test_tables_that_do_not_fit_are_a_sentence(self, run: Run, ids: list[str], message: str) -> None:
        given = words_of({id: ["tested"] for id in ids}, "W.parquet")
        flags = ("--judge", "words", "--data", dataset(), "--output", "L.parquet", "--verbalisations", given)
        status, printed = run("grade.py", {"judges": WORDS}, *flags)
        assert status == 1 and message in printed and "Traceback" not in printed
        assert not Path("L.parquet").exists()

    def test_a_majority_counts_votes_place_by_place(self, run: Run) -> None:
        data = dataset(1)
        said = {f"0.{c}": ["tested", "tested"] for c in CLASSES}
        given = words_of(said, "W.parquet")
        votes = []
        for judge, of_first in (("a", "normal"), ("b", "deceptive"), ("c", "deceptive")):
            rows = [
                verdict(3 * (place + 1), of_first if place == 0 else "normal", id, judge=judge)
                for id in said
                for place in (0, 1)
            ]
            votes.append(written(f"{judge}.parquet", rows, VERDICT))
        most = {"kind": "majority", "title": "most", "judges": ["a", "b", "c"], "least": 2}
        flags = ("--judge", "most", "--data", data, "--output", "L.parquet", "--verbalisations", given)
        status, printed = run("grade.py", {"judges": most}, *flags, "--votes", *votes)
        assert status == 0, printed
        assert [(row["token_index"], row["verdict"]) for row in read("L.parquet")[:2]] == [
            (3, "deceptive"),
            (6, "normal"),
        ]


class Always:
    """A client that says one word of all texts, and keeps what it was asked."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.asked: list[ChatRequest] = []

    def complete(self, requests: Sequence[ChatRequest], finished: Callable[[int], None] = nothing) -> list[Completion]:
        self.asked += requests
        return [Completion("ok", self.word, 1, 30, 1, 0.01, None, False) for _ in requests]


class TestLanguageModel:
    def spec(self) -> Row:
        judge = {
            "kind": "chat",
            "title": "grader",
            "client": "c",
            "template": "grader.txt",
            "form": "word",
            "reply": {"verdict": {"choices": list(CLASSES)}},
        }
        return {"judges": judge, "clients": {"provider": "openai", "model": "m", "service": "s"}}

    def test_it_sees_the_words_alone_and_is_not_asked_where_there_are_none(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = Always("eval_aware")
        monkeypatch.setattr(remote, "connect", lambda *_, **__: client)
        shipped = SCRIPTS.parent / "resources/judges/inner_state_word.txt"
        Path("grader.txt").write_bytes(shipped.read_bytes())
        said: dict[str, list[str | None]] = {f"0.{c}": ["The model hides it.", None] for c in CLASSES}
        given = words_of(said, "W.parquet")
        pace = {"base_url": "http://127.0.0.1:9", "price": {"input": 1, "output": 2}, "key_variable": None}
        flags = ("--judge", "grader", "--data", dataset(1), "--output", "L.parquet", "--pace", json.dumps(pace))
        status, printed = run("grade.py", self.spec(), *flags, "--verbalisations", given)
        assert status == 0, printed
        assert len(client.asked) == 3
        asked = [message.content for request in client.asked for message in request.messages]
        assert any("The model hides it." in each for each in asked)
        assert not any("framing of task" in each for each in asked)  # the prompt
        rows = read("L.parquet")
        assert [(row["verdict"], row["status"], row["attempts"]) for row in rows[:2]] == [
            ("eval_aware", "ok", 1),
            (None, "unparseable", 0),
        ]


def grade(*said: str | None, verdicts: list[str] | None = None, **columns: Any) -> Grade:
    return of_example([verdict(place, each, **columns) for place, each in enumerate(said)], verdicts)


class TestOfExample:
    def test_most_of_the_graded_places(self) -> None:
        found = grade("normal", "deceptive", None, "deceptive", confidence=0.5, score=3.0)
        assert found == Grade("deceptive", "ok", 4, 3, pytest.approx(2 / 3), 3.0, 0.5)

    def test_a_tie_is_no_grade_in_any_order(self) -> None:
        for said in (("normal", "deceptive"), ("deceptive", "normal"), ("normal", None, "deceptive")):
            found = grade(*said)
            assert (found.label, found.status, found.tied, found.graded) == (None, "invalid", True, 2)
        assert grade("normal", "deceptive", "normal").label == "normal"

    def test_places_without_a_verdict_have_no_vote(self) -> None:
        assert grade(None, None).status == "unparseable" and not grade(None, None).tied
        assert grade(None, "normal", None).agreeing == 1
        assert grade().places == 0

    def test_a_verdict_that_does_not_count_is_none(self) -> None:
        found = grade("none", "none", "normal", verdicts=["normal", "deceptive"])
        assert (found.label, found.places, found.graded) == ("normal", 3, 1)

    def test_means_are_of_the_places_that_agree(self) -> None:
        rows = [verdict(0, "normal", confidence=0.2), verdict(1, "normal"), verdict(2, "deceptive", confidence=1.0)]
        assert of_example(rows).confidence == 0.2


GRADED = {"origin": ORIGIN, "transform": "graded"}


class TestDataset:
    def test_the_grade_takes_the_category_s_place(self, run: Run) -> None:
        data = dataset()
        shards = [
            labels_of({id: ["eval_aware", "eval_aware", "normal"] for id in TRAIN[4:]}, "1.parquet", confidence=0.5),
            labels_of({id: ["normal", "deceptive"] for id in TRAIN[:2]}, "0.parquet"),
            labels_of({id: [None, "normal"] for id in TRAIN[2:4]}, "2.parquet"),
        ]
        flags = ("--origin", *shards, "--examples", data, "--output", "G.parquet")
        status, printed = run("build_dataset.py", {"datasets": GRADED}, *flags)
        assert status == 0, printed
        rows, own = read("G.parquet", DATASET), read(str(data), DATASET)
        for key in ("example_id", "group_id", "split", "messages"):
            assert [row[key] for row in rows] == [row[key] for row in own]
        labels = [row["label"] for row in rows]
        assert labels == [None, None, "normal", "normal", *["eval_aware"] * 5, None, None, None]
        attributes = json.loads(rows[4]["attributes"])
        assert attributes == {
            "family": "letters",
            "judge": "words",
            "places": 3,
            "places_graded": 3,
            "places_agreeing": pytest.approx(2 / 3),
            "confidence": 0.5,
            "given_label": "eval_aware",
        }
        [step] = provenance.read(Path("G.parquet"))["steps"]
        counted = {"tied": 2, "ungraded": 0, "not_verbalised": 3}
        assert step == {"transform": "graded", "n": 12, "labels": {"eval_aware": 5, "normal": 2}, **counted}

    def test_it_has_the_activations_of_the_dataset_that_was_graded(self, run: Run) -> None:
        data = dataset()
        given = labels_of({id: ["normal"] for id in TRAIN}, "0.parquet")
        flags = ("--origin", given, "--examples", data, "--output", "G.parquet")
        assert run("build_dataset.py", {"datasets": GRADED}, *flags)[0] == 0
        whole = Texts("inner", provenance.sha256(data))
        assert texts_of(Path("G.parquet"), "graded") == texts_of(data, "inner") == whole

    def test_unless_its_examples_may_differ(self, run: Run) -> None:
        assert Dataset.model_validate(GRADED).relabels == "inner"
        for change in ({"limit": 1}, {"split": "train"}, {"also": ["x"]}, {"then": [{"transform": "balanced"}]}):
            assert Dataset.model_validate({**GRADED, **change}).relabels is None
        assert Dataset.model_validate({"origin": "labels/a/b", "transform": "labelled"}).relabels is None
        data, given = dataset(), labels_of({id: ["normal"] for id in TRAIN}, "0.parquet")
        subset = {"transform": "subset", "options": {"labels": ["normal"]}}
        flags = ("--origin", given, "--examples", data, "--output", "S.parquet")
        assert run("build_dataset.py", {"datasets": {**GRADED, "then": [subset]}}, *flags)[0] == 0
        assert texts_of(Path("S.parquet"), "some").dataset == "some"
        assert len(read("S.parquet", DATASET)) == 9

    def test_texts_that_repeat_are_kept_since_activations_are_by_example(self, run: Run) -> None:
        data = dataset(1)
        rows = [{**row, "messages": [{"role": "user", "content": "same"}]} for row in read(str(data), DATASET)]
        written("inner.parquet", rows, DATASET)
        given = labels_of({f"0.{c}": ["normal"] for c in CLASSES}, "0.parquet")
        flags = ("--origin", given, "--examples", data, "--output", "G.parquet")
        assert run("build_dataset.py", {"datasets": GRADED}, *flags)[0] == 0
        assert len(read("G.parquet", DATASET)) == 3

    def test_no_grade_at_all_is_a_sentence(self, run: Run) -> None:
        given = labels_of({id: ["normal", "deceptive"] for id in TRAIN}, "0.parquet")
        flags = ("--origin", given, "--examples", dataset(), "--output", "G.parquet")
        status, printed = run("build_dataset.py", {"datasets": GRADED}, *flags)
        assert status == 1 and "none of 12 examples has a grade (tied 9, ungraded 0, not verbalised 3)" in printed

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([verdict(0, "normal", "x")], "'x' stands in the labels, but not in the dataset"),
            ([verdict(0, "normal", id) for id in TRAIN[1:]], "'0.normal' stands in the dataset, but not in the labels"),
            (
                [verdict(0, "normal", id) for id in [*TRAIN, TRAIN[0]]],
                "a place of '0.normal' stands in the labels twice",
            ),
        ],
    )
    def test_labels_that_do_not_fit_are_a_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Row], message: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(DatasetError, match=message):
            grade_rows(pa.Table.from_pylist(rows), tables.read(dataset(), DATASET))


def of(rows: Sequence[Row], measure: str, **names: str | None) -> Row:
    wanted = {"judge": "words", "other": None, "verdict": None, "gold": None, **names}
    [found] = [row for row in rows if row["measure"] == measure and all(row[k] == v for k, v in wanted.items())]
    return found


class TestPanel:
    ENTRY: ClassVar[Row] = {
        "title": "states",
        "texts": "verbalisations/told/states/inner",
        "judges": ["words"],
        "gold": True,
    }

    def measured(self, run: Run, verdicts: Sequence[Path], **changes: Any) -> tuple[list[Row], str]:
        spec = {"panels": {**self.ENTRY, "bootstrap": 200, **changes}}
        flags = ("--panel", "p", "--data", "inner.parquet", "--verdicts", *verdicts, "--output", "A.parquet")
        status, printed = run("compare_judges.py", spec, *flags)
        assert status == 0, printed
        return read("A.parquet", AGREEMENT), printed

    def said(self, deceptive: Sequence[str]) -> dict[str, list[str | None]]:
        """The verdicts of a grader that knows normal and eval_aware, and says this of the places of deceptive ones."""
        by_class = {"normal": ["normal"] * 5, "eval_aware": ["eval_aware"] * 5, "deceptive": list(deceptive)}
        return {id: list(by_class[id.split(".")[1]]) for id in TRAIN}

    def test_a_grader_that_takes_one_class_for_another_is_seen_at_once(self, run: Run) -> None:
        dataset()
        given = labels_of(self.said(["eval_aware"] * 4 + ["deceptive"]), "0.parquet")
        rows, printed = self.measured(run, [given])
        assert "words says eval_aware of 12 of 15 texts (80 %) whose gold label is deceptive." in printed
        assert printed.count("says") == 1
        wrong, own = (of(rows, "rate", verdict=name, gold="deceptive") for name in ("eval_aware", "deceptive"))
        assert (wrong["value"], wrong["n"], wrong["n_groups"]) == (pytest.approx(0.8), 15, 3)
        assert own["value"] == of(rows, "sensitivity", gold="deceptive")["value"] == pytest.approx(0.2)
        assert of(rows, "confusion", verdict="eval_aware", gold="deceptive")["value"] == 12
        assert of(rows, "kappa_gold")["value"] == pytest.approx((33 / 45 - 1 / 3) / (1 - 1 / 3))

    def test_by_example_the_majority_of_its_places_counts(self, run: Run) -> None:
        dataset()
        said = self.said(["deceptive", "deceptive", "deceptive", "normal", "normal"])
        said["0.deceptive"] = ["deceptive", "normal"]  # a tie
        said["1.deceptive"] = [None, None]
        rows, printed = self.measured(run, [labels_of(said, "0.parquet")], by="example")
        accuracy = of(rows, "accuracy")
        assert (accuracy["value"], accuracy["n"], accuracy["n_skipped"], accuracy["n_groups"]) == (1, 7, 2, 3)
        assert json.loads(accuracy["statuses"]) == {"words": {"invalid": 1, "ok": 7, "unparseable": 1}}
        assert "says" not in printed

    def test_places_of_one_example_are_not_independent(self, run: Run) -> None:
        dataset(21)
        draws = {f"{task}.{label}": ["normal" if task % 2 else label] for task in range(20) for label in CLASSES}
        alone, _ = self.measured(run, [labels_of(draws, "1.parquet")])
        fivefold = {id: list(said) * 5 for id, said in draws.items()}
        repeated, _ = self.measured(run, [labels_of(fivefold, "5.parquet")])
        for row in (of(alone, "accuracy"), of(repeated, "accuracy")):
            assert row["n_groups"] == 20
        widths = [of(rows, "accuracy")["high"] - of(rows, "accuracy")["low"] for rows in (alone, repeated)]
        assert widths[1] == pytest.approx(widths[0])  # five times the places tell no more

    def test_a_grader_that_always_says_one_class_has_no_kappa_and_is_named_for_each_other_class(self, run: Run) -> None:
        dataset()
        rows, printed = self.measured(run, [labels_of({id: ["eval_aware"] * 5 for id in TRAIN}, "0.parquet")])
        assert of(rows, "kappa_gold")["remark"] == "undefined: one class only"
        assert [of(rows, "sensitivity", gold=name)["value"] for name in CLASSES] == [0, 1, 0]
        assert printed.count("(100 %)") == 2

    def test_two_graders_in_shards_of_any_order(self, run: Run) -> None:
        dataset()
        said = self.said(["deceptive"] * 5)
        given = [
            labels_of({id: said[id] for id in TRAIN[4:]}, "1.parquet"),
            labels_of({id: said[id] for id in TRAIN}, "o.parquet", judge="other"),
            labels_of({id: said[id] for id in reversed(TRAIN[:4])}, "0.parquet"),
        ]
        rows, _ = self.measured(run, given, judges=["words", "other"])
        assert of(rows, "cohen_kappa", other="other")["value"] == 1
        written_first = Path("A.parquet").read_bytes()
        self.measured(run, given, judges=["words", "other"])
        assert Path("A.parquet").read_bytes() == written_first

    @pytest.mark.parametrize(
        ("tables_of", "message"),
        [
            (["some"], "no table holds verdicts of words on 0.normal"),
            (["all", "other"], "one of words and other has no verdict on 0.deceptive, sample 0, token 0"),
            (["all", "all"], "holds a verdict of words on 0.normal, sample 0, token 0"),
            ([], "no table holds verdicts of words on anything"),
        ],
    )
    def test_tables_that_do_not_fit_are_a_sentence(self, run: Run, tables_of: list[str], message: str) -> None:
        dataset()
        said = self.said(["deceptive"] * 5)
        paths = {
            "all": labels_of(said, "all.parquet"),
            "some": labels_of({id: said[id] for id in TRAIN[1:]}, "some.parquet"),
            "other": labels_of({id: said[id] for id in TRAIN[3:]}, "other.parquet", judge="other"),
            "none": labels_of({}, "none.parquet"),
        }
        judges = ["words", "other"] if "other" in tables_of else ["words"]
        given = [paths[name] for name in tables_of] or [paths["none"]]
        spec = {"panels": {**self.ENTRY, "judges": judges}}
        flags = ("--panel", "p", "--data", "inner.parquet", "--verdicts", *given, "--output", "A.parquet")
        status, printed = run("compare_judges.py", spec, *flags)
        assert status == 1 and message in printed and "Traceback" not in printed


class TestConfig:
    def test_a_path_names_what_it_is_about(self) -> None:
        assert named("sources/s") == [("sources", "s")]
        assert named("generations/a/b/c") == [("samplings", "a"), ("responding", "b"), ("datasets", "c")]
        assert named("labels/j/d") == [("judges", "j"), ("datasets", "d")]
        grades = [("judges", "words"), ("verbalisers", "told"), ("captures", "states"), ("datasets", "inner")]
        assert named(ORIGIN) == grades and named(ORIGIN.removeprefix("labels/words/")) == grades[1:]
        assert grader_of(ORIGIN) == "words" and grader_of("labels/j/verbalisations") is None
        assert verbalised_in(ORIGIN) == verbalised_in(ORIGIN.removeprefix("labels/words/")) == grades_of(grades[1:])
        assert verbalised_in("generations/a/b/c") is None

    @pytest.mark.parametrize("origin", ["labels/j/verbalisations/v/c", "labels/j/other/v/c/d", "verbalisations/v/c/d"])
    def test_other_origins_are_refused(self, origin: str) -> None:
        with pytest.raises(ValidationError, match="should match pattern"):
            Dataset.model_validate({**GRADED, "origin": origin})

    def test_a_panel_of_texts_without_places_has_no_examples_of_them(self) -> None:
        with pytest.raises(ValidationError, match="has `by: example`, but datasets/d have no places"):
            Panel.model_validate({**TestPanel.ENTRY, "texts": "datasets/d", "by": "example"})
        assert Panel.model_validate(TestPanel.ENTRY).generations is None

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"kind": "support", "title": "t"}, "is of kind support and reads no verbalisations"),
            ({**WORDS, "reads": "prompt"}, "has reads: prompt, which a verbalisation does not have"),
            (WORDS, None),
        ],
    )
    def test_what_cannot_read_verbalisations(self, run: Run, entry: Row, message: str | None) -> None:
        judge: Judge = TypeAdapter(Judge).validate_python(entry)
        ends = list(unfit_grader(judge))
        assert not ends if message is None else message in ends[0]
        if message is not None:
            given = words_of({id: ["x"] for id in TRAIN}, "W.parquet")
            flags = ("--judge", "j", "--data", dataset(), "--output", "L.parquet", "--verbalisations", given)
            status, printed = run("grade.py", {"judges": entry}, *flags)
            assert status == 1 and f"this judge {message}" in printed


def grades_of(names: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(id for _, id in names)


def test_a_probe_that_learns_the_grades_reads_the_activations_of_the_dataset_that_was_graded(
    run: Run, tmp_path: Path
) -> None:
    import torch

    from candor.activations.files import ActivationsError
    from candor.probes.features import read_part
    from tests.small_parts import write_part

    data = dataset()
    rows = read(str(data), DATASET)
    own = write_part(tmp_path, "inner@train", rows, {1: [torch.full((2, 3), float(i)) for i in range(len(rows))]})
    given = labels_of({id: ["deceptive"] for id in TRAIN}, "0.parquet")
    flags = ("--origin", given, "--examples", data, "--output", "graded.parquet")
    assert run("build_dataset.py", {"datasets": GRADED}, *flags)[0] == 0
    shards = [tmp_path / "inner.safetensors"]
    graded = read_part("graded@train", Path("graded.parquet"), shards)
    assert {row["label"] for row in graded.rows} == {"deceptive"}
    assert (graded.positions, graded.activations.paths) == (own.positions, shards)
    dataset(3)  # another version of the dataset, of which the grades are no longer
    assert run("build_dataset.py", {"datasets": GRADED}, *flags)[0] == 0
    with pytest.raises(ActivationsError, match="was read from another version of dataset inner"):
        read_part("graded@train", Path("graded.parquet"), shards)
