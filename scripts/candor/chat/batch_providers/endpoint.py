"""What a batch endpoint says, whoever's it is."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import httpx2

from candor.chat.failures import Failure, malformed


class Standing(NamedTuple):
    """How a batch stands.

    `made` is in seconds since 1970, by the service's clock; `size` is how many requests it has. `mark` is the name that
    its maker gave it, None where it has none. `files` are where its results are; `refused` says why the service takes
    none of it.
    """

    id: str
    made: float
    size: int
    ended: bool
    cancelled: bool = False
    mark: str | None = None
    files: tuple[str, ...] = ()
    refused: Failure | None = None


PAGE = 100
"""Batches that are listed at a time."""
Ends = dict[str, Mapping[str, Any] | Failure]
"""What became of the requests of a batch, by custom id: the JSON of a live answer, or what went wrong."""
EXPIRED = Failure("the batch expired before this request's turn", heals=True)
CANCELLED = Failure("its batch was cancelled", stop="run again to ask for the rest anew")


def perhaps_made(failure: Failure) -> bool:
    """Whether a batch may have been made, although the answer to its maker does not say so."""
    return failure.heals and (failure.billed or failure.remark.startswith("HTTP 5"))


async def listed(
    page: Callable[[dict[str, object]], Awaitable[httpx2.Response | Failure]],
    standing_of: Callable[[Mapping[str, Any]], Standing | Failure],
    cursor: str,
    since: float,
) -> list[Standing] | Failure:
    """The batches made since a time, the newest first; `page` asks for one page, from the batch that `cursor` names."""
    found: list[Standing] = []
    params: dict[str, object] = {"limit": PAGE}
    while True:
        answer = decoded(await page(params))
        if isinstance(answer, Failure):
            return answer
        for each in answer.get("data") or []:
            standing = standing_of(each)
            if isinstance(standing, Failure):
                return standing
            if standing.made < since:
                return found
            found.append(standing)
        if not answer.get("has_more") or not found:
            return found
        params[cursor] = found[-1].id


def decoded(answer: httpx2.Response | Failure) -> Mapping[str, Any] | Failure:
    """The JSON object that an answer holds."""
    if isinstance(answer, Failure):
        return answer
    try:
        value = json.loads(answer.content)
    except ValueError:
        return malformed("is not JSON")
    return value if isinstance(value, Mapping) else malformed("is not a JSON object")


def lines(answer: httpx2.Response | Failure) -> list[Mapping[str, Any]] | Failure:
    """The JSON objects that the lines of an answer hold."""
    if isinstance(answer, Failure):
        return answer
    try:
        values = [json.loads(line) for line in answer.content.split(b"\n") if line.strip()]
    except ValueError:
        return malformed("is not lines of JSON")
    if not all(isinstance(value, Mapping) and isinstance(value.get("custom_id"), str) for value in values):
        return malformed("has lines without a custom_id")
    return values
