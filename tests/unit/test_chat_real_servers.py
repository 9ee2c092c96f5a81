"""The official SDKs, through our clients, against real servers on this machine: both protocols, over HTTP."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from candor.chat.connecting import connect
from candor.chat.messages import ChatRequest, ChatSampling, Client, Message
from candor.config.clients import Anthropic, OpenAI
from tests import llama_server
from tests.chat_server import Answer, Asked, ChatServer
from tests.llama_server import LlamaServer

ROWS = 500 if os.environ.get("CANDOR_TEST_FULL") else 40
FREE = {"input": 0, "output": 0}
needs_llama = pytest.mark.skipif(not llama_server.installed(), reason=llama_server.MISSING)


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaServer]:
    with LlamaServer() as server:
        yield server


@pytest.fixture
def anthropic(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with ChatServer() as server:
        assert server.key is not None
        monkeypatch.setenv("ANTHROPIC_API_KEY", server.key)
        yield server


def over_llama(server: LlamaServer, cache: Path, **keys: Any) -> Client:
    """A client of the embedded model."""
    config = {"provider": "openai", "model": "smollm2", "base_url": f"{server.url}/v1", "key_variable": None}
    return connect(
        OpenAI.model_validate({**config, "service": "llama", "concurrency": 8, "price": FREE, **keys}),
        budget=None,
        jobs=1,
        cache=cache,
    )


def over_anthropic(server: ChatServer, cache: Path, **keys: Any) -> Client:
    """A client of the server that follows the shapes of Anthropic's API."""
    config = {"provider": "anthropic", "model": "claude-test", "base_url": server.url, "service": "test"}
    priced = {"input": 3, "output": 15}
    return connect(
        Anthropic.model_validate({**config, "concurrency": 8, "price": priced, **keys}),
        budget=None,
        jobs=1,
        cache=cache,
    )


def graded(row: int, **sampling: Any) -> ChatRequest:
    """A request whose reply must name its row, so that no two replies can be mistaken for each other."""
    schema = {
        "type": "object",
        "properties": {
            "row": {"type": "string", "enum": [f"row {row}"]},
            "stakes": {"type": "integer", "enum": list(range(1, 11))},
        },
        "required": ["row", "stakes"],
        "additionalProperties": False,
    }
    messages = (
        Message("system", "You grade how much is at stake, in JSON."),
        Message("user", f"Someone asks how to cook rice. Row and stakes? Row {row}"),
    )
    return ChatRequest(messages, ChatSampling(max_tokens=64, **sampling), schema=schema)


def said(*turns: tuple[str, str], **sampling: Any) -> ChatRequest:
    """A request for a free answer."""
    return ChatRequest(tuple(Message(*turn) for turn in turns), ChatSampling(**sampling))


@pytest.mark.slow
@needs_llama
def test_a_model_behind_the_openai_protocol_answers_every_row_in_order_and_is_asked_only_once(
    llama: LlamaServer, tmp_path: Path
) -> None:
    requests = [graded(row) for row in range(ROWS)]
    done: list[int] = []

    found = over_llama(llama, tmp_path).complete(requests, done.append)

    replies = [json.loads(completion.text) for completion in found]
    assert [reply["row"] for reply in replies] == [f"row {row}" for row in range(ROWS)]
    assert all(1 <= reply["stakes"] <= 10 for reply in replies)
    assert all(each.status == "ok" and each.attempts == 1 and not each.cached for each in found)
    assert all(each.tokens_in > 10 and each.tokens_out > 5 for each in found)
    assert done[-1] == ROWS and done == sorted(done)
    nobody = over_llama(llama, tmp_path, base_url="http://127.0.0.1:9/v1")
    again = nobody.complete(requests)
    assert [each._replace(cached=False) for each in again] == found and all(each.cached for each in again)


@needs_llama
def test_a_model_behind_the_openai_protocol_is_cut_off_at_the_longest_reply(llama: LlamaServer, tmp_path: Path) -> None:
    found = over_llama(llama, tmp_path).complete([said(("user", "Tell me a long story."), max_tokens=4)])[0]

    assert found.status == "truncated" and found.text and found.tokens_out == 4


@needs_llama
def test_a_model_behind_the_openai_protocol_goes_on_from_a_prefill(llama: LlamaServer, tmp_path: Path) -> None:
    begun = "The capital of France is"
    request = said(("user", "What is the capital of France?"), ("assistant", begun), max_tokens=8)

    found = over_llama(llama, tmp_path, prefill=True).complete([request])[0]

    assert "Paris" in found.text and not found.text.startswith(begun)


@needs_llama
def test_samples_of_a_model_behind_the_openai_protocol_differ_and_are_kept_apart(
    llama: LlamaServer, tmp_path: Path
) -> None:
    sampling = ChatSampling(temperature=1.5, max_tokens=24, seed=7)
    messages = (Message("user", "Invent a name for a ship, and say why."),)
    requests = [ChatRequest(messages, sampling, sample_index=index) for index in range(4)]

    found = over_llama(llama, tmp_path).complete(requests)

    assert len({each.text for each in found}) > 1
    assert [each.text for each in over_llama(llama, tmp_path).complete(requests)] == [each.text for each in found]


def test_a_server_of_the_anthropic_protocol_answers_every_row_in_order_and_is_asked_only_once(
    anthropic: ChatServer, tmp_path: Path
) -> None:
    requests = [graded(row) for row in range(ROWS)]

    found = over_anthropic(anthropic, tmp_path).complete(requests)

    assert [json.loads(each.text)["row"] for each in found] == [f"row {row}" for row in range(ROWS)]
    assert all(each.status == "ok" and each.attempts == 1 and not each.cached for each in found)
    assert all(each.usd == pytest.approx((3 * each.tokens_in + 15 * each.tokens_out) / 1e6) for each in found)
    assert anthropic.most_at_once <= 8
    again = over_anthropic(anthropic, tmp_path).complete(requests)
    assert [each._replace(cached=False) for each in again] == found and all(each.cached for each in again)
    assert len(anthropic.received) == ROWS


def test_a_server_of_the_anthropic_protocol_gets_what_its_api_documents(anthropic: ChatServer, tmp_path: Path) -> None:
    sampling: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 33, "stop": ("END",)}
    request = said(("system", "Be brief."), ("user", "Hello"), ("assistant", "Well,"), **sampling)

    over_anthropic(anthropic, tmp_path, extra_body={"metadata": {"user_id": "u"}}).complete([request])

    body = anthropic.received[0].body
    assert body["model"] == "claude-test" and body["max_tokens"] == 33
    assert body["temperature"] == 0.5 and body["top_p"] == 0.9 and body["stop_sequences"] == ["END"]
    assert body["system"] == "Be brief." and body["metadata"] == {"user_id": "u"}
    assert [(turn["role"], turn["content"]) for turn in body["messages"]] == [("user", "Hello"), ("assistant", "Well,")]


@pytest.mark.parametrize("structured", ["json_schema", "tool"])
def test_a_server_of_the_anthropic_protocol_is_held_to_the_schema(
    anthropic: ChatServer, tmp_path: Path, structured: str
) -> None:
    found = over_anthropic(anthropic, tmp_path, structured=structured).complete([graded(3)])[0]

    assert found.status == "ok" and json.loads(found.text)["row"] == "row 3"
    asked = Asked("anthropic", anthropic.received[0].body, 0)
    assert asked.schema is not None and asked.schema["properties"].keys() == {"row", "stakes"}


def test_ends_of_replies_become_statuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key")
    ends = {"fine": Answer("yes"), "long": Answer("ye", "length"), "no": Answer("", "refusal"), "mute": Answer("")}
    with ChatServer(lambda asked: ends[asked.text], key="a-key") as server:
        found = over_anthropic(server, tmp_path).complete([said(("user", word)) for word in ends])

    assert [each.status for each in found] == ["ok", "truncated", "refused", "ok"]
    assert [each.text for each in found] == ["yes", "ye", "", ""]
