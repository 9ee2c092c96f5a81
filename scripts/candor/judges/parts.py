"""The parts of a text that a judge can be told to read, and why one is not there."""

from collections.abc import Mapping, Sequence

from candor import responses
from candor.config.judges import Part
from candor.judges.code import find_code
from candor.judges.texts import Judged, Verdict, absent

Turns = Sequence[Mapping[str, str]]


def part_of(text: Judged, name: Part) -> str | Turns | None:
    """A part of a text; None where it is absent or blank.

    `code` is the code in the answer, in whatever language; `prompt` are the turns before the response, and
    `conversation` those and the response with its reasoning. Where no response is expected, a conversation has none.
    """
    if name in ("answer", "reasoning"):
        return text.part(name)
    if name == "code":
        answer = text.part("answer")
        return None if answer is None else find_code(answer, None)
    turns = [*text.prompt, *(_response(text) if name == "conversation" else [])]
    if name == "conversation" and text.part("answer") is None and not _ends_with_the_user(text):
        return None
    return turns if any(turn["content"].strip() for turn in turns) else None


def lacking(text: Judged, name: Part) -> Verdict:
    """No verdict on a text without a part that is read; the status says why."""
    if name == "prompt":
        return Verdict("empty")
    if name == "code" and text.part("answer") is not None:
        return Verdict("truncated" if text.status == "truncated" else "no_code")
    return absent(text, "reasoning" if name == "reasoning" else "answer")


def status_of(text: Judged, name: Part) -> str:
    """The status of a verdict on a part that is there: a prompt is whole, whatever became of its response."""
    return "ok" if name == "prompt" else text.status


def _response(text: Judged) -> list[dict[str, str]]:
    if text.answer is None:
        return []
    whole = text.answer if text.reasoning is None else responses.join(text.reasoning, text.answer)
    return [{"role": "assistant", "content": whole}]


def _ends_with_the_user(text: Judged) -> bool:
    """Whether the text is an example of a dataset that nobody has answered."""
    return text.status == "ok" and text.answer is None and text.reasoning is None
