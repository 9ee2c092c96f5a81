"""OpenAI's Chat Completions API by its official SDK, and every server that speaks it."""

from collections.abc import Mapping
from typing import Any

import openai

from candor.chat.failures import Failure, malformed
from candor.chat.messages import ChatRequest
from candor.chat.pricing import estimated_input, estimated_tokens
from candor.chat.providers.sending import NO_KEY, count, limits, post, timeouts
from candor.chat.replies import Reply
from candor.config.clients import OpenAI

PATH = "/chat/completions"
HOST = "https://api.openai.com/v1"
REASONING = ("reasoning_content", "reasoning")
"""Where servers put what a model thought before its reply: DeepSeek, SGLang and older vLLM; OpenRouter and vLLM."""


def open_sdk(config: OpenAI, key: str | None) -> openai.AsyncOpenAI:
    """The SDK's client, without retries and redirects; close it when done. The address is the config's alone."""
    http = openai.DefaultAsyncHttpxClient(limits=limits(config), timeout=timeouts(config), follow_redirects=False)
    return openai.AsyncOpenAI(
        api_key=key or NO_KEY,
        base_url=config.base_url or HOST,
        max_retries=0,
        timeout=timeouts(config),
        http_client=http,
    )


def body_of(config: OpenAI, request: ChatRequest) -> dict[str, Any]:
    """A request as it goes over the wire, live or in a batch."""
    sampling = request.sampling
    length = config.length_key or ("max_tokens" if config.base_url else "max_completion_tokens")
    turns = [message._asdict() for message in request.messages]
    body: dict[str, Any] = {"model": config.model, "messages": turns, length: sampling.max_tokens}
    if sampling.temperature is not None:
        body["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.seed is not None:
        body["seed"] = sampling.seed + request.sample_index
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if request.schema is not None and config.structured == "json_schema":
        form = {"name": "reply", "schema": dict(request.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    elif request.schema is not None and config.structured == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body | config.extra_body


async def send(
    sdk: openai.AsyncOpenAI, config: OpenAI, request: ChatRequest, body: Mapping[str, Any]
) -> Reply | Failure:
    """The reply to a request, sent once, or what went wrong."""
    answer = await post(sdk, openai, PATH, body, config.timeout_s)
    return answer if isinstance(answer, Failure) else reply_of(answer, request)


def reply_of(answer: Any, request: ChatRequest) -> Reply | Failure:
    """The reply that a completion of the API holds, from its JSON; a failure where it is none."""
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if choice is None or not isinstance(message, Mapping):
        return malformed("has no choice with a message")
    finish, refusal = choice.get("finish_reason"), message.get("refusal")
    if finish == "error":  # OpenRouter's word for a model that broke off
        return malformed("broke off")
    text = _text(message.get("content"))
    if request.prefill is not None:  # llama.cpp's server says it again, others do not
        text = text.removeprefix(request.prefill)
    if refusal and isinstance(refusal, str):
        text, status = text or refusal, "refused"
    else:
        status = {"content_filter": "refused", "length": "truncated"}.get(str(finish), "ok")
    usage = answer.get("usage")
    tokens_in, tokens_out = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    model = answer.get("model")
    return Reply(
        status=status,  # type: ignore[arg-type]
        text=text,
        finish=None if finish is None else str(finish),
        tokens_in=estimated_input(request) if tokens_in is None else tokens_in,
        tokens_out=estimated_tokens(text) if tokens_out is None else tokens_out,
        model=None if model is None else str(model),
        counted=tokens_in is not None and tokens_out is not None,
        reasoning=next((words for key in REASONING if (words := _text(message.get(key)))), None),
    )


def _text(content: Any) -> str:
    if isinstance(content, list):  # parts, as some servers give them
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return "" if content is None else str(content)
