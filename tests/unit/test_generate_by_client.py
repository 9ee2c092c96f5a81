"""generate_by_client.py: rows of the generation table from a model behind a chat client."""

import json
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from candor import provenance, tables
from candor.chat.messages import ChatRequest, Completion, nothing
from candor.chat_text import open_turn
from candor.config.samplings import Sampling
from candor.generations import engine, job
from candor.generations.by_client import Teacher, client_config, request_of
from candor.generations.engine import GenerationError, Request, Watch
from candor.generations.responding import Item, Prompt, respond
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from tests.chat_server import Answer, Asked, ChatServer

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROMPTED = Sampling(
    reasoning="prompted",
    max_reasoning_tokens=7,
    max_new_tokens=9,
    reasoning_prompt="Think: {prompt}",
    answer_prompt="{prompt} Thoughts: {reasoning}",
)
Said = tuple[str, str]


def user(text: str) -> list[dict[str, str]]:
    """A conversation of one turn."""
    return [{"role": "user", "content": text}]


class Scripted:
    """A client that answers with what a function makes of the last turn."""

    def __init__(self, answer: Callable[[str], Said] = lambda _: ("Yes.", "ok")) -> None:
        self._answer = answer
        self.requests: list[ChatRequest] = []

    def complete(self, requests: Sequence[ChatRequest], finished: Callable[[int], None] = nothing) -> list[Completion]:
        self.requests += requests
        found = []
        for request in requests:
            text, status = self._answer(request.messages[-1].content)
            remark = None if status in ("ok", "truncated") else "no luck"
            found.append(Completion(status, text, 2, 10, len(text), 0.25, remark, False))  # type: ignore[arg-type]
        finished(len(requests))
        return found


def rows_of(client: Scripted, sampling: Sampling, *items: Item) -> list[dict[str, Any]]:
    """The rows of items."""
    return respond(Teacher(client, sampling, "openai"), sampling, items)


class Thinking:
    """A client whose server gives the reasoning apart from the reply."""

    def __init__(self, text: str) -> None:
        self._text = text

    def complete(self, requests: Sequence[ChatRequest], finished: Callable[[int], None] = nothing) -> list[Completion]:
        return [Completion("ok", self._text, 1, 1, 1, 0.0, None, False, "Hm.") for _ in requests]


class TestReasoningApart:
    def parts(self, text: str, **sampling: Any) -> tuple[Any, ...]:
        drawn = Sampling.model_validate(sampling)
        [row] = respond(Teacher(Thinking(text), drawn, "openai"), drawn, [("a", 0, user("Why?"))])
        return row["reasoning"], row["answer"], row["status"]

    @pytest.mark.parametrize("prefill", ["", "<think>\n"])
    def test_it_is_the_reasoning_of_a_model_that_reasons_by_itself(self, prefill: str) -> None:
        assert self.parts("Yes.", reasoning="native", prefill=prefill) == ("Hm.", "Yes.", "ok")

    def test_a_reply_with_tags_of_its_own_stays_as_it_is(self) -> None:
        assert self.parts("<think>Ah.</think>Yes.", reasoning="native") == ("Ah.", "Yes.", "ok")

    def test_without_a_reply_there_is_no_answer(self) -> None:
        assert self.parts("", reasoning="native")[1:] == (None, "no_reasoning")

    def test_where_none_is_expected_it_is_left_out(self) -> None:
        assert self.parts("Yes.") == (None, "Yes.", "ok")


class TestTheSameMessages:
    """A teacher behind a client reads what a subject reads that runs here."""

    CONVERSATIONS = (
        user("Is {reasoning} {it} safe?"),
        [
            {"role": "system", "content": "Be brief."},
            *user("Hello"),
            {"role": "assistant", "content": "Hi."},
            *user("?"),
        ],
    )
    BEGUN = ([*user("Why?"), {"role": "assistant", "content": "<think>\nHm.\n</think>\n\n"}],)

    class Engine:
        """An engine that answers as the client does."""

        context: int | None = None
        at_once = 10

        def __init__(self, tokenizer: PreTrainedTokenizerFast, answer: Callable[[str], Said]) -> None:
            self._tokenizer, self._answer = tokenizer, answer
            self.asked: list[tuple[str, int]] = []

        def generate(
            self, requests: Sequence[Request], sampling: Sampling, watch: Watch | None = None
        ) -> Iterator[engine.Completion]:
            for request in requests:
                self.asked.append((str(self._tokenizer.decode(request.prompt)), request.max_new_tokens))
                text, status = self._answer(self.asked[-1][0])
                yield engine.Completion(request, self._tokenizer(text)["input_ids"], text, status)

    @pytest.mark.parametrize(
        ("sampling", "conversations"),
        [
            (Sampling(), CONVERSATIONS + BEGUN),
            (Sampling(prefill="Sure, "), CONVERSATIONS + BEGUN),
            (Sampling(reasoning="native", prefill="<think>"), CONVERSATIONS + BEGUN),
            (PROMPTED, CONVERSATIONS),
        ],
        ids=["plain", "prefill", "native", "prompted"],
    )
    def test_as_the_local_engine(
        self, tokenizer: PreTrainedTokenizerFast, sampling: Sampling, conversations: Sequence[Any]
    ) -> None:
        def answer(prompt: str) -> Said:
            return (" Hm {prompt}.\n", "truncated") if "Think:" in prompt else ("a</think>b", "ok")

        items = [(f"e{i}", k, messages) for i, messages in enumerate(conversations) for k in range(2)]
        local, client = self.Engine(tokenizer, answer), Scripted(answer)
        expected = job.respond(local, tokenizer, sampling, items)
        found = rows_of(client, sampling, *items)
        rendered = [
            (open_turn([turn._asdict() for turn in each.messages], tokenizer).text, each.sampling.max_tokens)
            for each in client.requests
        ]
        assert rendered == local.asked
        told_apart = ("token_ids", "prompt_tokens", "new_tokens")
        for ours, theirs in zip(found, expected, strict=True):
            assert {k: v for k, v in ours.items() if k not in told_apart} == {
                k: v for k, v in theirs.items() if k not in told_apart
            }


class TestRows:
    def test_a_row_has_the_server_s_counts_and_no_tokens(self) -> None:
        (row,) = rows_of(Scripted(), Sampling(seed=7), ("e", 2, user("Why?")))
        assert row == {
            "example_id": "e",
            "sample_index": 2,
            "text": "Yes.",
            "token_ids": [],
            "reasoning": None,
            "answer": "Yes.",
            "status": "ok",
            "prompt_tokens": 10,
            "new_tokens": 4,
            "seed": 7,
        }

    def test_of_two_requests_the_counts_are_added(self) -> None:
        (row,) = rows_of(Scripted(), PROMPTED, ("e", 0, user("Why?")))
        assert (row["prompt_tokens"], row["new_tokens"]) == (20, 8)
        assert (row["text"], row["reasoning"], row["answer"]) == ("<think>\nYes.\n</think>\n\nYes.", "Yes.", "Yes.")

    @pytest.mark.parametrize(
        ("text", "status", "expected"),
        [
            ("<think>Hm.</think>Yes.", "ok", ("Hm.", "Yes.", "ok")),
            ("Yes.", "ok", (None, "Yes.", "no_reasoning")),
            ("<think>Hm.", "truncated", (None, None, "truncated")),
            ("<think>Hm.</think>", "ok", ("Hm.", None, "empty")),
            ("", "ok", (None, None, "no_reasoning")),
            ("I cannot.", "refused", (None, None, "refused")),
            ("", "error", (None, None, "error")),
        ],
    )
    def test_native_reasoning_stands_between_the_reply_s_own_tags(
        self, text: str, status: str, expected: tuple[str | None, str | None, str]
    ) -> None:
        (row,) = rows_of(Scripted(lambda _: (text, status)), Sampling(reasoning="native"), ("e", 0, user("Why?")))
        assert row["text"] == text
        assert (row["reasoning"], row["answer"], row["status"]) == expected

    @pytest.mark.parametrize(
        ("thoughts", "answer", "status", "asked"),
        [
            (("I cannot.", "refused"), ("Yes.", "ok"), "refused", 1),
            (("", "error"), ("Yes.", "ok"), "error", 1),
            (("", "ok"), ("Yes.", "ok"), "empty", 1),
            (("Hm.", "ok"), ("I cannot.", "refused"), "refused", 2),
            (("Hm.", "truncated"), ("", "error"), "error", 2),
            (("Hm.", "truncated"), ("Yes.", "ok"), "truncated", 2),
        ],
    )
    def test_what_becomes_of_either_request_is_told(
        self, thoughts: Said, answer: Said, status: str, asked: int
    ) -> None:
        client = Scripted(lambda turn: thoughts if turn.startswith("Think:") else answer)
        (row,) = rows_of(client, PROMPTED, ("e", 0, user("Why?")))
        assert (row["status"], len(client.requests)) == (status, asked)
        assert (row["answer"] is None) == (status != "truncated")

    def test_why_a_row_has_no_turn_is_said_in_the_log(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows_of(Scripted(lambda _: ("", "error")), Sampling(), ("e", 3, user("Why?")))
        assert "example e, sample 3: error: no luck\n" in capsys.readouterr().err

    def test_half_a_character_is_marked(self) -> None:
        (row,) = rows_of(Scripted(lambda _: ("Yes \ud83d", "ok")), Sampling(), ("e", 0, user("Why?")))
        assert row["answer"] == "Yes ?"

    def test_costs_are_summed_over_both_requests(self) -> None:
        teacher = Teacher(Scripted(), PROMPTED, "openai")
        respond(teacher, PROMPTED, [("e", k, user("Why?")) for k in range(3)])
        assert teacher.costs() == {"attempts": 12, "usd": 1.5}


class TestSampling:
    def test_what_is_asked_for(self) -> None:
        sampling = Sampling(temperature=0.7, top_p=0.9, stop=["a", "b"], max_new_tokens=5)
        asked = request_of(Prompt("e", 2, user("Why?"), 5), sampling, "openai")
        assert asked.sampling._replace(seed=None) == (0.7, 0.9, 5, None, ("a", "b"))
        assert (asked.sample_index, asked.schema) == (2, None)

    @pytest.mark.parametrize(("provider", "temperature"), [("openai", 1.0), ("anthropic", None)])
    def test_defaults_that_new_models_refuse_are_not_sent(self, provider: str, temperature: float | None) -> None:
        asked = request_of(Prompt("e", 0, user("Why?"), 5), Sampling(), provider)
        assert (asked.sampling.temperature, asked.sampling.top_p) == (temperature, None)

    def test_seeds_differ_by_example_step_and_seed(self) -> None:
        prompts = [Prompt(id, 0, user("Why?"), 5, step) for id in "ab" for step in (0, 9)]
        seeds = {
            request_of(prompt, Sampling(seed=seed), "openai").sampling.seed for prompt in prompts for seed in (0, 1)
        }
        assert len(seeds) == 8
        assert all(seed is not None and 0 <= seed < 2**30 for seed in seeds)

    def test_the_likeliest_reply_needs_no_seed(self) -> None:
        assert request_of(Prompt("e", 0, user("Why?"), 5), Sampling(temperature=0), "openai").sampling.seed is None

    def test_top_k_is_refused(self) -> None:
        with pytest.raises(GenerationError, match=r"top_k: 5, .* put top_k into the `extra_body` .* server of gpt-9"):
            client_config({"provider": "openai", "model": "gpt-9"}, Sampling(top_k=5))

    def test_a_subject_of_the_study_s_own_is_refused(self) -> None:
        with pytest.raises(GenerationError, match="own subject 'tiny'; generate with the subject itself"):
            client_config({"provider": "local", "subject": "tiny"}, Sampling())


Generate = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Generate:
    """Generate over D.parquet by a server with a sampling into G.parquet; give its rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDOR_CACHE", str(tmp_path / "cache"))
    rest = {"split": "test", "label": None, "rating": None, "attributes": "{}", "truncated": False}
    texts = ["Is the reactor safe?", "Why?", "What now?"]
    rows = [{**rest, "example_id": f"r{i}", "group_id": f"r{i}", "messages": user(t)} for i, t in enumerate(texts)]
    tables.write(Path("D.parquet"), rows, DATASET, {})

    def generate(
        server: ChatServer, provider: str, sampling: Mapping[str, Any], *more: str, **pace: Any
    ) -> list[dict[str, Any]]:
        assert server.key is not None
        monkeypatch.setenv("TEST_KEY", server.key)
        client = {"provider": provider, "model": "teacher", "service": "test"}
        url = server.url + ("/v1" if provider == "openai" else "")
        pace = {"base_url": url, "key_variable": "TEST_KEY", "price": {"input": 1.0, "output": 2.0}, **pace}
        spec = json.dumps({"samplings": sampling, "clients": client})
        arguments = ["--spec", spec, "--pace", json.dumps(pace), "--data", "D.parquet", "--output", "G.parquet", *more]
        monkeypatch.setattr(sys, "argv", ["generate_by_client.py", *arguments])
        try:
            runpy.run_path(str(SCRIPTS / "generate_by_client.py"), run_name="__main__")
        except SystemExit as ended:
            raise AssertionError(f"{capfd.readouterr().err}{ended.code}") from None
        found: list[dict[str, Any]] = tables.read(Path("G.parquet"), GENERATION).to_pylist()
        return found

    return generate


def answer(asked: Asked) -> Answer:
    """Thoughts on what is to be thought of; else a greeting."""
    return Answer("Hm.", tokens_in=100, tokens_out=10) if "Think" in asked.text else Answer("Yes.", "length", 50, 5)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
class TestTheScript:
    """Over the real clients, against a server on this machine."""

    def test_every_example_and_sample_has_a_row_and_its_costs_are_recorded(
        self, generate: Generate, provider: str
    ) -> None:
        with ChatServer(answer) as server:
            rows = generate(server, provider, {"reasoning": "prompted", "n": 2, "max_reasoning_tokens": 30})
        assert [(row["example_id"], row["sample_index"]) for row in rows] == [
            (f"r{i}", k) for i in range(3) for k in (0, 1)
        ]
        for row in rows:
            assert (row["reasoning"], row["answer"], row["status"]) == ("Hm.", "Yes.", "truncated")
            assert (row["prompt_tokens"], row["new_tokens"], row["token_ids"]) == (150, 15, [])
        made = provenance.read(Path("G.parquet"))
        assert (made["script"], made["statuses"]) == ("generate_by_client.py", {"truncated": 6})
        assert (made["prompt_tokens"], made["new_tokens"], made["attempts"]) == (900, 90, 12)
        assert made["usd"] == pytest.approx((900 * 1 + 90 * 2) / 1e6)
        assert provider in made["versions"]
        assert made["inputs"].keys() == {"D.parquet"}
        assert server.key not in json.dumps(made)

    def test_a_second_run_asks_nothing_and_makes_the_same_bytes(self, generate: Generate, provider: str) -> None:
        with ChatServer(answer) as server:
            generate(server, provider, {"reasoning": "prompted"})
            expected, asked = Path("G.parquet").read_bytes(), len(server.received)
            Path("G.parquet").unlink()
            generate(server, provider, {"reasoning": "prompted"}, concurrency=2)
        assert Path("G.parquet").read_bytes() == expected
        assert len(server.received) == asked == 6

    def test_a_refusal_and_an_error_are_rows(self, generate: Generate, provider: str) -> None:
        def reply(asked: Asked) -> Answer | str:
            return {"Why?": Answer("I cannot.", "refusal"), "What now?": "400"}.get(asked.text, Answer("Yes."))

        with ChatServer(reply) as server:
            rows = generate(server, provider, {})
        assert [row["status"] for row in rows] == ["ok", "refused", "error"]
        assert [row["answer"] for row in rows] == ["Yes.", None, None]

    def test_a_shard_is_a_part(self, generate: Generate, provider: str) -> None:
        with ChatServer(answer) as server:
            rows = generate(server, provider, {}, "--shard", "001-of-002")
        assert [row["example_id"] for row in rows] == ["r1", "r2"]

    def test_an_empty_shard_is_a_sentence(self, generate: Generate, provider: str) -> None:
        with ChatServer(answer) as server, pytest.raises(AssertionError, match="shard 000-of-009 holds no examples"):
            generate(server, provider, {}, "--shard", "000-of-009")
