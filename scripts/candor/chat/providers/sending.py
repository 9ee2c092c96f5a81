"""One request over an official SDK: the decoded answer, or what went wrong. No error of the SDK's gets out of here.

The SDKs' own retries are off: what is sent again, and when, is candor's to count. Requests are given as they go over
the wire, the same for live and batch mode; answers are read from the JSON itself, since the SDKs do not check them.
"""

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

import httpx2

from candor.chat.failures import Failure, malformed, of_status, words_of
from candor.config.clients import RemoteClient

UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
"""Errors that come before anything is sent."""
CONNECT_SECONDS = 15.0
NO_KEY = "none"
"""What goes in the place of a key to a server without keys; the SDKs want something."""


class SDK(Protocol):
    """What both SDKs have: a request to any path."""

    async def post(self, path: str, *, cast_to: type[httpx2.Response], body: Any) -> httpx2.Response: ...


class Errors(Protocol):
    """What both SDKs call their errors."""

    APIStatusError: Any
    APIConnectionError: Any


def limits(config: RemoteClient) -> httpx2.Limits:
    """A connection for each request that may be under way."""
    return httpx2.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency)


def timeouts(config: RemoteClient) -> httpx2.Timeout:
    """Seconds for each step of a request; `post` bounds the whole."""
    return httpx2.Timeout(config.timeout_s, connect=min(config.timeout_s, CONNECT_SECONDS))


async def post(sdk: SDK, errors: Errors, path: str, body: Mapping[str, Any], seconds: float) -> Any | Failure:
    """The JSON that a service answers, or a failure; nothing is sent twice."""
    try:
        async with asyncio.timeout(seconds):
            response = await answered(errors, sdk.post(path, cast_to=httpx2.Response, body=body))
    except TimeoutError:
        return Failure(f"no answer within {seconds:g} s", heals=True, billed=True, unreachable=True)
    if isinstance(response, Failure):
        return response
    try:
        answer = json.loads(response.content)
    except ValueError:
        return malformed("is not JSON")
    if isinstance(answer, Mapping) and isinstance(answer.get("error"), str | Mapping):  # as some gateways say it
        words, about = words_of(answer)
        code = _code(answer["error"])
        return malformed(f"is an error: {words}") if code is None else of_status(code, words, response.headers, about)
    return answer


async def answered(errors: Errors, sending: Awaitable[httpx2.Response]) -> httpx2.Response | Failure:
    """What a service answers to one request, or what went wrong; no error of an SDK's gets out of here."""
    try:
        return await sending
    except UnicodeEncodeError:
        return Failure("the request holds characters that are no text (lone surrogates)")
    except errors.APIStatusError as error:
        words, about = words_of(error.body)
        return of_status(error.status_code, words, error.response.headers, about)
    except errors.APIConnectionError as error:  # time-outs too
        cause = error.__cause__ or error
        remark = f"no answer: {type(cause).__name__}"
        return Failure(remark, heals=True, billed=not isinstance(cause, UNSENT), unreachable=True)


def _code(error: Any) -> int | None:
    """The HTTP status that an error inside an answer names, if it does."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else None


def count(usage: Any, *names: str) -> int | None:
    """The sum of some counts of tokens; None where the first is not there."""
    if not isinstance(usage, Mapping) or not isinstance(usage.get(names[0]), int):
        return None
    return sum(max(number, 0) for name in names if isinstance(number := usage.get(name), int))
