"""Messages as a model reads them: the chat template's text, its tokens, and whose words each token is.

One place for every monitor: probes, baselines and judges see the same text under the same cap.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from candor.errors import CandorError
from candor.responses import OPEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROLE_CODES = {"template": 0, "system": 1, "user": 2, "assistant": 3, "tool": 4}
"""Whose words a token is; `template` for what the chat template adds, and for words that it rewrote."""
MARKS = 0xF0000
"""First character of a private-use plane: character number i marks where message i ends."""


class Encoded(NamedTuple):
    """Token ids and role codes of one example, as long as each other, and whether it was cut."""

    token_ids: list[int]
    roles: list[int]
    truncated: bool


class Words(NamedTuple):
    """Where the words of message number `message` stand in a rendered text, from `start` to before `end`."""

    start: int
    end: int
    message: int


class Conversation(NamedTuple):
    """A rendered conversation, whole: its text, its tokens with their character offsets, and each message's words.

    A message without words has no entry; none has where the template does more than trim a message or drop its start.
    """

    text: str
    token_ids: list[int]
    offsets: list[tuple[int, int]]
    words: list[Words]


class OpenTurn(NamedTuple):
    """A text that ends in an assistant's turn, and how much of that turn it holds already."""

    text: str
    turn: str


def render(messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", generation_prompt: bool) -> str:
    """The chat template's text; plain text, turn by turn, for a tokenizer that has no chat template."""
    if not tokenizer.chat_template:
        return "\n\n".join(message["content"] for message in messages)
    from jinja2 import TemplateError

    turns = [dict(message) for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation_prompt))
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise CandorError(f"the model's chat template refuses messages with the roles {roles}: {error}") from None


def conversation(
    messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", generation_prompt: bool
) -> Conversation:
    """A conversation's text and tokens, before anything is cut."""
    text = render(messages, tokenizer, generation_prompt)
    templated = bool(tokenizer.chat_template)  # a template writes its own special tokens
    encoding = tokenizer(text, add_special_tokens=not templated, return_offsets_mapping=True, verbose=False)
    words = _words(text, messages, tokenizer, generation_prompt)
    return Conversation(text, list(encoding["input_ids"]), list(encoding["offset_mapping"]), words)


def tokens_read(count: int, max_tokens: int, truncate: str) -> list[int]:
    """Which of `count` tokens are read when at most `max_tokens` are, cut on the side `truncate` (left or right).

    The first token is kept where it is cut on the left, since models put a special token there that they rely on.
    """
    if count <= max_tokens or truncate == "right" or max_tokens == 1:
        return list(range(min(count, max_tokens)))
    return [0, *range(count - max_tokens + 1, count)]


def encode(
    messages: Sequence[Mapping[str, str]],
    tokenizer: "PreTrainedTokenizerBase",
    max_tokens: int,
    truncate: str,
    generation_prompt: bool = False,
) -> Encoded:
    """Tokens of a conversation, cut to `max_tokens` as `tokens_read` says."""
    whole = conversation(messages, tokenizer, generation_prompt)
    roles = _roles(whole, messages)
    read = tokens_read(len(roles), max_tokens, truncate)
    return Encoded([whole.token_ids[i] for i in read], [roles[i] for i in read], len(read) < len(roles))


def open_turn(
    messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", prefill: str = ""
) -> OpenTurn:
    """The text of a conversation up to where the model goes on in its own turn.

    A last turn of the assistant's is continued, and `prefill` stands at its end. Where the chat template opens the
    reasoning itself, as some reasoning models' do, a turn that begins with it does not open it a second time.
    """
    given = prefill
    if messages and messages[-1]["role"] == "assistant":
        messages, given = messages[:-1], messages[-1]["content"] + prefill
    text = render(messages, tokenizer, generation_prompt=True)
    if not tokenizer.chat_template:
        return OpenTurn("\n\n".join(filter(None, (text, given))), given)
    closed = render(messages, tokenizer, generation_prompt=False)
    added = text[len(closed) :] if text.startswith(closed) else ""
    _, tag, begun = added.partition(OPEN)
    if tag and given.lstrip().startswith(OPEN):
        given = given.lstrip()[len(OPEN) :].lstrip("\n")
    return OpenTurn(text + given, tag + begun + given)


def token_ids(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Tokens of a rendered text; a chat template has written its special tokens, plain text gets the tokenizer's."""
    return list(tokenizer(text, add_special_tokens=not tokenizer.chat_template, verbose=False)["input_ids"])


def _words(
    text: str, messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", generation_prompt: bool
) -> list[Words]:
    """Where each message's words stand in the rendered text.

    The words are not searched for, since "user" or "a" also stand in the template: the text is rendered once more with
    a mark at the end of each message, and what stands before a mark and in its message is that message's.
    """
    marked = [{**message, "content": _marked(message["content"], chr(MARKS + i))} for i, message in enumerate(messages)]
    pieces = re.split(f"([{chr(MARKS)}-{chr(MARKS + len(messages))}])", render(marked, tokenizer, generation_prompt))
    if "".join(pieces[::2]) != text:
        return []
    found, end = [], 0
    for piece, mark in zip(pieces[::2], pieces[1::2], strict=False):
        message = ord(mark) - MARKS
        end += len(piece)
        found.append(Words(end - _shared_end(piece, messages[message]["content"].strip()), end, message))
    return found


def _shared_end(one: str, other: str) -> int:
    """Length of the longest end that two texts share."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _marked(content: str, mark: str) -> str:
    words = content.rstrip()
    return words + mark + content[len(words) :] if words else content


def _roles(whole: Conversation, messages: Sequence[Mapping[str, str]]) -> list[int]:
    roles, words, current = [], whole.words, 0
    for start, end in whole.offsets:
        while current < len(words) and words[current].end <= start:
            current += 1
        inside = current < len(words) and start < words[current].end and end > words[current].start and end > start
        roles.append(ROLE_CODES[messages[words[current].message]["role"] if inside else "template"])
    return roles
