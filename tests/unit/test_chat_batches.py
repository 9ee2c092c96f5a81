"""Batch mode: the replies of live mode at half the price, and no batch made twice, whatever becomes of its maker."""

import inspect
import itertools
import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from candor.chat import batches
from candor.chat.batch_providers import anthropic, openai
from candor.chat.connecting import connect
from candor.chat.failures import ChatStop
from candor.chat.intents import Intent, Intents
from candor.chat.ledger import Ledger
from candor.chat.messages import Client, Completion
from candor.chat.replies import Replies
from candor.config.clients import RemoteClient
from tests.chat_job import requests_of
from tests.chat_jobs import KEY, PROVIDERS, Job, client_of, paid_again
from tests.chat_server import Answer, Asked, ChatServer

ROWS = 30
DISTINCT = 27


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at batches often, and take the service's word at once that a batch is not there."""
    monkeypatch.setattr(batches, "FIRST_POLL", 0.001)
    monkeypatch.setattr(batches, "LONGEST_POLL", 0.01)
    monkeypatch.setattr(batches, "GRACE", 0.0)
    monkeypatch.setenv("PLANTED_KEY", KEY)


def connected(server: ChatServer, provider: str, cache: Path, budget: Ledger | None = None, **keys: Any) -> Client:
    """A client in batch mode."""
    config: RemoteClient = TypeAdapter(RemoteClient).validate_python(
        client_of(server, provider, **{"mode": "batch", "retries": 3, **keys})
    )
    return connect(config, budget=budget, jobs=1, cache=cache)


def named(asked: Asked) -> Answer | str:
    """A reply that names its request."""
    return Answer(f"about {asked.text}", tokens_in=1000, tokens_out=100)


def texts(found: Sequence[Completion]) -> list[str]:
    return [each.text for each in found]


EXPECTED = [f"about {request.messages[0].content}" for request in requests_of(ROWS)]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_batch_gives_every_row_its_reply_in_order_at_half_the_price(provider: str, tmp_path: Path) -> None:
    done: list[int] = []
    with ChatServer(named, key=KEY) as server:
        found = connected(server, provider, tmp_path).complete(requests_of(ROWS), done.append)
        live = connected(server, provider, tmp_path, mode="live").complete(requests_of(ROWS))

    assert texts(found) == EXPECTED and {each.status for each in found} == {"ok"}
    assert len(server.batches) == 1 and server.received == []
    assert [each.attempts for each in found[:10]] == [1] * 9 + [0]
    assert sum(each.usd for each in found) == pytest.approx(DISTINCT * (1000 * 1 + 100 * 2) / 1e6 / 2)
    assert done[-1] == ROWS and done == sorted(done)
    assert [each._replace(cached=False) for each in live] == found and all(each.cached for each in live)
    assert list((tmp_path / "batches").rglob("*.json")) == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_rows_that_errored_or_expired_are_asked_again_in_a_next_batch(provider: str, tmp_path: Path) -> None:
    with ChatServer(named, key=KEY, rows={"errored": 0.2, "expired": 0.2}, seed=4) as server:
        found = connected(server, provider, tmp_path, retries=12).complete(requests_of(ROWS))

    assert texts(found) == EXPECTED and {each.status for each in found} == {"ok"}
    sizes = [len(batch.rows) for batch in server.batches.values()]
    assert len(sizes) > 2 and sizes[0] == DISTINCT and sizes == sorted(sizes, reverse=True)
    assert paid_again(server.counts) == 0
    assert sum(each.attempts for each in found) == sum(sizes)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_rows_that_cannot_be_answered_end_with_an_error(provider: str, tmp_path: Path) -> None:
    ends = {"row 3": "400", "row 5": "529"}
    with ChatServer(lambda asked: ends.get(asked.text) or named(asked), key=KEY) as server:
        found = connected(server, provider, tmp_path, retries=2).complete(requests_of(ROWS))

    assert [i for i, each in enumerate(found) if each.status == "error"] == [3, 5]
    assert (found[3].attempts, found[5].attempts) == (1, 3), "only what may heal is asked again"
    assert "cannot be read" in (found[3].remark or "") and "Overloaded" in (found[5].remark or "")
    assert len(server.batches) == 3


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("seed", range(3))
def test_calls_that_fail_are_made_again_and_no_batch_is_made_twice(provider: str, seed: int, tmp_path: Path) -> None:
    shares = dict.fromkeys(("429", "429-retry-after", "500", "529", "timeout", "cut-before", "cut-within"), 0.05)
    shares["malformed"] = 0.05
    with ChatServer(named, key=KEY, faults_on_batches=shares, batch_polls=3, seed=seed) as server:
        found = connected(server, provider, tmp_path, retries=12, timeout_s=0.2).complete(requests_of(ROWS))

    assert texts(found) == EXPECTED
    assert len(server.batches) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("lost", ["cut-before", "cut-within", "timeout", "malformed", "hollow"])
def test_a_batch_whose_maker_got_no_answer_is_found_at_the_service(provider: str, lost: str, tmp_path: Path) -> None:
    with ChatServer(named, key=KEY, batch_polls=2) as server:
        server.faults_on_making = [lost]
        found = connected(server, provider, tmp_path, timeout_s=0.2).complete(requests_of(ROWS))

    assert texts(found) == EXPECTED and len(server.batches) == 1


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("moment", ["made", "polling"])
def test_a_killed_job_finds_its_batch_again(provider: str, moment: str, tmp_path: Path) -> None:
    with ChatServer(key=KEY, rows={"errored": 0.1}, seed=2) as server:
        undisturbed = Job(tmp_path / "undisturbed", client_of(server, provider, mode="batch")).run()
        plain = [len(batch.rows) for batch in server.batches.values()]
    with ChatServer(key=KEY, rows={"errored": 0.1}, seed=2) as server:
        job = Job(tmp_path / "killed", client_of(server, provider, mode="batch"))
        server.held = True
        process = job.start()
        if moment == "made":
            server.on_batch = lambda _: process.send_signal(signal.SIGKILL)
        else:
            looked = threading.Event()
            server.on_call = lambda call: looked.set() if call.startswith("GET") else None
            assert looked.wait(60)
            process.send_signal(signal.SIGKILL)
        killed = job.end(process)
        files = [json.loads(path.read_bytes()) for path in (job.folder / "cache" / "batches").rglob("*.json")]
        server.held, server.on_batch = False, None
        ended = job.run()

    assert killed.code == -signal.SIGKILL and killed.rows is None
    assert [file["id"] is None for file in files] == [moment == "made"]
    assert ended.code == 0 and ended.rows == undisturbed.rows, ended.said
    assert [len(batch.rows) for batch in server.batches.values()] == plain
    assert paid_again(server.counts) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file() and KEY in path.read_text(errors="replace")] == []


class Killed(BaseException):
    """What stands in for SIGKILL within this process."""


STEPS: tuple[tuple[object, str], ...] = (
    (Intents, "write"),
    (Replies, "keep"),
    (Replies, "sending"),
    (Ledger, "reserve"),
    (Ledger, "settle"),
    (anthropic, "create"),
    (anthropic, "recent"),
    (anthropic, "look"),
    (anthropic, "results"),
    (openai, "create"),
    (openai, "recent"),
    (openai, "look"),
    (openai, "results"),
)


class Killer:
    """Ends a job before or after any of its steps that leave a trace: `moment` counts them, None for never."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment: int | None = None
        self.passed = 0
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self.moment:
            raise Killed

    def _watched(self, step: Callable[..., Any]) -> Callable[..., Any]:
        async def called(*given: Any) -> Any:
            self._pass()
            found = await step(*given)
            self._pass()
            return found

        def done(*given: Any) -> Any:
            self._pass()
            found = step(*given)
            self._pass()
            return found

        return called if inspect.iscoroutinefunction(step) else done


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_job_that_ends_at_any_step_makes_no_batch_twice_and_keeps_its_budget(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killer, rows = Killer(monkeypatch), requests_of(4)
    killed = True
    for moment in itertools.count(1):
        if not killed:
            break
        with ChatServer(lambda asked: Answer(f"about {asked.text}"), key=KEY) as server:
            folder = tmp_path / str(moment)
            ledger = Ledger(folder / "ledger", 1.0)
            client = connected(server, provider, folder, budget=ledger)
            killer.moment, killer.passed = moment, 0
            try:
                client.complete(rows)
                killed = False
            except Killed:
                killer.moment = None
            found = client.complete(rows)

        assert texts(found) == EXPECTED[:4] and len(server.batches) == 1, f"killed at step {moment}"
        assert ledger.spent() >= sum(each.usd for each in found) - 1e-9, f"killed at step {moment}"
    assert moment > 20


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_batch_that_was_meant_and_never_made_is_made_anew(provider: str, tmp_path: Path) -> None:
    with ChatServer(named, key=KEY) as server:
        client: Any = connected(server, provider, tmp_path)
        identities = {asked.identity: 0.1 for asked, _ in batches.asked_once(client.config, requests_of(ROWS))}
        intents = Intents(tmp_path / "batches", provider, "test")
        with intents.alone():
            intents.write(Intent("lost", 1.0, len(identities), identities, None))
        found = client.complete(requests_of(ROWS))

    assert texts(found) == EXPECTED and len(server.batches) == 1
    assert intents.all() == []


def test_a_batch_of_someone_else_that_looks_alike_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    with ChatServer(named, key=KEY) as server:
        connected(server, "anthropic", tmp_path / "others", model="another").complete(requests_of(ROWS))
        client: Any = connected(server, "anthropic", tmp_path)
        identities = {asked.identity: 0.1 for asked, _ in batches.asked_once(client.config, requests_of(ROWS))}
        intents = Intents(tmp_path / "batches", "anthropic", "test")
        with intents.alone():
            intents.write(Intent("lost", 1.0, len(identities), identities, None))
        found = client.complete(requests_of(ROWS))

    assert texts(found) == EXPECTED and len(server.batches) == 2


@pytest.mark.parametrize("provider", PROVIDERS)
def test_two_jobs_that_ask_the_same_share_a_batch(provider: str, tmp_path: Path) -> None:
    found: dict[int, list[Completion]] = {}
    with ChatServer(named, key=KEY, batch_polls=4) as server:

        def job(number: int) -> None:
            rows = requests_of(ROWS)[5 * number :]
            found[number] = connected(server, provider, tmp_path).complete(rows)

        threads = [threading.Thread(target=job, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert texts(found[0]) == EXPECTED and texts(found[1]) == EXPECTED[5:]
    assert {count.asked for count in server.counts.values()} == {1}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_more_rows_than_a_batch_holds_make_several(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr({"anthropic": anthropic, "openai": openai}[provider], "MOST_ROWS", 10)
    with ChatServer(named, key=KEY) as server:
        found = connected(server, provider, tmp_path).complete(requests_of(ROWS))

    assert texts(found) == EXPECTED
    assert [len(batch.rows) for batch in server.batches.values()] == [10, 10, 7]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_budget_is_never_passed_and_gets_back_what_was_not_used(provider: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", 0.0011)
    seen: list[float] = []
    with ChatServer(lambda asked: Answer("yes", tokens_in=10, tokens_out=1), key=KEY) as server:
        server.on_batch = lambda _: seen.append(ledger.spent())
        found = connected(server, provider, tmp_path, budget=ledger).complete(requests_of(ROWS))
        with pytest.raises(ChatStop, match="budget"):
            connected(
                server, provider, tmp_path, budget=ledger, model="dear", price={"input": 100, "output": 100}
            ).complete(requests_of(ROWS))

    assert {each.status for each in found} == {"ok"}
    assert len(seen) == len(server.batches) > 1, "where not all rows fit, batches follow each other"
    assert max(seen) <= 0.0011
    assert ledger.spent() == pytest.approx(sum(each.usd for each in found)) == pytest.approx(DISTINCT * 12e-6 / 2)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_batch_that_was_cancelled_stops_the_job_and_is_asked_anew_by_the_next(provider: str, tmp_path: Path) -> None:
    with ChatServer(named, key=KEY) as server:

        def cancel(id: str) -> None:
            server.batches[id].cancelled = True
            server.on_batch = None

        server.on_batch = cancel
        with pytest.raises(ChatStop, match="cancelled"):
            connected(server, provider, tmp_path).complete(requests_of(ROWS))
        found = connected(server, provider, tmp_path).complete(requests_of(ROWS))

    assert texts(found) == EXPECTED and len(server.batches) == 2


def test_a_batch_that_is_refused_since_too_much_waits_is_made_again_and_any_other_stops_the_job(tmp_path: Path) -> None:
    with ChatServer(named, key=KEY) as server:
        server.batches_refused = ["token_limit_exceeded"]
        found = connected(server, "openai", tmp_path / "one").complete(requests_of(ROWS))
        server.batches_refused = ["invalid_json_line"]
        with pytest.raises(ChatStop, match="invalid_json_line"):
            connected(server, "openai", tmp_path / "two").complete(requests_of(ROWS))

    assert texts(found) == EXPECTED and len(server.batches) == 3


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_refused_key_stops_the_job_without_naming_it(provider: str, tmp_path: Path) -> None:
    with ChatServer(named, key="another-key") as server, pytest.raises(ChatStop, match="key was refused") as stop:
        connected(server, provider, tmp_path).complete(requests_of(ROWS))

    assert KEY not in str(stop.value) and "[key]" in str(stop.value)
    assert list((tmp_path / "batches").rglob("*.json")) == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_batch_that_the_service_does_not_know_is_not_paid_for_anew_by_itself(provider: str, tmp_path: Path) -> None:
    with ChatServer(named, key=KEY) as server:
        server.held = True
        client: Any = connected(server, provider, tmp_path)
        identities = {asked.identity: 0.1 for asked, _ in batches.asked_once(client.config, requests_of(ROWS))}
        intents = Intents(tmp_path / "batches", provider, "test")
        with intents.alone():
            intents.write(Intent("gone", 1.0, len(identities), identities, None, id="batch_of_another_key"))
        with pytest.raises(ChatStop, match="batch_of_another_key"):
            client.complete(requests_of(ROWS))

    assert server.batches == {} and Counter(server.calls).keys() == {server.calls[0]}


def test_replies_of_a_killed_collection_are_settled_by_the_next_job(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", 1.0)
    with ChatServer(named, key=KEY) as server:
        client: Any = connected(server, "anthropic", tmp_path, budget=ledger)
        client.complete(requests_of(10))
        rows = {asked.identity: 0.01 for asked, _ in batches.asked_once(client.config, requests_of(10))}
        assert ledger.reserve(sum(rows.values()))
        intents = Intents(tmp_path / "batches", "anthropic", "test")
        with intents.alone():
            intents.write(Intent("killed", 1.0, len(rows), rows, str(ledger.path), id="msgbatch_0000"))
        found = client.complete(requests_of(ROWS))

    assert texts(found) == EXPECTED and intents.all() == []
    twice = sum(each.usd for each in found) + sum(each.usd for each in found[:10])  # the same replies, paid in two ways
    assert ledger.spent() == pytest.approx(twice)
    assert paid_again(server.counts) == 0
