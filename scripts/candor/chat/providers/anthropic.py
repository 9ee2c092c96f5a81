"""Anthropic's Messages API by its official SDK.

SDK 2.12 has no `temperature` and `top_p` among the arguments of `messages.create`; the API takes them, though newer
models refuse them: `temperature: null` leaves them out. Schemas go as `output_config.format`, in the part of JSON
schema that the API knows (the SDK's own transform_schema), or as a tool that must be used.
"""

import json
from collections.abc import Mapping
from typing import Any

import anthropic

from candor.chat.failures import Failure, malformed
from candor.chat.messages import ChatRequest
from candor.chat.pricing import estimated_input, estimated_tokens
from candor.chat.providers.sending import NO_KEY, count, limits, post, timeouts
from candor.chat.replies import Reply
from candor.config.clients import Anthropic

PATH = "/v1/messages"
HOST = "https://api.anthropic.com"
TOOL = "reply"
CUT = ("max_tokens", "model_context_window_exceeded")


def open_sdk(config: Anthropic, key: str | None) -> anthropic.AsyncAnthropic:
    """The SDK's client, without retries and redirects; close it when done. The address is the config's alone."""
    http = anthropic.DefaultAsyncHttpxClient(limits=limits(config), timeout=timeouts(config), follow_redirects=False)
    return anthropic.AsyncAnthropic(
        api_key=key or NO_KEY,
        base_url=config.base_url or HOST,
        max_retries=0,
        timeout=timeouts(config),
        http_client=http,
    )


def body_of(config: Anthropic, request: ChatRequest) -> dict[str, Any]:
    """A request as it goes over the wire, live or in a batch."""
    sampling = request.sampling
    system = [message.content for message in request.messages if message.role == "system"]
    turns = [message._asdict() for message in request.messages if message.role != "system"]
    body: dict[str, Any] = {"model": config.model, "max_tokens": sampling.max_tokens, "messages": turns}
    if system:
        body["system"] = "\n\n".join(system)
    if sampling.temperature is not None:
        body["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop_sequences"] = list(sampling.stop)
    body |= config.extra_body
    if request.schema is not None and config.structured == "json_schema":
        form = {"type": "json_schema", "schema": anthropic.transform_schema(dict(request.schema))}
        body["output_config"] = {**body.get("output_config", {}), "format": form}
    elif request.schema is not None and config.structured == "tool":
        about = "Give your reply by this tool."
        body["tools"] = [{"name": TOOL, "description": about, "input_schema": dict(request.schema)}]
        body["tool_choice"] = {"type": "tool", "name": TOOL}
    return body


async def send(
    sdk: anthropic.AsyncAnthropic, config: Anthropic, request: ChatRequest, body: Mapping[str, Any]
) -> Reply | Failure:
    """The reply to a request, sent once, or what went wrong."""
    answer = await post(sdk, anthropic, PATH, body, config.timeout_s)
    return answer if isinstance(answer, Failure) else reply_of(answer, request)


def reply_of(answer: Any, request: ChatRequest) -> Reply | Failure:
    """The reply that a message of the API holds, from its JSON; a failure where it is none."""
    blocks = answer.get("content") if isinstance(answer, Mapping) else None
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        return malformed("has no content")
    text = "".join(_text(block) for block in blocks)
    finish = answer.get("stop_reason")
    usage = answer.get("usage")
    tokens_in = count(usage, "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    tokens_out = count(usage, "output_tokens")
    model = answer.get("model")
    return Reply(
        status="refused" if finish == "refusal" else "truncated" if finish in CUT else "ok",
        text=text,
        finish=None if finish is None else str(finish),
        tokens_in=estimated_input(request) if tokens_in is None else tokens_in,
        tokens_out=estimated_tokens(text) if tokens_out is None else tokens_out,
        model=None if model is None else str(model),
        counted=tokens_in is not None and tokens_out is not None,
        reasoning="".join(str(block.get("thinking") or "") for block in blocks) or None,
    )


def _text(block: Mapping[str, Any]) -> str:
    if block.get("type") == "text":
        return str(block.get("text") or "")
    if block.get("type") == "tool_use" and block.get("name") == TOOL:
        return json.dumps(block.get("input"), ensure_ascii=False)
    return ""
