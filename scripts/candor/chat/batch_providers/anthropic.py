"""Anthropic's Message Batches by its official SDK.

The service lists its batches without any mark of their makers, so one whose id was lost is known by its results alone.
"""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any

import anthropic
import httpx2

from candor.chat.batch_providers.endpoint import CANCELLED, EXPIRED, Ends, Standing, decoded, lines, listed
from candor.chat.failures import Failure, malformed, of_status, words_of
from candor.chat.providers.sending import answered

PATH = "/v1/messages/batches"
MARKED = False
MOST_ROWS, MOST_BYTES = 100_000, 240_000_000
"""What a batch may hold; the service's own limit is 256 MB."""
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What errors of single requests are by their HTTP status; any other is the service's own fault, 500."""


async def create(
    sdk: anthropic.AsyncAnthropic, mark: str, rows: Sequence[tuple[str, Mapping[str, Any]]]
) -> Standing | Failure:
    """Make a batch of (custom id, request) rows."""
    body = {"requests": [{"custom_id": id, "params": params} for id, params in rows]}
    return _standing(decoded(await answered(anthropic, sdk.post(PATH, cast_to=httpx2.Response, body=body))))


async def look(sdk: anthropic.AsyncAnthropic, id: str) -> Standing | Failure:
    """How a batch stands."""
    return _standing(decoded(await answered(anthropic, sdk.get(f"{PATH}/{id}", cast_to=httpx2.Response))))


async def recent(sdk: anthropic.AsyncAnthropic, since: float) -> list[Standing] | Failure:
    """The batches made since a time, the newest first."""

    def page(params: dict[str, object]) -> Awaitable[httpx2.Response | Failure]:
        return answered(anthropic, sdk.get(PATH, cast_to=httpx2.Response, options={"params": params}))

    return await listed(page, _standing, "after_id", since)


async def results(sdk: anthropic.AsyncAnthropic, standing: Standing) -> Ends | Failure:
    """What became of the requests of a batch that has ended."""
    asking = sdk.get(f"{PATH}/{standing.id}/results", cast_to=httpx2.Response)
    found = lines(await answered(anthropic, asking))
    return found if isinstance(found, Failure) else {str(line["custom_id"]): _end(line) for line in found}


def _end(line: Mapping[str, Any]) -> Mapping[str, Any] | Failure:
    found = line.get("result")
    result: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    kind, message = result.get("type"), result.get("message")
    if kind == "succeeded" and isinstance(message, Mapping):
        return message
    if kind == "errored":
        words, about = words_of(result.get("error"))
        named = [code for name, code in STATUSES.items() if name in about.split()]
        return of_status(named[0] if named else 500, words, {}, about)
    return {"expired": EXPIRED, "canceled": CANCELLED}.get(str(kind), malformed("has a row without a result"))


def _standing(batch: Mapping[str, Any] | Failure) -> Standing | Failure:
    if isinstance(batch, Failure):
        return batch
    try:
        return Standing(
            id=str(batch["id"]),
            made=datetime.fromisoformat(batch["created_at"]).timestamp(),
            size=sum(batch["request_counts"].values()),
            ended=batch["processing_status"] == "ended",
            cancelled=batch.get("cancel_initiated_at") is not None,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return malformed("is not a batch")
