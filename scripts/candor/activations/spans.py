"""Spans of a conversation: the tokens around the assistant's turn that ends it, found by the text's characters.

A turn is `<think>reasoning</think>answer`, or an answer alone. Tokens belong to a span by their character offsets, so
that it does not matter how a tokenizer cuts the tags. For a conversation that the assistant has not answered yet, the
prompt ends with the generation prompt, and no other span is there.

- last_prompt: the last token before the turn's words.
- reasoning: the tokens strictly between <think> and </think>; absent where no word stands there.
- answer_start: the last token before the answer's first word, so that nothing of the answer has been read.
- end: the token that holds the last character of the answer's words.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from candor.chat_text import Conversation, conversation, tokens_read
from candor.config.captures import Capture, Span
from candor.errors import CandorError
from candor.responses import CLOSE, OPEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Place(NamedTuple):
    """Characters of a text, from `start` to before `end`."""

    start: int
    end: int


class Turn(NamedTuple):
    """Where an assistant's turn and its parts stand in a text; None for a part that is not there, or is blank."""

    start: int
    reasoning: Place | None
    answer: Place | None


def span_tokens(
    messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", capture: Capture
) -> list[list[int]]:
    """The tokens of each of the capture's spans, as indices into the text as the model reads it; none where absent.

    Tokens that are cut off, or dropped at the start, are in no span.
    """
    whole = conversation(messages, tokenizer, needs_generation_prompt(messages))
    read = tokens_read(len(whole.token_ids), capture.max_tokens, capture.truncate)
    place = {token: i for i, token in enumerate(read) if i >= capture.drop_first}
    found = []
    for span in capture.spans:
        tokens = _tokens(whole, messages, span)
        found.append([place[token] for token in tokens if token in place])
    return found


def needs_generation_prompt(messages: Sequence[Mapping[str, str]]) -> bool:
    """Whether the assistant's turn is still to come."""
    return messages[-1]["role"] != "assistant"


def turn_of(text: str, start: int, end: int) -> Turn:
    """The parts of an assistant's turn whose words stand at `start` to before `end` in a text, as `split` tells them.

    Of the reasoning all that stands between the tags, of the answer its words.
    """
    opened = text.find(OPEN, start, end)
    if opened < 0:
        return Turn(start, None, _words(text, start, end))
    opened += len(OPEN)
    closed = text.find(CLOSE, opened, end)
    if closed < 0:  # cut off before the reasoning ended
        return Turn(start, None, None)
    reasoning = Place(opened, closed) if text[opened:closed].strip() else None
    return Turn(start, reasoning, _words(text, closed + len(CLOSE), end))


def _words(text: str, start: int, end: int) -> Place | None:
    """A part of a text without the space around it; None where it is blank."""
    part = text[start:end]
    return Place(end - len(part.lstrip()), start + len(part.rstrip())) if part.strip() else None


def _tokens(whole: Conversation, messages: Sequence[Mapping[str, str]], span: Span) -> list[int]:
    """The tokens of a span in a conversation that was not cut."""
    if needs_generation_prompt(messages):
        return [len(whole.token_ids) - 1] if span == "last_prompt" and whole.token_ids else []
    words = next((words for words in whole.words if words.message == len(messages) - 1), None)
    content = messages[-1]["content"]
    if words is None and not content.strip():
        return []
    if words is None or (OPEN in content and OPEN not in whole.text[words.start : words.end]):
        raise CandorError(
            "the model's chat template rewrites the assistant's turn or drops its reasoning, so that `store: spans` "
            "would not read it; give the model a `chat_template` that keeps it, as "
            "resources/chat_templates/reasoning.jinja does"
        )
    turn = turn_of(whole.text, words.start, words.end)
    if span == "last_prompt":
        return _last_before(whole.offsets, turn.start)
    if span == "reasoning":
        return _within(whole.offsets, turn.reasoning) if turn.reasoning else []
    if turn.answer is None:
        return []
    if span == "answer_start":
        return _last_before(whole.offsets, turn.answer.start)
    return _last_of(whole.offsets, turn.answer)


def _last_before(offsets: Sequence[tuple[int, int]], character: int) -> list[int]:
    """The token before the first one that reaches beyond a character's start."""
    first = next((i for i, (_, end) in enumerate(offsets) if end > character), len(offsets))
    return [first - 1] if first else []


def _within(offsets: Sequence[tuple[int, int]], place: Place) -> list[int]:
    """The tokens that hold nothing but characters of a place."""
    return [i for i, (start, end) in enumerate(offsets) if place.start <= start < end <= place.end]


def _last_of(offsets: Sequence[tuple[int, int]], place: Place) -> list[int]:
    """The last token that holds the last character of a place."""
    return [i for i, (start, end) in enumerate(offsets) if start < place.end <= end][-1:]
