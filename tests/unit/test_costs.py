"""What jobs that ask a server would cost: counted from their files and the cache, before anything is sent."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from candor import tables
from candor.chat.connecting import connect
from candor.chat.pricing import estimated_input
from candor.config.clients import RemoteClient, tracked
from candor.config.judges import Chat
from candor.config.samplings import Sampling
from candor.costs import Cost, Job, costs
from candor.errors import CandorError
from candor.generations.by_client import Teacher
from candor.generations.responding import items_of, respond
from candor.judges import chat, judging
from candor.judges.templates import read_template
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from tests.chat_server import ChatServer

SHARD = "000-of-001"
MAX_TOKENS = 100
JUDGE = {
    "kind": "chat",
    "title": "Judge",
    "client": "service",
    "template": "question.txt",
    "reply": {"verdict": {"choices": ["yes", "no"]}},
    "max_tokens": MAX_TOKENS,
}
PRICE = {"input": 10.0, "output": 1000.0}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a template, and an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDOR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "question.txt").write_text("[system]\nYou judge.\n[user]\n{answer}\n\nIs it so?\n\n{reply}\n")
    return tmp_path


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """A service, for what is asked before the costs are told."""
    with ChatServer(key=None) as server:
        yield server


def client(**changes: Any) -> RemoteClient:
    """The client that all jobs name; its address bears on nothing."""
    entry = {"provider": "openai", "model": "m", "service": "s", "key_variable": None, "price": PRICE, **changes}
    config: RemoteClient = TypeAdapter(RemoteClient).validate_python(entry)
    return config


def job(data: Path, config: RemoteClient | None = None, **changes: Any) -> Job:
    """A judge's job on a dataset, or a teacher's where a sampling but no generations are given."""
    config = config or client()
    entry = config.model_dump(mode="json")
    asks = {"samplings": changes["sampling"]} if changes.get("who") == "teacher" else {"judges": JUDGE}
    given: dict[str, Any] = {
        "who": "judge",
        "client": "service",
        "spec": {**asks, "clients": tracked(config)},
        "pace": {key: value for key, value in entry.items() if key not in tracked(config)} | {"budget_usd": 1},
        "data": data,
        "shard": SHARD,
    }
    return Job(**{**given, **changes})


def dataset(path: Path, said: Mapping[str, str | None]) -> Path:
    """Dialogues of a question and, where there is one, an answer."""
    rows: list[dict[str, Any]] = [
        {
            "example_id": id,
            "group_id": id,
            "split": "test",
            "messages": [{"role": "user", "content": f"Tell me of {id}."}]
            + ([] if answer is None else [{"role": "assistant", "content": answer}]),
            "label": None,
            "rating": None,
            "attributes": json.dumps({}),
            "truncated": False,
        }
        for id, answer in said.items()
    ]
    tables.write(path, rows, DATASET, {})
    return path


def generations(path: Path, said: Mapping[str, str]) -> Path:
    """Answers to a dataset's questions."""
    rows = [
        {
            "example_id": id,
            "sample_index": 0,
            "text": answer,
            "token_ids": [],
            "reasoning": None,
            "answer": answer,
            "status": "ok",
            "prompt_tokens": 1,
            "new_tokens": 1,
            "seed": 0,
        }
        for id, answer in said.items()
    ]
    tables.write(path, rows, GENERATION, {})
    return path


def label(data: Path, config: RemoteClient) -> None:
    """What the labelling job would do."""
    judge = Chat.model_validate(JUDGE)
    texts = judging.last_turns(tables.read(data, DATASET), SHARD)
    chat.judge(texts, judge, connect(config, budget=None), read_template(Path("question.txt"), judge))


def only(found: list[Cost]) -> Cost:
    (cost,) = found
    return cost


class TestLabels:
    def test_requests_tokens_and_dollars_of_what_was_never_asked(self, tmp_path: Path) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": "one", "b": "two", "c": "three"})
        cost = only(costs([job(data)]))
        assert (cost.who, cost.client, cost.requests, cost.missing) == ("judge", "service", 3, 3)
        judge = Chat.model_validate(JUDGE)
        texts = judging.last_turns(tables.read(data, DATASET), SHARD)
        asked = chat.requests_of(texts, judge, read_template(Path("question.txt"), judge))
        assert cost.tokens_in == sum(estimated_input(request) for request in asked if request)
        assert cost.tokens_out == 3 * MAX_TOKENS
        assert cost.usd == pytest.approx((cost.tokens_in * 10 + cost.tokens_out * 1000) / 1e6)
        assert (cost.guessed, cost.unknown) == (0, 0)

    def test_batch_mode_costs_its_share(self, tmp_path: Path) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": "one"})
        live, batch = (only(costs([job(data, client(mode=mode))])) for mode in ("live", "batch"))
        assert batch.usd == pytest.approx(live.usd / 2)

    def test_a_text_that_stands_twice_is_asked_once(self, tmp_path: Path) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": "the same", "b": "the same", "c": "another"})
        assert only(costs([job(data)])).requests == 2

    def test_shards_and_datasets_of_a_judge_are_one_line_and_share_what_they_ask(self, tmp_path: Path) -> None:
        one = dataset(tmp_path / "1.parquet", {"a": "one", "b": "two"})
        other = dataset(tmp_path / "2.parquet", {"c": "two", "d": "three"})
        jobs = [job(one, shard="000-of-002"), job(one, shard="001-of-002"), job(other)]
        assert only(costs(jobs)).missing == 3

    def test_judges_come_in_the_order_of_their_jobs(self, tmp_path: Path) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": "one"})
        found = costs([job(data, who="second"), job(data, who="first"), job(data, who="second")])
        assert [cost.who for cost in found] == ["second", "first"]

    def test_nothing_is_asked_of_what_the_cache_holds(self, tmp_path: Path, server: ChatServer) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": "one", "b": "two"})
        more = dataset(tmp_path / "E.parquet", {"a": "one", "b": "two", "c": "three"})
        label(data, client(base_url=f"{server.url}/v1"))
        done = only(costs([job(data)]))
        assert (done.requests, done.missing, done.tokens_in, done.tokens_out, done.usd) == (2, 0, 0, 0, 0)
        assert (only(costs([job(more)])).requests, only(costs([job(more)])).missing) == (3, 1)
        assert len(server.received) == 2, "telling costs sends nothing"

    def test_another_model_has_to_be_asked_anew(self, tmp_path: Path, server: ChatServer) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": "one"})
        label(data, client(base_url=f"{server.url}/v1"))
        assert only(costs([job(data, client(model="n"))])).missing == 1

    def test_a_dataset_that_is_not_made_is_counted_as_such(self, tmp_path: Path) -> None:
        made = dataset(tmp_path / "D.parquet", {"a": "one"})
        cost = only(costs([job(tmp_path / "E.parquet"), job(made)]))
        assert (cost.unknown, cost.requests) == (1, 1)

    def test_no_job_costs_nothing(self) -> None:
        assert costs([]) == []

    def test_a_template_that_is_not_there_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "question.txt").unlink()
        with pytest.raises(CandorError, match=r"question\.txt: no such file"):
            costs([job(dataset(tmp_path / "D.parquet", {"a": "one"}))])


class TestVerdicts:
    SAMPLING = Sampling(max_new_tokens=50, n=2).model_dump(mode="json")

    def test_generations_that_are_there_are_read(self, tmp_path: Path) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": None, "b": None})
        said = generations(tmp_path / "G.parquet", {"a": "one", "b": "one"})
        cost = only(costs([job(data, generations=[said], sampling=self.SAMPLING)]))
        assert (cost.requests, cost.missing, cost.guessed) == (1, 1, 0)

    def test_those_that_are_not_are_taken_for_the_longest_and_each_different(self, tmp_path: Path) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": None, "b": None})
        missing = tmp_path / "G.parquet"
        cost = only(costs([job(data, generations=[missing], sampling=self.SAMPLING)]))
        assert (cost.requests, cost.missing, cost.guessed) == (4, 4, 4)
        short = only(costs([job(data, generations=[generations(missing, {"a": "one", "b": "two"})])]))
        assert cost.tokens_in / 4 > short.tokens_in / 2 + 40

    @pytest.mark.parametrize("reasoning", ["none", "native", "prompted"])
    @pytest.mark.parametrize("reads", ["answer", "reasoning", "code", "conversation"])
    def test_guesses_have_every_part_that_a_judge_may_read_each_their_own(
        self, folder: Path, reads: str, reasoning: str
    ) -> None:
        if (reads, reasoning) == ("reasoning", "none"):
            pytest.skip("there is none")
        (folder / "question.txt").write_text(f"[system]\nYou judge.\n[user]\n{{{reads}}}\n\n{{reply}}\n")
        data = dataset(folder / "D.parquet", {"a": None, "b": None})
        sampling = Sampling(reasoning=reasoning, max_new_tokens=9).model_dump(mode="json")
        spec = {"judges": {**JUDGE, "reads": reads}, "clients": tracked(client())}
        found = costs([job(data, spec=spec, generations=[folder / "G.parquet"], sampling=sampling)])
        assert only(found).guessed == 2


class TestTeachers:
    def teach(self, data: Path, sampling: dict[str, Any]) -> Cost:
        return only(costs([job(data, who="teacher", sampling=sampling)]))

    @pytest.mark.parametrize(("reasoning", "requests"), [("none", 6), ("prompted", 12)])
    def test_requests_are_counted_by_sample_and_turn(self, tmp_path: Path, reasoning: str, requests: int) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": None, "b": None, "c": None})
        sampling = Sampling(n=2, max_new_tokens=8, max_reasoning_tokens=4, reasoning=reasoning)
        cost = self.teach(data, sampling.model_dump(mode="json"))
        assert (cost.requests, cost.missing) == (requests, requests)
        assert cost.tokens_out == 6 * (8 + (4 if reasoning == "prompted" else 0))

    def test_turns_that_are_cached_lead_to_the_next_ones(self, tmp_path: Path, server: ChatServer) -> None:
        data = dataset(tmp_path / "D.parquet", {"a": None, "b": None})
        sampling = Sampling(reasoning="prompted", max_new_tokens=8)
        config = client(base_url=f"{server.url}/v1")
        respond(Teacher(connect(config, budget=None), sampling, "openai"), sampling, items_of(data, SHARD, 1))
        cost = self.teach(data, sampling.model_dump(mode="json"))
        assert (cost.requests, cost.missing) == (4, 0)


def test_a_budget_and_rates_bear_on_nothing(tmp_path: Path) -> None:
    data = dataset(tmp_path / "D.parquet", {"a": "one"})
    change: Callable[..., Cost] = lambda **changes: only(costs([job(data, client(**changes))]))  # noqa: E731
    assert change(concurrency=1, requests_per_minute=1, timeout_s=1, retries=0) == change()
