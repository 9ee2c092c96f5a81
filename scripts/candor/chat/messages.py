"""What is asked of a language model, and what became of it, whoever serves the model."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

Status = Literal["ok", "truncated", "refused", "error"]


class Message(NamedTuple):
    """A turn of a conversation; the role is system, user or assistant."""

    role: str
    content: str


class ChatSampling(NamedTuple):
    """How a reply is drawn. None is not sent, and the provider's own default holds.

    `seed` goes to providers that have one, with the request's sample index added, so that samples differ.
    `max_tokens` is the longest reply; one that reaches it is truncated. A text of `stop` ends a reply and is cut off.
    """

    temperature: float | None = 0.0
    top_p: float | None = None
    max_tokens: int = 512
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChatRequest:
    """A conversation to be continued; a system message stands first, a last assistant message is a prefill.

    `sample_index` tells draws of the same request apart. `schema` is a JSON schema (an object) that the reply should
    keep to; the client's `structured` says how it is held to it.
    """

    messages: tuple[Message, ...]
    sampling: ChatSampling
    sample_index: int = 0
    schema: Mapping[str, Any] | None = None

    @property
    def prefill(self) -> str | None:
        """The beginning of the reply, where the request has one."""
        last = self.messages[-1] if self.messages else None
        return last.content if last is not None and last.role == "assistant" else None


class Completion(NamedTuple):
    """What became of a request.

    `text` is the raw reply without the prefill, empty where there is none; `remark` then says why, and never holds a
    key. `attempts` counts the requests ever sent for it, over all runs (0 for local models); `usd` is what the reply
    cost when it was paid for, whenever that was; `cached` says that it was found and not asked for now. `reasoning` is
    what a service gives apart from the reply, as some do for models that think first.
    Of identical requests in one call the first has the attempts and the dollars, the others 0 of both.
    """

    status: Status
    text: str
    attempts: int
    tokens_in: int
    tokens_out: int
    usd: float
    remark: str | None
    cached: bool
    reasoning: str | None = None


def nothing(count: int) -> None:
    """Says nothing of progress."""


class Client(Protocol):
    """Something that answers requests."""

    def complete(self, requests: Sequence[ChatRequest], finished: Callable[[int], None] = nothing) -> list[Completion]:
        """One completion per request, in the order of the requests; `finished` hears how many are done so far."""
        ...


def canonical(request: ChatRequest, client: Mapping[str, Any]) -> str:
    """A request as canonical JSON, with what of the client changes replies (config.clients.tracked); no key."""
    return json.dumps(
        {
            "client": client,
            "messages": request.messages,
            "sampling": request.sampling._asdict(),
            "schema": request.schema,
            "sample_index": request.sample_index,
        },
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    )


def digest(text: str) -> str:
    """SHA-256 of a text, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def identity(request: ChatRequest, client: Mapping[str, Any]) -> str:
    """What a reply is found by: the digest of the canonical request."""
    return digest(canonical(request, client))
