"""OpenAI's Batch API by its official SDK: a file of requests, a batch of it, and files of its results.

The batch carries its mark as metadata, by which it is known again when its id was lost.
"""

import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import httpx2
import openai

from candor.chat.batch_providers.endpoint import CANCELLED, EXPIRED, Ends, Standing, decoded, lines, listed
from candor.chat.failures import Failure, malformed, of_status, words_of
from candor.chat.providers.sending import answered

PATH = "/batches"
ENDPOINT = "/v1/chat/completions"
MARKED = True
MARK = "candor"
"""The key of the metadata that holds the mark."""
MOST_ROWS, MOST_BYTES = 50_000, 190_000_000
"""What a batch may hold; the service's own limit is 200 MB."""
ENDED = ("completed", "expired", "cancelled", "failed")
LATER = ("token_limit_exceeded", "rate_limit")
"""Codes of batches that are refused for now, since too much is waiting already."""


async def create(
    sdk: openai.AsyncOpenAI, mark: str, rows: Sequence[tuple[str, Mapping[str, Any]]]
) -> Standing | Failure:
    """Make a batch of (custom id, request) rows."""
    asked = [{"custom_id": id, "method": "POST", "url": ENDPOINT, "body": body} for id, body in rows]
    content = "".join(json.dumps(line) + "\n" for line in asked).encode()
    sending = sdk.post(
        "/files",
        cast_to=httpx2.Response,
        body={"purpose": "batch"},
        files={"file": (f"{mark}.jsonl", content, "application/jsonl")},
        options={"headers": {"Content-Type": "multipart/form-data"}},
    )
    file = decoded(await answered(openai, sending))
    if not isinstance(file, Failure) and not isinstance(file.get("id"), str):
        file = malformed("is not a file")
    if isinstance(file, Failure):  # a file alone costs nothing
        return file._replace(billed=False, remark=f"of the file of requests: {file.remark}")
    body = {
        "input_file_id": file["id"],
        "endpoint": ENDPOINT,
        "completion_window": "24h",
        "metadata": {MARK: mark},
    }
    return _standing(decoded(await answered(openai, sdk.post(PATH, cast_to=httpx2.Response, body=body))))


async def look(sdk: openai.AsyncOpenAI, id: str) -> Standing | Failure:
    """How a batch stands."""
    return _standing(decoded(await answered(openai, sdk.get(f"{PATH}/{id}", cast_to=httpx2.Response))))


async def recent(sdk: openai.AsyncOpenAI, since: float) -> list[Standing] | Failure:
    """The batches made since a time, the newest first."""

    def page(params: dict[str, object]) -> Awaitable[httpx2.Response | Failure]:
        return answered(openai, sdk.get(PATH, cast_to=httpx2.Response, options={"params": params}))

    return await listed(page, _standing, "after", since)


async def results(sdk: openai.AsyncOpenAI, standing: Standing) -> Ends | Failure:
    """What became of the requests of a batch that has ended."""
    ends: Ends = {}
    for file in standing.files:
        found = lines(await answered(openai, sdk.get(f"/files/{file}/content", cast_to=httpx2.Response)))
        if isinstance(found, Failure):
            return found
        ends |= {str(line["custom_id"]): _end(line) for line in found}
    return ends


def _end(line: Mapping[str, Any]) -> Mapping[str, Any] | Failure:
    error, response = line.get("error"), line.get("response")
    if isinstance(error, Mapping):
        words, about = words_of(error)
        if "expired" in about:
            return EXPIRED
        return CANCELLED if "cancel" in about else Failure(words or about, heals=True)
    code = response.get("status_code") if isinstance(response, Mapping) else None
    body = response.get("body") if isinstance(response, Mapping) else None
    if code == 200 and isinstance(body, Mapping):
        return body
    return (
        of_status(code, words_of(body)[0], {}, words_of(body)[1]) if code else malformed("has a row without a result")
    )


def _standing(batch: Mapping[str, Any] | Failure) -> Standing | Failure:
    if isinstance(batch, Failure):
        return batch
    try:
        return Standing(
            id=str(batch["id"]),
            made=float(batch["created_at"]),
            size=int((batch.get("request_counts") or {}).get("total", 0)),
            ended=batch["status"] in ENDED,
            cancelled=batch["status"] == "cancelled",
            mark=(batch.get("metadata") or {}).get(MARK),
            files=tuple(file for key in ("output_file_id", "error_file_id") if (file := batch.get(key))),
            refused=_refusal(batch) if batch["status"] == "failed" else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return malformed("is not a batch")


def _refusal(batch: Mapping[str, Any]) -> Failure:
    errors = (batch.get("errors") or {}).get("data") or [{}]
    words, about = words_of(errors[0])
    later = any(code in about for code in LATER)
    return Failure(f"the batch was refused: {words or about or 'no reason given'}", heals=later)
