"""The asking itself, by the real SDKs against a server on this machine; nobody waits."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from candor.chat import asking
from candor.chat.asking import AskingClient
from candor.chat.connecting import api_jobs, connect
from candor.chat.failures import ChatStop
from candor.chat.keys import MissingKey
from candor.chat.ledger import Ledger
from candor.chat.messages import ChatRequest, ChatSampling, Message
from candor.chat.pricing import worst_case
from candor.config.clients import Anthropic, OpenAI, Price
from candor.errors import CandorError
from tests.chat_server import Answer, Asked, ChatServer

KEY = "sk-planted-0123456789"
PRICE = Price(input=1, output=10)
SAMPLING = ChatSampling(max_tokens=100)


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    monkeypatch.chdir(tmp_path)  # there is no .env


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The seconds that a client would have waited."""
    found: list[float] = []

    async def wait(seconds: float, stopping: asyncio.Event) -> None:
        found.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(asking, "wait", wait)
    yield found


def config(server: ChatServer, provider: str, **keys: Any) -> OpenAI | Anthropic:
    keys = {"model": "m", "service": "test", "key_variable": "PLANTED_KEY", "price": PRICE, "timeout_s": 5, **keys}
    if provider == "openai":
        return OpenAI(provider="openai", base_url=f"{server.url}/v1", **keys)
    return Anthropic(provider="anthropic", base_url=server.url, **keys)


def asked(*texts: str, **keys: Any) -> list[ChatRequest]:
    return [ChatRequest((Message("user", text),), SAMPLING, **keys) for text in texts]


def rows(n: int) -> list[ChatRequest]:
    return asked(*(f"row {i}" for i in range(n)))


def echo(request: Asked) -> Answer:
    return Answer(f"you said {request.text}", tokens_in=10, tokens_out=5)


def first(*faults: str) -> Callable[[Asked], Answer | str]:
    """Meets each content with some faults, one after the other, before it is answered."""
    return lambda request: faults[request.seen] if request.seen < len(faults) else echo(request)


def sent(server: ChatServer) -> int:
    return sum(count.asked for count in server.counts.values())


def test_completions_come_in_the_order_of_their_requests(provider: str, tmp_path: Path) -> None:
    heard: list[int] = []
    with ChatServer(echo, key=KEY) as server:
        client = connect(config(server, provider), budget=None, cache=tmp_path)
        found = client.complete(rows(30), heard.append)
        assert server.most_at_once <= 16
    assert [completion.text for completion in found] == [f"you said row {i}" for i in range(30)]
    assert {(each.status, each.attempts, each.tokens_in, each.usd, each.cached) for each in found} == {
        ("ok", 1, 10, 6e-5, False)
    }
    assert heard == list(range(1, 31))


def test_a_completed_reply_is_never_asked_for_again_not_even_for_a_key(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChatServer(echo, key=KEY) as server:
        client = connect(config(server, provider), budget=None, cache=tmp_path)
        before = client.complete(rows(5))
        monkeypatch.delenv("PLANTED_KEY")
        again = client.complete(rows(5))
        assert sent(server) == 5
        with pytest.raises(MissingKey, match="PLANTED_KEY"):
            client.complete(rows(6))
    assert again == [completion._replace(cached=True) for completion in before]


def test_identical_requests_are_asked_once_and_paid_once(tmp_path: Path) -> None:
    heard: list[int] = []
    with ChatServer(echo, key=KEY) as server:
        client = connect(config(server, "openai"), budget=None, cache=tmp_path)
        found = client.complete(asked("a", "b", "a", "a"), heard.append)
        assert sent(server) == 2
        assert [each.usd for each in client.complete(asked("a", "b", "a", "a"))] == [each.usd for each in found]
    assert [each.text for each in found] == ["you said a", "you said b", "you said a", "you said a"]
    assert [(each.attempts, each.usd) for each in found] == [(1, 6e-5), (1, 6e-5), (0, 0), (0, 0)]
    assert heard[-1] == 4


def test_samples_of_one_request_are_kept_apart(tmp_path: Path) -> None:
    with ChatServer(echo, key=KEY) as server:
        connect(config(server, "openai"), budget=None, cache=tmp_path).complete(asked("a") + asked("a", sample_index=1))
        assert sent(server) == 2


@pytest.mark.parametrize(
    "fault", ["408", "409", "429", "500", "503", "529", "cut-before", "cut-within", "malformed", "hollow"]
)
def test_what_may_heal_is_sent_again_and_counted(provider: str, fault: str, tmp_path: Path, waits: list[float]) -> None:
    with ChatServer(first(fault, fault), key=KEY) as server:
        found = connect(config(server, provider), budget=None, cache=tmp_path).complete(rows(3))
        assert sent(server) == 6 + 3
    assert [(each.status, each.attempts) for each in found] == [("ok", 3)] * 3
    assert len(waits) == 6


def test_a_time_out_is_sent_again(provider: str, tmp_path: Path, waits: list[float]) -> None:
    with ChatServer(first("timeout"), key=KEY) as server:
        client = connect(config(server, provider, timeout_s=0.3), budget=None, cache=tmp_path)
        assert [(each.status, each.attempts) for each in client.complete(rows(2))] == [("ok", 2)] * 2


def test_back_off_grows_from_try_to_try_and_is_never_shorter_than_asked_for(tmp_path: Path, waits: list[float]) -> None:
    faults = first("500", "500", "500", "429-retry-after-ms", "429-retry-after")
    with ChatServer(faults, key=KEY, retry_after=40) as server:
        client = connect(config(server, "openai"), budget=None, cache=tmp_path)
        assert isinstance(client, AskingClient)
        client.draw = lambda least, most: most
        client.complete(rows(1))
    assert waits == [0.5, 1, 2, 40 + 4, 40 + 8]


def test_a_request_that_comes_to_nothing_ends_as_an_error_and_is_asked_again_next_time(
    tmp_path: Path, waits: list[float]
) -> None:
    def reply(request: Asked) -> Answer | str:
        return "500" if request.text == "row 1" and request.seen < 3 else echo(request)

    with ChatServer(reply, key=KEY) as server:
        client = connect(config(server, "openai", retries=2), budget=None, cache=tmp_path)
        found = client.complete(rows(3))
        again = client.complete(rows(3))
    assert [each.status for each in found] == ["ok", "error", "ok"]
    assert found[1] == ("error", "", 3, 0, 0, 0.0, "HTTP 500: something broke", False, None)
    assert [(each.status, each.attempts) for each in again] == [("ok", 1), ("ok", 4), ("ok", 1)]


def test_what_cannot_heal_is_sent_once(provider: str, tmp_path: Path, waits: list[float]) -> None:
    with ChatServer(lambda request: "400" if request.text == "row 0" else echo(request), key=KEY) as server:
        found = connect(config(server, provider), budget=None, cache=tmp_path).complete(rows(2))
        assert sent(server) == 2
    assert [each.status for each in found] == ["error", "ok"]
    assert "this request cannot be read" in (found[0].remark or "")
    assert waits == []


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("401", "key was refused"),
        ("402", "credit"),
        ("403", "may not use"),
        ("404", "`model` or `base_url`"),
        ("quota", "credit"),
        ("credit", "credit"),
    ],
)
def test_what_no_request_can_outlive_stops_the_job_and_keeps_what_is_done(
    provider: str, fault: str, advice: str, tmp_path: Path
) -> None:
    if (provider, fault) == ("anthropic", "quota"):
        pytest.skip("a code of OpenAI's")

    def reply(request: Asked) -> Answer | str:
        return fault if request.text == "row 3" else echo(request)

    with ChatServer(reply, key=KEY) as server:
        client = connect(config(server, provider, concurrency=1), budget=None, cache=tmp_path)
        with pytest.raises(ChatStop, match=advice) as caught:
            client.complete(rows(9))
        assert sent(server) == 4
        assert [each.cached for each in client.complete(rows(3))] == [True] * 3
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_what_is_under_way_when_a_job_stops_is_awaited_and_kept(tmp_path: Path) -> None:
    def reply(request: Asked) -> Answer | str:
        return "401" if request.text == "row 3" else echo(request)

    with ChatServer(reply, key=KEY, latency=0.3) as server:  # but an error comes at once
        client = connect(config(server, "openai", concurrency=4), budget=None, cache=tmp_path)
        with pytest.raises(ChatStop):
            client.complete(rows(9))
        assert sent(server) == 4
        assert [each.cached for each in client.complete(rows(3))] == [True] * 3


def test_a_service_that_nobody_reaches_stops_the_job(provider: str, tmp_path: Path, waits: list[float]) -> None:
    with ChatServer(echo, key=KEY) as server:
        gone = config(server, provider, retries=2, concurrency=4)
    with pytest.raises(ChatStop, match="see that `base_url` is right"):
        connect(gone, budget=None, cache=tmp_path).complete(rows(40))
    assert 2 * 4 <= len(waits) < 40


def test_a_service_that_refuses_every_request_stops_the_job(tmp_path: Path) -> None:
    with ChatServer(lambda request: "400", key=KEY) as server:
        client = connect(config(server, "openai", concurrency=4), budget=None, cache=tmp_path)
        with pytest.raises(ChatStop, match="refuses every request"):
            client.complete(rows(40))
        assert sent(server) <= asking.IN_VAIN + 4


def test_a_service_that_asks_to_wait_for_hours_stops_the_job(tmp_path: Path, waits: list[float]) -> None:
    with ChatServer(first("429-retry-after"), key=KEY, retry_after=7200) as server:
        client = connect(config(server, "openai", concurrency=1), budget=None, cache=tmp_path)
        with pytest.raises(ChatStop, match="wait 120 minutes"):
            client.complete(rows(2))


@pytest.mark.parametrize("fault", ["refusal", "empty", "truncated"])
def test_replies_of_every_kind_are_kept(provider: str, fault: str, tmp_path: Path) -> None:
    with ChatServer(lambda request: fault, key=KEY) as server:
        client = connect(config(server, provider), budget=None, cache=tmp_path)
        found, again = client.complete(rows(1)), client.complete(rows(1))
        assert sent(server) == 1
    assert found[0].status == {"refusal": "refused", "empty": "ok", "truncated": "truncated"}[fault]
    assert (found[0].remark is not None) == (fault == "refusal")
    assert again == [found[0]._replace(cached=True)]


def test_a_budget_is_not_passed_and_what_it_bought_is_kept(provider: str, tmp_path: Path) -> None:
    worst = worst_case(rows(1)[0], PRICE)
    ledger = Ledger(tmp_path / "ledger", worst + 3 * 6e-5)
    with ChatServer(echo, key=KEY) as server:
        client = connect(config(server, provider, concurrency=3), budget=ledger, cache=tmp_path)
        with pytest.raises(ChatStop, match="raise budget_usd"):
            client.complete(rows(9))
        assert sent(server) == 4  # one after the other: there is room for the worst case of one
        assert ledger.spent() == pytest.approx(4 * 6e-5)
        assert server.most_at_once == 1
        more = Ledger(tmp_path / "ledger", 1.0)
        found = connect(config(server, provider), budget=more, cache=tmp_path).complete(rows(9))
        assert sent(server) == 9
    assert more.spent() == pytest.approx(sum(each.usd for each in found))


@pytest.mark.parametrize(("fault", "billed"), [("500", False), ("429", False), ("cut-before", True), ("hollow", True)])
def test_what_may_have_been_billed_counts_as_spent_at_its_worst(
    fault: str, billed: bool, tmp_path: Path, waits: list[float]
) -> None:
    ledger = Ledger(tmp_path / "ledger", 1.0)
    with ChatServer(first(fault), key=KEY) as server:
        connect(config(server, "openai"), budget=ledger, cache=tmp_path).complete(rows(1))
    worst = worst_case(rows(1)[0], PRICE)
    assert ledger.spent() == pytest.approx(6e-5 + (worst if billed else 0))


def test_rates_are_kept(tmp_path: Path, waits: list[float]) -> None:
    with ChatServer(echo, key=KEY) as server:
        client = connect(config(server, "openai", requests_per_minute=0.06), budget=None, jobs=2, cache=tmp_path)
        client.complete(rows(4))
    assert [round(seconds, -1) for seconds in sorted(waits)] == [2000, 4000, 6000]


def test_the_reply_that_another_job_has_got_in_the_meantime_is_taken(tmp_path: Path) -> None:
    with ChatServer(echo, key=KEY) as server:
        client = connect(config(server, "openai", concurrency=1), budget=None, cache=tmp_path)
        other = connect(config(server, "openai"), budget=None, cache=tmp_path)
        meanwhile = iter([lambda: in_a_thread(lambda: other.complete(rows(3)))])
        found = client.complete(rows(3), lambda done: next(meanwhile, lambda: None)())
        assert sent(server) == 3
    assert [each.cached for each in found] == [False, True, True]


def in_a_thread(work: Callable[[], object]) -> None:
    """A job of its own: an event loop runs no other inside."""
    import threading

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_key_that_a_service_sends_back_is_in_no_completion_and_no_file(
    provider: str, tmp_path: Path, waits: list[float]
) -> None:
    def reply(request: Asked) -> Answer | str:
        return "403" if request.text == "row 1" else Answer(f"your key is {KEY}")

    with ChatServer(reply, key=KEY) as server:
        client = connect(config(server, provider, concurrency=1), budget=None, cache=tmp_path)
        assert client.complete(rows(1))[0].text == "your key is [key]"
        assert client.complete(rows(1))[0].text == "your key is [key]"
        with pytest.raises(ChatStop, match=r"the key \[key\] may not use"):
            client.complete(rows(2))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3  # a reply, and the attempts of both
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_an_error_of_our_own_ends_the_job_and_keeps_what_is_under_way(tmp_path: Path) -> None:
    def finished(done: int) -> None:
        raise OSError("the terminal is gone")

    with ChatServer(echo, key=KEY) as server:
        client = connect(config(server, "openai", concurrency=3), budget=None, cache=tmp_path)
        with pytest.raises(OSError, match="terminal"):
            client.complete(rows(9), finished)
        answered = sent(server)
        assert sum(each.cached for each in client.complete(rows(9))) == answered


def test_a_request_that_no_service_would_take_is_refused_before_any_is_sent(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    begun = (Message("user", "a"), Message("assistant", "{"))
    with ChatServer(echo, key=KEY) as server:
        gpt = connect(config(server, "openai"), budget=None, cache=tmp_path)
        claude = connect(config(server, "anthropic"), budget=None, cache=tmp_path)
        with pytest.raises(ChatStop, match="does not take"):
            gpt.complete([*rows(1), ChatRequest(begun, SAMPLING)])
        with pytest.raises(ChatStop, match="exclude each other"):
            claude.complete([*rows(1), ChatRequest(begun, SAMPLING, schema=schema)])
        with pytest.raises(ChatStop, match="white space"):
            claude.complete([ChatRequest((begun[0], Message("assistant", "A: ")), SAMPLING)])
        with pytest.raises(ChatStop, match="no message to answer"):
            gpt.complete([ChatRequest((Message("system", "x"),), SAMPLING)])
        assert sent(server) == 0
        assert claude.complete([ChatRequest(begun, SAMPLING)])[0].status == "ok"


@pytest.mark.parametrize("structured", ["json_schema", "tool"])
def test_a_schema_holds_the_reply(structured: str, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"score": {"type": "integer"}},
        "required": ["score"],
        "additionalProperties": False,
    }
    with ChatServer(key=KEY) as server:
        client = connect(config(server, "anthropic", structured=structured), budget=None, cache=tmp_path)
        found = client.complete(asked("rate it", schema=schema))
    assert isinstance(json.loads(found[0].text)["score"], int)


def test_addresses_in_the_environment_do_not_lead_requests_astray(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ChatServer(echo, key=KEY) as server:
        assert connect(config(server, provider), budget=None, cache=tmp_path).complete(rows(1))[0].status == "ok"


def test_jobs_at_once_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANDOR_API_JOBS", raising=False)
    assert api_jobs() == 1
    monkeypatch.setenv("CANDOR_API_JOBS", "4")
    assert api_jobs() == 4
    monkeypatch.setenv("CANDOR_API_JOBS", "many")
    with pytest.raises(CandorError, match="CANDOR_API_JOBS is 'many'"):
        api_jobs()
