"""An assistant's turn, taken apart into reasoning and answer, and put together: the one place that knows the format.

A turn with reasoning is `<think>`, the reasoning, `</think>`, the answer.
"""

from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"


class Response(NamedTuple):
    """The parts of a turn; a part that is not there is None, and `status` (ok, empty, no_reasoning) says so."""

    reasoning: str | None
    answer: str | None
    status: str


def split(text: str, reasoning: bool) -> Response:
    """The reasoning and the answer of a turn, without the space around them; `reasoning` says that some is expected.

    Reasoning stands between the first `<think>` and the first `</think>` behind it; the answer is all that follows, be
    it with further tags, and what stands before the first `<think>` is neither. A turn without tags is an answer
    without reasoning; one whose reasoning is not closed has neither part. Where no reasoning is expected, the whole
    text is the answer as it stands, tags and all.
    """
    if not reasoning:
        return Response(None, text, "ok") if text.strip() else Response(None, None, "empty")
    _, opened, rest = text.partition(OPEN)
    if not opened:
        return Response(None, text.strip() or None, "no_reasoning")
    thoughts, closed, answer = rest.partition(CLOSE)
    if not closed:
        return Response(None, None, "no_reasoning")
    found = Response(thoughts.strip() or None, answer.strip() or None, "ok")
    if found.reasoning is None:
        return found._replace(status="no_reasoning")
    return found if found.answer is not None else found._replace(status="empty")


def join(reasoning: str, answer: str) -> str:
    """A turn from its parts, which `split` finds again: a closing tag inside the reasoning is left out."""
    return f"{OPEN}\n{reasoning.replace(CLOSE, '').strip()}\n{CLOSE}\n\n{answer.strip()}"
