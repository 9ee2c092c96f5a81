"""generate.py on a small model: its rows, where it goes on after a kill, and what it says."""

import json
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from candor import provenance, tables
from candor.config.samplings import Sampling
from candor.generations import transformers_engine
from candor.generations.engine import Completion, GenerationError, Request, Watch
from candor.generations.job import respond
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from tests.small_models import BLOCKS, WIDTH, small_folder

SCRIPTS = Path(__file__).parents[2] / "scripts"
Run = Callable[..., tuple[int, str]]
TEXTS = ["Is the reactor safe?", "The quick brown fox.", "a", "Wait for the pressure to fall below 12 bar.", "Why?"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a script in this process, in tmp_path; give its exit status and all that it said."""
    monkeypatch.chdir(tmp_path)

    def run(script: str, *arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        try:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
            return status, f"{capfd.readouterr().err}{ended.code}"
        return 0, capfd.readouterr().err

    return run


@pytest.fixture
def model(run: Run, tmp_path: Path) -> dict[str, Any]:
    """A small model's entry in the config, fetched to M.json."""
    from safetensors import safe_open

    folder = small_folder(tmp_path / "model")
    with safe_open(folder / "model.safetensors", "pt") as file:
        parameters = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    entry = {"source": "folder", "path": str(folder), "name": "Tiny", "device": "cpu", "dtype": "float32"}
    entry |= {"blocks": BLOCKS, "width": WIDTH, "parameters": parameters}
    status, said = run("fetch_model.py", "--spec", json.dumps({"models": entry}), "--output", "M.json")
    assert status == 0, said
    return entry


def dataset(texts: Sequence[str]) -> Path:
    """A dataset table of one user turn each."""
    rest = {"split": "test", "label": None, "rating": None, "attributes": "{}", "truncated": False}
    rows = [
        {**rest, "example_id": f"r{i}", "group_id": f"r{i}", "messages": [{"role": "user", "content": text}]}
        for i, text in enumerate(texts)
    ]
    tables.write(Path("D.parquet"), rows, DATASET, {})
    return Path("D.parquet")


@pytest.fixture
def generate(run: Run, model: dict[str, Any]) -> Callable[..., list[dict[str, Any]]]:
    """Generate with a sampling over D.parquet into G.parquet; give its rows."""
    dataset(TEXTS)

    def generate(sampling: dict[str, Any], *more: Any) -> list[dict[str, Any]]:
        spec = {"samplings": sampling, "models": model, "ablations": {"direction": "yes_no"}}
        arguments = ("--spec", json.dumps(spec), "--model", "M.json", "--data", "D.parquet", "--output", "G.parquet")
        status, said = run("generate.py", *arguments, "--threads", 1, *more)
        if status:
            raise AssertionError(said)
        rows: list[dict[str, Any]] = tables.read(Path("G.parquet"), GENERATION).to_pylist()
        assert f"of {len(rows)} responses" in said.replace(",", "")
        return rows

    return generate


Generate = Callable[..., list[dict[str, Any]]]


def test_every_example_and_sample_has_a_row_in_the_order_of_the_dataset(generate: Generate) -> None:
    rows = generate({"max_new_tokens": 6, "n": 3, "seed": 7, "temperature": 0.9})
    assert [(row["example_id"], row["sample_index"]) for row in rows] == [
        (f"r{i}", k) for i in range(len(TEXTS)) for k in range(3)
    ]
    tokenizer = AutoTokenizer.from_pretrained("model")
    for row in rows:
        assert (row["status"], row["new_tokens"], row["seed"]) == ("truncated", 6, 7)
        assert len(row["token_ids"]) == 6
        assert row["text"] == row["answer"] == tokenizer.decode(row["token_ids"])
        assert row["reasoning"] is None
        prompt = [{"role": "user", "content": TEXTS[int(row["example_id"][1:])]}]
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert row["prompt_tokens"] == len(ids)


def test_the_file_says_what_made_it(generate: Generate) -> None:
    rows = generate({"max_new_tokens": 6}, "--code", "c0de")
    made = provenance.read(Path("G.parquet"))
    assert (made["script"], made["code"], made["engine"]) == ("generate.py", "c0de", "transformers")
    assert (made["device"], made["dtype"], made["threads"]) == ("cpu", "float32", 1)
    assert made["statuses"] == {"truncated": 5}
    assert made["new_tokens"] == 30
    assert made["prompt_tokens"] == sum(row["prompt_tokens"] for row in rows)
    assert made["inputs"].keys() == {"M.json", "D.parquet"}
    assert not list(Path("results/.partial").iterdir())


def test_shards_are_the_whole_and_batches_do_not_matter(generate: Generate) -> None:
    options = {"max_new_tokens": 9, "n": 2}
    whole = generate(options)
    halves = [row for part in (0, 1) for row in generate({**options, "batch_size": 2}, "--shard", f"00{part}-of-002")]
    assert halves == whole


class Killed(BaseException):
    """Stands in for a signal that ends the process."""


@pytest.mark.parametrize("cut", [False, True], ids=["", "in the middle of a line"])
@pytest.mark.parametrize(("reasoning", "passes"), [("none", 1), ("prompted", 2)])
def test_after_a_kill_it_goes_on_to_the_same_bytes(
    generate: Generate, monkeypatch: pytest.MonkeyPatch, reasoning: str, passes: int, cut: bool
) -> None:
    options = {"max_new_tokens": 5, "max_reasoning_tokens": 4, "batch_size": 1, "n": 2, "reasoning": reasoning}
    monkeypatch.setattr(transformers_engine, "ROUNDS", 3)  # four calls, of 3, 3, 3 and 1 responses
    generate(options)
    expected = Path("G.parquet").read_bytes()
    Path("G.parquet").unlink()
    calls, fatal = 0, 2 * passes + 1
    usual = transformers_engine.TransformersEngine.generate

    def counted(self: Any, *arguments: Any) -> Iterator[Completion]:
        nonlocal calls
        calls += 1
        for number, done in enumerate(usual(self, *arguments)):
            if calls == fatal and number == 1:
                raise Killed
            yield done

    monkeypatch.setattr(transformers_engine.TransformersEngine, "generate", counted)
    with pytest.raises(Killed):
        generate(options)
    assert not Path("G.parquet").exists()
    (journal,) = Path("results/.partial").glob("*/journal.jsonl")
    kept = len(journal.read_text().splitlines())
    assert kept == 2
    if cut:
        journal.write_text(journal.read_text()[:-5])
        kept -= 1
    calls, fatal = 0, 0
    generate(options)
    assert Path("G.parquet").read_bytes() == expected
    assert calls == (4 - kept) * passes


def test_another_sampling_does_not_take_up_what_was_left(generate: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = tables.write
    monkeypatch.setattr(tables, "write", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        generate({"max_new_tokens": 5})
    monkeypatch.setattr(tables, "write", usual)
    assert {row["new_tokens"] for row in generate({"max_new_tokens": 6})} == {6}
    assert len(list(Path("results/.partial").iterdir())) == 1


def test_a_direction_is_taken_out(generate: Generate) -> None:
    plain = generate({"max_new_tokens": 9})
    save_file({"yes_no": torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))}, "directions.safetensors")
    without = generate({"max_new_tokens": 9}, "--directions", "directions.safetensors")
    assert [row["token_ids"] for row in without] != [row["token_ids"] for row in plain]
    assert "directions.safetensors" in provenance.read(Path("G.parquet"))["inputs"]


def test_an_empty_shard_is_a_sentence(generate: Generate) -> None:
    with pytest.raises(AssertionError, match=r"error: D.parquet: shard 007-of-009 holds no examples"):
        dataset(TEXTS[:1])
        generate({}, "--shard", "007-of-009")


def test_a_prompt_that_is_too_long_is_invalid_and_counted(generate: Generate) -> None:
    rows = generate({"max_new_tokens": 3, "max_prompt_tokens": 30})
    long = [row for row in rows if row["prompt_tokens"] > 30]
    assert 0 < len(long) < len(rows)
    for row in long:
        assert (row["status"], row["text"], row["token_ids"], row["answer"]) == ("invalid", "", [], None)
    assert provenance.read(Path("G.parquet"))["statuses"] == {"invalid": len(long), "truncated": len(rows) - len(long)}


class Scripted:
    """An engine that answers each prompt with what a function makes of its text."""

    context: int | None = None
    at_once = 10

    def __init__(self, tokenizer: PreTrainedTokenizerFast, answer: Callable[[str], tuple[str, str]]) -> None:
        self._tokenizer, self._answer = tokenizer, answer
        self.prompts: list[str] = []
        self.requests: list[Request] = []

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch | None = None
    ) -> Iterator[Completion]:
        for request in reversed(requests):
            prompt = self._tokenizer.decode(request.prompt)
            self.prompts.append(prompt)
            self.requests.append(request)
            text, status = self._answer(prompt)
            yield Completion(request, self._tokenizer(text)["input_ids"], text, status)


def user(text: str) -> list[dict[str, str]]:
    """A conversation of one turn."""
    return [{"role": "user", "content": text}]


class TestPrompted:
    """Reasoning is asked for first, and an answer with it."""

    SAMPLING = Sampling(
        reasoning="prompted",
        max_reasoning_tokens=7,
        max_new_tokens=9,
        reasoning_prompt="Think: {prompt}",
        answer_prompt="{prompt} Thoughts: {reasoning}",
    )

    def rows(
        self, tokenizer: PreTrainedTokenizerFast, thoughts: tuple[str, str], answer: tuple[str, str]
    ) -> tuple[dict[str, Any], Scripted]:
        """The one row of a request, and the engine that was asked."""
        engine = Scripted(tokenizer, lambda prompt: thoughts if "Think:" in prompt else answer)
        (row,) = respond(engine, tokenizer, self.SAMPLING, [("e", 2, user("Is {reasoning} {it} safe?"))])
        return row, engine

    def test_one_row_holds_both(self, tokenizer: PreTrainedTokenizerFast) -> None:
        row, engine = self.rows(tokenizer, ("\nHm {prompt}.", "ok"), (" Yes.\n", "ok"))
        assert row["text"] == "<think>\nHm {prompt}.\n</think>\n\nYes."
        assert (row["reasoning"], row["answer"], row["status"]) == ("Hm {prompt}.", "Yes.", "ok")
        assert row["token_ids"] == tokenizer("\nHm {prompt}.")["input_ids"] + tokenizer(" Yes.\n")["input_ids"]
        assert row["prompt_tokens"] == sum(len(request.prompt) for request in engine.requests)
        assert row["new_tokens"] == len(row["token_ids"])
        assert "user\nThink: Is {reasoning} {it} safe?<|im_end|>" in engine.prompts[0]
        assert "user\nIs {reasoning} {it} safe? Thoughts: Hm {prompt}.<|im_end|>" in engine.prompts[1]

    def test_the_answer_s_draws_follow_those_of_the_reasoning(self, tokenizer: PreTrainedTokenizerFast) -> None:
        _, engine = self.rows(tokenizer, ("Hm.", "ok"), ("Yes.", "ok"))
        assert [(each.first_step, each.max_new_tokens) for each in engine.requests] == [(0, 7), (7, 9)]
        assert {(each.example_id, each.sample_index) for each in engine.requests} == {("e", 2)}

    @pytest.mark.parametrize(
        ("thoughts", "answer", "status", "parts"),
        [
            (("Hm.", "truncated"), ("Yes.", "ok"), "truncated", ("Hm.", "Yes.")),
            (("Hm.", "ok"), ("Yes.", "truncated"), "truncated", ("Hm.", "Yes.")),
            (("Hm.", "ok"), (" \n", "ok"), "empty", ("Hm.", None)),
            ((" ", "ok"), ("Yes.", "ok"), "empty", (None, None)),
            ((" ", "truncated"), ("Yes.", "ok"), "truncated", (None, None)),
            (("Hm.", "ok"), ("", "not_finite"), "not_finite", (None, None)),
            (("", "not_finite"), ("Yes.", "ok"), "not_finite", (None, None)),
            (("a</think>b", "ok"), ("c</think>d", "ok"), "ok", ("ab", "c</think>d")),
        ],
    )
    def test_what_becomes_of_either_pass_is_told(
        self,
        tokenizer: PreTrainedTokenizerFast,
        thoughts: tuple[str, str],
        answer: tuple[str, str],
        status: str,
        parts: tuple[str | None, str | None],
    ) -> None:
        row, engine = self.rows(tokenizer, thoughts, answer)
        assert (row["status"], (row["reasoning"], row["answer"])) == (status, parts)
        assert len(engine.prompts) == (2 if thoughts[0].strip() else 1)

    def test_reasoning_that_makes_the_prompt_too_long_is_invalid(self, tokenizer: PreTrainedTokenizerFast) -> None:
        engine = Scripted(tokenizer, lambda prompt: ("Hm. " * 30, "ok"))
        sampling = self.SAMPLING.model_copy(update={"max_prompt_tokens": 40})
        (row,) = respond(engine, tokenizer, sampling, [("e", 0, user("Why?"))])
        assert (row["status"], row["text"], len(engine.prompts)) == ("invalid", "", 1)

    def test_a_conversation_that_ends_with_the_assistant_is_refused(self, tokenizer: PreTrainedTokenizerFast) -> None:
        engine = Scripted(tokenizer, lambda prompt: ("", "ok"))
        with pytest.raises(GenerationError, match="example e: reasoning: prompted needs a conversation that ends with"):
            respond(engine, tokenizer, self.SAMPLING, [("e", 0, [{"role": "assistant", "content": "Yes"}])])

    def test_rows_keep_the_order_of_the_requests(self, tokenizer: PreTrainedTokenizerFast) -> None:
        engine = Scripted(tokenizer, lambda prompt: (" " if "Think: b" in prompt else prompt[-60:-40], "ok"))
        told: list[int] = []
        items = [(text, k, user(text)) for text in "abc" for k in range(2)]
        rows = respond(engine, tokenizer, self.SAMPLING, items, told.append)
        assert [(row["example_id"], row["sample_index"]) for row in rows] == [(id, k) for id, k, _ in items]
        assert [row["status"] for row in rows if row["example_id"] == "b"] == ["empty"] * 2
        assert told == [3, 4, 5, 6]


class TestNative:
    """The model reasons by itself, in its turn."""

    @pytest.mark.parametrize(
        ("text", "status", "expected"),
        [
            ("Hm.</think>Yes.", "ok", ("Hm.", "Yes.", "ok")),
            ("Hm.</think>Ye", "truncated", ("Hm.", "Ye", "truncated")),
            ("Hm. Yes", "truncated", (None, None, "truncated")),
            ("Hm. Yes.", "ok", (None, None, "no_reasoning")),
            ("Hm.</think>", "ok", ("Hm.", None, "empty")),
        ],
    )
    def test_a_prefill_that_opens_the_reasoning_is_of_the_turn(
        self, tokenizer: PreTrainedTokenizerFast, text: str, status: str, expected: tuple[str | None, str | None, str]
    ) -> None:
        engine = Scripted(tokenizer, lambda prompt: (text, status))
        sampling = Sampling(reasoning="native", prefill="<think>\n")
        (row,) = respond(engine, tokenizer, sampling, [("e", 0, user("Why?"))])
        assert engine.prompts == ["<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n<think>\n"]
        assert row["text"] == "<think>\n" + text
        assert (row["reasoning"], row["answer"], row["status"]) == expected
        assert row["new_tokens"] == len(tokenizer(text)["input_ids"])

    def test_a_last_turn_of_the_assistant_s_is_continued(self, tokenizer: PreTrainedTokenizerFast) -> None:
        engine = Scripted(tokenizer, lambda prompt: (" Yes.", "ok"))
        turns = [*user("Why?"), {"role": "assistant", "content": "<think>\nHm.\n</think>\n\n"}]
        (row,) = respond(engine, tokenizer, Sampling(reasoning="native"), [("e", 0, turns)])
        assert engine.prompts[0].endswith("<|im_start|>assistant\n<think>\nHm.\n</think>\n\n")
        assert (row["reasoning"], row["answer"], row["status"]) == ("Hm.", "Yes.", "ok")

    def test_a_turn_that_was_begun_is_not_begun_again_by_a_prefill(self, tokenizer: PreTrainedTokenizerFast) -> None:
        engine = Scripted(tokenizer, lambda prompt: (" Yes.", "ok"))
        turns = [*user("Why?"), {"role": "assistant", "content": "<think>\nHm.\n</think>\n\n"}]
        (row,) = respond(engine, tokenizer, Sampling(reasoning="native", prefill="<think>\n"), [("e", 0, turns)])
        assert engine.prompts[0].endswith("<|im_start|>assistant\n<think>\nHm.\n</think>\n\n")
        assert (row["reasoning"], row["answer"]) == ("Hm.", "Yes.")


def test_an_empty_answer_is_empty(tokenizer: PreTrainedTokenizerFast) -> None:
    engine = Scripted(tokenizer, lambda prompt: (" ", "ok"))
    (row,) = respond(engine, tokenizer, Sampling(), [("e", 0, user("Why?"))])
    assert (row["status"], row["answer"], row["text"]) == ("empty", None, " ")
