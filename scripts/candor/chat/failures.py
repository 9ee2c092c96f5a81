"""What can go wrong with a request: some of it heals, some ends a row, and some must stop the whole job."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from candor.errors import CandorError

HEALING = (408, 409, 429)
"""Status codes, besides 500 and above, after which the same request may well succeed."""
PERHAPS_BILLED = (408, 504, 524)
"""Time-outs that a server or a gateway reports: the model may have been at work."""
UNPAID = ("insufficient_quota", "billing", "spend_limit")
"""Within an error's type or code: the service wants to be paid first."""
UNPAID_WORDS = ("credit balance", "insufficient balance", "insufficient credits", "insufficient_quota")
REFUSALS = ("content_filter", "content_policy", "invalid_prompt")
"""Within an error's type or code: the service refuses to answer this very text, as Azure and OpenAI say it."""


class ChatStop(CandorError):
    """A client cannot go on; the message says which, why, and what to do. What was done so far is in the cache."""


class Failure(NamedTuple):
    """What became of one sending that brought no reply; it is for the client to judge, not an exception.

    `stop` says what to do where no request can succeed; `heals` that the same request may succeed later, after
    `after` seconds where the service says so. `billed` says that it may have been charged for: it was sent, and how
    it went is not known. `unreachable` says that no answer of any kind came, `refused` that the service will not answer
    this very text.
    """

    remark: str
    heals: bool = False
    after: float | None = None
    billed: bool = False
    unreachable: bool = False
    refused: bool = False
    stop: str | None = None


def of_status(code: int, words: str, headers: Mapping[str, str], about: str = "") -> Failure:
    """The meaning of an HTTP status; `about` is what else the body says of the error: its type, code and parameter."""
    remark = f"HTTP {code}: {words}" if words else f"HTTP {code}"
    said, about = words.lower(), about.lower()
    if code < 500 and (any(each in about for each in REFUSALS) or (code == 403 and "flagged" in said)):
        return Failure(remark, refused=True)
    unpaid = any(each in about for each in UNPAID) or any(each in said for each in UNPAID_WORDS)
    if code == 402 or (code < 500 and unpaid):
        return Failure(remark, stop="the quota or the credit of its key is used up; add to it, then run again")
    if code == 401:
        return Failure(remark, stop="its key was refused; put a valid one into the environment or .env")
    if code == 403:
        return Failure(remark, stop="its key may not use this model or service; use another key or model")
    if code == 404:
        return Failure(remark, stop="there is no such model or address; correct `model` or `base_url`")
    if 300 <= code < 400:
        return Failure(remark, stop="the service has moved; correct `base_url`")
    if code == 400 and "prefill" in said:
        return Failure(remark, stop="the model takes no prefill; take it out of the judge, or use another model")
    if code == 400 and any(each in about for each in ("unsupported_parameter", "unsupported_value")):
        return Failure(remark, stop="it refuses what every request has; change the judge's sampling or the client")
    if code in HEALING or code >= 500:
        return Failure(remark, heals=True, after=retry_after(headers), billed=code in PERHAPS_BILLED)
    return Failure(remark)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a service asks to wait, from `retry-after-ms` or `retry-after` (seconds, or a date)."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(float(headers[name]) / unit, 0.0)
        except (KeyError, ValueError):
            continue
    try:
        return max((parsedate_to_datetime(headers["retry-after"]) - datetime.now(UTC)).total_seconds(), 0.0)
    except (KeyError, ValueError, TypeError):
        return None


def malformed(what: str) -> Failure:
    """An answer that is not what the protocol says: asked again, and counted as paid for."""
    return Failure(f"the answer {what}", heals=True, billed=True)


def words_of(body: Any) -> tuple[str, str]:
    """What the body of an error says: its message, and its type, code and parameter."""
    error = body.get("error", body) if isinstance(body, Mapping) else None
    if isinstance(error, str):
        return error, ""
    if not isinstance(error, Mapping):
        return "", ""
    details = error.get("details")
    named = [error.get(key) for key in ("type", "code", "param")]
    named += [details.get("error_code")] if isinstance(details, Mapping) else []
    return str(error.get("message") or ""), " ".join(str(each) for each in named if each)
