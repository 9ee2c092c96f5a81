"""Requests as the providers want them, and replies as they give them."""

import json
from typing import Any

import pytest

from candor.chat.failures import Failure
from candor.chat.messages import ChatRequest, ChatSampling, Message
from candor.chat.providers import anthropic, openai
from candor.chat.replies import Reply
from candor.config.clients import Anthropic, OpenAI, Price

PRICE = Price(input=1, output=1)
TURNS = (Message("system", "You judge."), Message("user", "A text."))
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 10}},
    "required": ["score"],
    "additionalProperties": False,
}
PLAIN = ChatRequest(TURNS, ChatSampling())
FULL = ChatRequest(TURNS, ChatSampling(0.5, 0.9, 64, 7, ("END",)), sample_index=2, schema=SCHEMA)


def claude(**keys: Any) -> Anthropic:
    return Anthropic(provider="anthropic", model="m", price=PRICE, **keys)


def gpt(**keys: Any) -> OpenAI:
    return OpenAI(provider="openai", model="m", price=PRICE, **keys)


def test_anthropic_gets_the_system_prompt_apart() -> None:
    assert anthropic.body_of(claude(), PLAIN) == {
        "model": "m",
        "max_tokens": 512,
        "system": "You judge.",
        "messages": [{"role": "user", "content": "A text."}],
        "temperature": 0.0,
    }


def test_anthropic_gets_sampling_without_a_seed_and_the_schema_as_far_as_it_knows_it() -> None:
    body = anthropic.body_of(claude(extra_body={"output_config": {"effort": "low"}, "top_k": 5}), FULL)
    assert (body["temperature"], body["top_p"], body["stop_sequences"], body["top_k"]) == (0.5, 0.9, ["END"], 5)
    assert "seed" not in body
    assert body["output_config"]["effort"] == "low"
    score = body["output_config"]["format"]["schema"]["properties"]["score"]
    assert score == {"type": "integer", "description": "{minimum: 1, maximum: 10}"}


def test_anthropic_gets_the_schema_as_a_tool_that_must_be_used() -> None:
    body = anthropic.body_of(claude(structured="tool"), FULL)
    assert body["tools"][0]["input_schema"] == SCHEMA
    assert body["tool_choice"] == {"type": "tool", "name": body["tools"][0]["name"]}
    assert "output_config" not in body


def test_a_temperature_of_none_is_not_sent() -> None:
    request = ChatRequest(TURNS, ChatSampling(temperature=None))
    assert "temperature" not in anthropic.body_of(claude(), request)
    assert "temperature" not in openai.body_of(gpt(), request)


def test_openai_gets_everything_and_a_seed_for_each_sample() -> None:
    assert openai.body_of(gpt(extra_body={"top_k": 5}), FULL) == {
        "model": "m",
        "messages": [{"role": "system", "content": "You judge."}, {"role": "user", "content": "A text."}],
        "max_completion_tokens": 64,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 9,
        "stop": ["END"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": SCHEMA, "strict": True},
        },
        "top_k": 5,
    }


def test_servers_that_speak_openai_get_the_older_name_of_the_longest_reply() -> None:
    body = openai.body_of(gpt(base_url="http://127.0.0.1:1/v1"), PLAIN)
    assert body["max_tokens"] == 512
    assert "max_completion_tokens" not in body
    body = openai.body_of(gpt(base_url="http://127.0.0.1:1/v1", length_key="max_completion_tokens"), PLAIN)
    assert body["max_completion_tokens"] == 512


@pytest.mark.parametrize(("structured", "form"), [("json_object", {"type": "json_object"}), ("none", None)])
def test_openai_is_held_to_a_schema_as_the_client_says(structured: str, form: Any) -> None:
    assert openai.body_of(gpt(structured=structured), FULL).get("response_format") == form


def message(**keys: Any) -> dict[str, Any]:
    usage = {"input_tokens": 9, "cache_read_input_tokens": 4, "cache_creation_input_tokens": None, "output_tokens": 3}
    text = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    return {"content": text, "stop_reason": "end_turn", "usage": usage, "model": "m-1", **keys}


def completion(usage: Any = None, finish: str | None = "stop", **keys: Any) -> dict[str, Any]:
    usage = usage or {"prompt_tokens": 13, "completion_tokens": 3, "total_tokens": 16}
    said = {"role": "assistant", "content": "Hello", **keys}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish}], "usage": usage, "model": "m-1"}


def test_a_reply_is_its_text_and_its_tokens() -> None:
    assert anthropic.reply_of(message(), PLAIN) == Reply("ok", "Hello", "end_turn", 13, 3, "m-1")
    assert openai.reply_of(completion(), PLAIN) == Reply("ok", "Hello", "stop", 13, 3, "m-1")


def test_what_a_model_thought_first_is_kept_apart_from_its_reply() -> None:
    for key in ("reasoning_content", "reasoning"):
        reply = openai.reply_of(completion(**{key: "Hm."}), PLAIN)
        assert isinstance(reply, Reply) and (reply.text, reply.reasoning) == ("Hello", "Hm.")
    thinking = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hello"}]
    reply = anthropic.reply_of(message(content=thinking), PLAIN)
    assert isinstance(reply, Reply) and (reply.text, reply.reasoning) == ("Hello", "Hm.")


@pytest.mark.parametrize(
    ("finish", "status"), [("max_tokens", "truncated"), ("refusal", "refused"), ("stop_sequence", "ok"), (None, "ok")]
)
def test_how_a_message_ended_is_its_status(finish: str | None, status: str) -> None:
    reply = anthropic.reply_of(message(stop_reason=finish), PLAIN)
    assert isinstance(reply, Reply)
    assert reply.status == status


@pytest.mark.parametrize(("finish", "status"), [("length", "truncated"), ("content_filter", "refused"), (None, "ok")])
def test_how_a_completion_ended_is_its_status(finish: str | None, status: str) -> None:
    reply = openai.reply_of(completion(finish=finish), PLAIN)
    assert isinstance(reply, Reply)
    assert reply.status == status


def test_the_words_of_a_refusal_are_kept() -> None:
    reply = openai.reply_of(completion(content=None, refusal="I will not."), PLAIN)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.text) == ("refused", "I will not.")


def test_an_empty_text_is_a_reply() -> None:
    for reply in (
        anthropic.reply_of(message(content=[]), PLAIN),
        openai.reply_of(completion(content=None), PLAIN),
        openai.reply_of(completion(content=""), PLAIN),
    ):
        assert isinstance(reply, Reply)
        assert (reply.status, reply.text) == ("ok", "")


def test_thoughts_are_no_part_of_a_reply_and_a_tools_input_is() -> None:
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "tool_use", "name": "reply", "input": {"score": 3}}]
    reply = anthropic.reply_of(message(content=blocks, stop_reason="tool_use"), FULL)
    assert isinstance(reply, Reply)
    assert json.loads(reply.text) == {"score": 3}


def test_tokens_that_nobody_counted_are_estimated_and_said_to_be() -> None:
    reply = openai.reply_of({**completion(), "usage": None}, PLAIN)
    assert isinstance(reply, Reply)
    assert not reply.counted
    assert reply.tokens_in > 0
    assert reply.tokens_out == 2


@pytest.mark.parametrize(
    "answer", [None, [], "text", {}, {"choices": []}, {"choices": [{"message": None}]}, {"content": [1]}]
)
def test_an_answer_that_lacks_what_it_must_have_is_asked_for_again_and_may_be_billed(answer: Any) -> None:
    for failure in (anthropic.reply_of(answer, PLAIN), openai.reply_of(answer, PLAIN)):
        assert isinstance(failure, Failure)
        assert failure.heals
        assert failure.billed
