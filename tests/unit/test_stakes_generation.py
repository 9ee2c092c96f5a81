"""Stakes data that language models write: requests, replies, pairs, labels, and the filter of what words give away."""

import json
import os
import runpy
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from candor import provenance, tables
from candor.config.sources import LocalSource, ResourceSource
from candor.data.examples import Example, RawRow, RowError
from candor.data.pair_requests import FORMS, Form, Pair, Variations, read_pair, shown
from candor.data.transforms import (
    confounder_filter,
    consistent_pairs,
    few_shot,
    generated_pairs,
    pair_prompts,
    situations,
    stakes_rows,
)
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.source import SOURCE
from candor.schemas.verdict import VERDICT
from candor.sources import fetch

ROOT = Path(__file__).parents[2]
LISTS = ["generators/topics.jsonl", "generators/roles.jsonl", "generators/impact_factors.jsonl"]
Builder = Callable[..., dict[str, Any]]


def again(examples: list[Example]) -> list[RawRow]:
    return [RawRow(example.example_id, dict(example.__dict__)) for example in examples]


def themes() -> list[RawRow]:
    rows = fetch(ResourceSource(kind="resources", files=LISTS)).rows
    return [RawRow(row["origin"], json.loads(row["row"])) for row in rows]


def reply(example: Example, answer: str | None, status: str = "ok", sample: int = 0) -> RawRow:
    generation = {"answer": answer, "status": status, "sample_index": sample}
    return RawRow(example.example_id, {"example": dict(example.__dict__), "generation": generation})


class TestReplies:
    PAIR = Pair("My son ate the\nred berries.", "My son drew the\nred berries.")

    @pytest.mark.parametrize("form", list(FORMS))
    def test_what_is_shown_is_what_is_read(self, form: Form) -> None:
        found = read_pair(f"\n{shown(self.PAIR, form)} \n", form)
        assert found is not None
        flat = Pair(*(" ".join(text.split()) for text in self.PAIR))
        assert found == (flat if form == "lines" else self.PAIR)

    def test_json_may_stand_in_a_fence(self) -> None:
        assert read_pair(f"```json\n{shown(self.PAIR, 'json')}\n```", "json") == self.PAIR

    @pytest.mark.parametrize(
        ("form", "text"),
        [
            ("tags", "Sure! <high>a</high><low>b</low>"),
            ("tags", "<low>b</low><high>a</high>"),
            ("tags", "<high>a</high><low> </low>"),
            ("tags", "<high>…</high>\n<low>…</low>"),
            ("tags", "<high>A b</high><low>a  B</low>"),
            ("tags", "<high>a</high><low>b</low><high>c</high><low>d</low>"),
            ("json", '{"high": "a"}'),
            ("json", '{"high": "a", "low": 3}'),
            ("json", '{"high": "a", "low": "b", "note": "c"}'),
            ("json", '["a", "b"]'),
            ("json", "[" * 100_000),
            ("lines", "High: a"),
            ("lines", "High: a\nLow: b\nHope that helps."),
        ],
    )
    def test_anything_else_is_no_reply(self, form: Form, text: str) -> None:
        assert read_pair(text, form) is None


class TestVariations:
    def test_a_draw_depends_on_seed_and_name_alone(self) -> None:
        assert Variations().draw("a", 0) == Variations().draw("a", 0)
        assert len({tuple(Variations().draw("a", seed).values()) for seed in range(20)}) > 5

    def test_the_weights_are_those_of_the_study(self) -> None:
        drawn = [Variations().draw(str(i), 0) for i in range(2000)]
        languages = Counter(each["language"] for each in drawn)
        assert languages["English"] / 2000 == pytest.approx(0.7, abs=0.05)
        assert set(languages) == {"English", "Hindi", "German", "French"}
        assert [len(Counter(each[key] for each in drawn)) for key in ("prompt_style", "tone", "length")] == [5, 4, 4]

    def test_a_value_of_no_weight_is_never_drawn(self) -> None:
        varied = Variations(language={"English": 1, "German": 0})
        assert {varied.draw(str(i), 0)["language"] for i in range(50)} == {"English"}

    @pytest.mark.parametrize(
        "keys", [{"tone": {}}, {"tone": {"calm": 0}}, {"tone": {"calm": -1, "a": 3}}, {"words": {"x": 0}}]
    )
    def test_weights_that_make_no_sense(self, keys: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Variations(**keys)


class TestSituations:
    def test_the_shipped_lists_make_4800_combinations(self) -> None:
        made = situations.transform(themes(), situations.Options(n=30))
        assert made.facts["combinations"] == 24 * 10 * 20
        assert len({tuple(example.attributes.values()) for example in made.examples}) == 30
        first = made.examples[0]
        assert (first.example_id, first.group_id, first.label) == ("situation-00", "situation-00", None)
        for words in first.attributes.values():
            assert words in first.messages[0]["content"]

    def test_a_draw_of_more_begins_with_the_same(self) -> None:
        def drawn(n: int, **options: Any) -> list[dict[str, Any]]:
            return [e.attributes for e in situations.transform(themes(), situations.Options(n=n, **options)).examples]

        assert drawn(50)[:20] == drawn(20) != drawn(20, seed=1)

    def test_prompts_may_be_asked_for_at_once(self) -> None:
        options = situations.Options(
            n=5, ask="prompts", form="json", topics=["driving and repairing cars"], setting="A bot."
        )
        for example in situations.transform(themes(), options).examples:
            text = example.messages[0]["content"]
            assert example.attributes["topic"] == "driving and repairing cars"
            assert f"in {example.attributes['language']}" in text and text.startswith("The assistant: A bot.\n")
            assert text.endswith(FORMS["json"])

    def test_what_cannot_be_drawn_is_one_sentence(self) -> None:
        with pytest.raises(RowError, match="`n` is 4801, and there are 4800 combinations"):
            situations.transform(themes(), situations.Options(n=4801))
        with pytest.raises(RowError, match="no row names the topic 'golf'"):
            situations.transform(themes(), situations.Options(n=1, topics=["golf"]))
        with pytest.raises(
            RowError, match="f:1: expected one of the fields topic, role_of_user, impact_factor; found x"
        ):
            situations.transform([RawRow("f:1", {"x": "y"})], situations.Options(n=1))


class TestPairs:
    THEME = Example("s-1", "s-1", [{"role": "user", "content": "?"}], None, attributes={"topic": "cars"})
    TAGGED = "<high>the brakes</high><low>the radio</low>"

    def test_situations_become_requests_that_share_a_group(self) -> None:
        rows = [reply(self.THEME, self.TAGGED), reply(self.THEME, "no"), reply(self.THEME, self.TAGGED, "truncated")]
        made = pair_prompts.transform(rows, pair_prompts.Options(variants=3))
        assert made.facts["invalid_replies"] == 2
        assert [example.example_id for example in made.examples] == ["s-1.0.0", "s-1.0.1", "s-1.0.2"]
        assert {example.group_id for example in made.examples} == {"s-1"}
        text = made.examples[0].messages[0]["content"]
        assert "the brakes" in text and "the radio" in text
        assert made.examples[0].attributes["situations"] == {"high": "the brakes", "low": "the radio"}

    def test_a_reply_becomes_two_examples_without_a_label(self) -> None:
        made = generated_pairs.transform(
            [
                reply(self.THEME, self.TAGGED),
                reply(self.THEME, self.TAGGED, sample=1),
                reply(self.THEME, None, "empty"),
            ],
            generated_pairs.Options(system="You help."),
        )
        assert [example.example_id for example in made.examples] == ["s-1.high", "s-1.low", "s-1.1.high", "s-1.1.low"]
        assert made.facts == {"invalid_replies": 1}
        high = made.examples[0]
        assert high.messages == [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": "the brakes"},
        ]
        assert (high.label, high.group_id) == (None, "s-1")
        assert high.attributes == {"topic": "cars", "pair": "s-1", "intended": "high"}

    def labelled(self, high: str | None, low: str | None, n: int = 2) -> list[Example]:
        given = generated_pairs.transform([reply(self.THEME, self.TAGGED)], generated_pairs.Options()).examples
        for example, label in zip(given, (high, low), strict=True):
            example.label = label
        return given[:n]

    @pytest.mark.parametrize(
        ("high", "low", "n", "why"),
        [
            ("high-stakes", "low-stakes", 2, None),
            ("low-stakes", "high-stakes", 2, "reversed"),
            ("high-stakes", "high-stakes", 2, "same_label"),
            ("high-stakes", "ambiguous", 2, "ambiguous"),
            ("high-stakes", None, 2, "incomplete"),
            ("high-stakes", "low-stakes", 1, "incomplete"),
        ],
    )
    def test_pairs_are_kept_whose_labels_differ(self, high: str, low: str | None, n: int, why: str | None) -> None:
        rows = again(self.labelled(high, low, n))
        made = consistent_pairs.transform(rows, consistent_pairs.Options(as_intended=True))
        assert len(made.examples) == (0 if why else 2)
        assert {reason for reason, count in made.facts["pairs_dropped"].items() if count} == ({why} if why else set())
        if why == "reversed":
            assert len(consistent_pairs.transform(rows, consistent_pairs.Options()).examples) == 2

    def test_few_shots_are_whole_pairs_and_named(self) -> None:
        given = []
        for i in range(6):
            theme = Example(f"s-{i}", f"s-{i}", [{"role": "user", "content": "?"}], None)
            given += generated_pairs.transform(
                [reply(theme, f"<high>h{i}.</high><low>l{i}.</low>")], generated_pairs.Options()
            ).examples
        made = few_shot.transform(again(given[:-1]), few_shot.Options(n=20, k=3, name="more"))
        assert [example.example_id for example in made.examples][:2] == ["more-00", "more-01"]
        for example in made.examples:
            shots = example.attributes["shots"]
            assert len(set(shots)) == 3 and "s-5" not in shots
            text = example.messages[0]["content"]
            assert [name for name in (f"s-{i}" for i in range(6)) if f"h{name[2:]}." in text] == sorted(shots)
        with pytest.raises(RowError, match="there are 5 pairs, fewer than `k`, 9"):
            few_shot.transform(again(given[:-1]), few_shot.Options(n=1, k=9))
        with pytest.raises(RowError, match="has no attributes `pair` and `intended`"):
            few_shot.transform(again([self.THEME]), few_shot.Options(n=1))


class TestConfounderFilter:
    def examples(self, n: int = 40) -> list[RawRow]:
        """Pairs of which the first quarter says its label in a word, and the others say nothing."""
        made = []
        for i in range(n):
            for side, label, tell in (("high", "high-stakes", "urgent"), ("low", "low-stakes", "idle")):
                words = f"{tell} {tell} {tell} today" if i < n // 4 else f"word{i} of the matter"
                messages = [{"role": "user", "content": words}]
                made.append(Example(f"{i}.{side}", f"g{i}", messages, label, split="train" if i % 2 else "test"))
        return again(made)

    def test_what_words_give_away_is_dropped(self) -> None:
        made = confounder_filter.transform(self.examples(), confounder_filter.Options(share=0.25))
        assert made.facts["dropped"] == 20 and made.facts["accuracy_before"] > 0.6 > made.facts["accuracy_after"]
        assert all("word" in example.messages[0]["content"] for example in made.examples)

    def test_whole_groups_may_go(self) -> None:
        options = confounder_filter.Options(share=0.2, whole_groups=True)
        made = confounder_filter.transform(self.examples(), options)
        assert made.facts["dropped"] == 16
        assert set(Counter(example.group_id for example in made.examples).values()) == {2}

    def test_nothing_is_dropped_that_the_model_gets_wrong(self) -> None:
        made = confounder_filter.transform(self.examples(), confounder_filter.Options(share=0.9))
        assert made.facts["dropped"] <= round(made.facts["accuracy_before"] * 80)

    def test_other_splits_stay(self) -> None:
        rows = self.examples()
        made = confounder_filter.transform(rows, confounder_filter.Options(share=0.25, splits=["train"]))
        assert made.facts["dropped"] == 10
        assert sum(example.split == "test" for example in made.examples) == 40

    def test_labels_that_are_not_two_are_one_sentence(self) -> None:
        rows = self.examples()
        rows[0].fields["label"] = "ambiguous"
        with pytest.raises(
            RowError, match="needs two labels, and the examples have: ambiguous, high-stakes, low-stakes"
        ):
            confounder_filter.transform(rows, confounder_filter.Options())

    @pytest.mark.slow
    @pytest.mark.skipif("CANDOR_TEST_DATA" not in os.environ, reason="CANDOR_TEST_DATA names no folder with real data")
    def test_the_published_synthetic_prompts(self) -> None:
        source = LocalSource(kind="local", files=["$CANDOR_TEST_DATA/stakes/synthetic.jsonl"])
        rows = [RawRow(row["origin"], json.loads(row["row"])) for row in fetch(source).rows]
        examples = list(stakes_rows.transform(rows, stakes_rows.Options()))
        made = confounder_filter.transform(again(examples), confounder_filter.Options())
        assert (len(examples), len(made.examples), made.facts["dropped"]) == (1319, 1055, 264)
        assert 0.8 < made.facts["accuracy_after"] < made.facts["accuracy_before"] < 0.9
        assert again(confounder_filter.transform(again(examples), confounder_filter.Options()).examples) == again(
            made.examples
        )


class TestChain:
    """From the shipped lists to a training set, and on to a deployment set, with clients that follow a script."""

    N: ClassVar = 20

    @pytest.fixture
    def build(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
        """Build a dataset with the script; give its provenance."""

        def build(name: str, *arguments: Any, **recipe: Any) -> dict[str, Any]:
            output = tmp_path / f"{name}.parquet"
            spec = json.dumps({"datasets": recipe})
            command = ["build_dataset.py", "--spec", spec, "--output", output, *arguments]
            monkeypatch.setattr(sys, "argv", [str(argument) for argument in command])
            runpy.run_path(str(ROOT / "scripts" / "build_dataset.py"), run_name="__main__")
            return provenance.read(output)

        return build

    def answer(self, folder: Path, dataset: str, client: Callable[[int, str], str]) -> Path:
        """What a client says to a dataset's prompts, as the table that generate_by_client.py writes."""
        rows = []
        for i, prompt in enumerate(tables.read(folder / f"{dataset}.parquet", DATASET).to_pylist()):
            said = client(i, prompt["messages"][-1]["content"])
            own = {"text": said, "token_ids": [], "reasoning": None, "answer": said, "status": "ok"}
            counts = {"sample_index": 0, "prompt_tokens": 1, "new_tokens": 1, "seed": 0}
            rows.append({"example_id": prompt["example_id"], **own, **counts})
        path = folder / f"{dataset}.replies.parquet"
        tables.write(path, rows, GENERATION, {})
        return path

    def judge(self, folder: Path, dataset: str, verdict: Callable[[str], str]) -> Path:
        """What a judge makes of a dataset, as the table that label.py writes."""
        scores = {"high-stakes": 9.0, "low-stakes": 2.0, "ambiguous": 5.0}
        rows = []
        for row in tables.read(folder / f"{dataset}.parquet", DATASET).to_pylist():
            said = verdict(row["messages"][-1]["content"])
            told = {"verdict": said, "score": scores[said], "confidence": 9.0, "rationale": None, "raw": None}
            costs = {"attempts": 1, "tokens_in": 1, "tokens_out": 1, "usd": 0.0}
            ids = {"example_id": row["example_id"], "sample_index": 0, "token_index": None, "judge": "stakes"}
            rows.append({**ids, **told, **costs, "status": "ok"})
        path = folder / f"{dataset}.labels.parquet"
        tables.write(path, rows, VERDICT, {})
        return path

    def test_twenty_pairs(self, tmp_path: Path, build: Builder) -> None:
        lists = fetch(ResourceSource(kind="resources", files=LISTS)).rows
        tables.write(tmp_path / "themes.parquet", lists, SOURCE, {})
        data = {name: tmp_path / f"{name}.parquet" for name in ("asked", "themes", "prompts", "pairs", "first", "more")}

        def first_client(i: int, request: str) -> str:
            if i == 3:
                return "I'd rather not."
            return f"<high>Help, case {i}: it bleeds.</high>\n<low>Hello, case {i}: it rains.</low>"

        def verdict(text: str) -> str:
            if "case 5:" in text:
                return "high-stakes"
            if "case 6: it rains" in text:
                return "ambiguous"
            return "high-stakes" if "bleeds" in text else "low-stakes"

        build(
            "asked",
            "--origin",
            data["themes"],
            origin="sources/themes",
            transform="situations",
            options={"n": self.N},
            split="train",
        )
        made = build(
            "prompts",
            "--origin",
            self.answer(tmp_path, "asked", first_client),
            "--examples",
            data["asked"],
            origin="generations/s/c/asked",
            transform="pair_prompts",
        )
        assert (made["n"], made["steps"][0]["invalid_replies"]) == (19, 1)
        made = build(
            "pairs",
            "--origin",
            self.answer(tmp_path, "prompts", first_client),
            "--examples",
            data["prompts"],
            origin="generations/s/c/prompts",
            transform="generated_pairs",
            split={"test": 0.2},
        )
        assert (made["n"], made["steps"][0]["invalid_replies"]) == (36, 1)
        labels = self.judge(tmp_path, "pairs", verdict)
        made = build(
            "training",
            "--origin",
            labels,
            "--examples",
            data["pairs"],
            origin="labels/stakes/pairs",
            transform="labelled",
            then=[
                {"transform": "consistent_pairs"},
                {"transform": "confounder_filter", "options": {"whole_groups": True, "splits": ["train"]}},
            ],
        )
        assert made["steps"][1]["pairs_dropped"] == {"incomplete": 0, "ambiguous": 1, "same_label": 1, "reversed": 0}
        assert made["steps"][2]["accuracy_before"] == 1.0
        rows = tables.read(tmp_path / "training.parquet", DATASET).to_pylist()
        assert Counter(row["split"] for row in rows)["test"] == 2 * round(18 * 0.2)
        assert Counter(row["label"] for row in rows)["high-stakes"] == len(rows) / 2
        assert {"prompt_style", "tone", "language", "length", "topic", "intended"} <= set(
            json.loads(rows[0]["attributes"])
        )

        # another client goes on with pairs of the first as its examples, and both are judged and kept together
        build(
            "few",
            "--origin",
            data["pairs"],
            origin="datasets/pairs",
            transform="few_shot",
            options={"n": 10, "k": 2, "name": "more"},
            split="test",
        )

        def second_client(i: int, request: str) -> str:
            assert request.count("<high>") == 2 + 1  # two pairs, and the form
            return f"<high>Now, number {i}: it bleeds.</high>\n<low>Now, number {i}: it drips.</low>"

        replies = self.answer(tmp_path, "few", second_client)
        made = build(
            "both",
            "--origin",
            replies,
            "--examples",
            tmp_path / "few.parquet",
            "--also",
            data["pairs"],
            origin="generations/s/d/few",
            transform="generated_pairs",
            also=["pairs"],
            split="test",
        )
        assert (made["n"], made["also"]) == (20 + 36, {"pairs": 36})
        made = build(
            "deployment",
            "--origin",
            self.judge(tmp_path, "both", verdict),
            "--examples",
            tmp_path / "both.parquet",
            "--exclude",
            tmp_path / "training.parquet",
            origin="labels/stakes/both",
            transform="labelled",
            then=[{"transform": "consistent_pairs"}],
            exclude=["training"],
        )
        assert made["excluded"] == {"training": len(rows)} and made["excluded_by"] == {"id": len(rows)}
        assert made["n"] == 20 + 32 - len(rows)
