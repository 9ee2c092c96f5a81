"""Messages as a model reads them: the chat template's text, its tokens, and whose words each token is.

One place for every monitor: probes, baselines and judges see the same text under the same cap.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from candor.errors import CandorError

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


def encode(
    messages: Sequence[Mapping[str, str]],
    tokenizer: "PreTrainedTokenizerBase",
    max_tokens: int,
    truncate: str,
    generation_prompt: bool = False,
) -> Encoded:
    """Tokens of a conversation, cut to `max_tokens` on the side named by `truncate` (left or right).

    The first token is kept where it is cut on the left, since models put a special token there that they rely on.
    """
    text = render(messages, tokenizer, generation_prompt)
    templated = bool(tokenizer.chat_template)  # a template writes its own special tokens
    encoding = tokenizer(text, add_special_tokens=not templated, return_offsets_mapping=True, verbose=False)
    ids = list(encoding["input_ids"])
    roles = _roles(_spans(text, messages, tokenizer, generation_prompt), encoding["offset_mapping"])
    if len(ids) <= max_tokens:
        return Encoded(ids, roles, False)
    if truncate == "right" or max_tokens == 1:
        return Encoded(ids[:max_tokens], roles[:max_tokens], True)
    tail = max_tokens - 1
    return Encoded([ids[0], *ids[-tail:]], [roles[0], *roles[-tail:]], True)


def _spans(
    text: str, messages: Sequence[Mapping[str, str]], tokenizer: "PreTrainedTokenizerBase", generation_prompt: bool
) -> list[tuple[int, int, int]]:
    """Start, end and role code of each message's words in the rendered text.

    The words are not searched for, since "user" or "a" also stand in the template: the text is rendered once more with
    a mark at the end of each message, and what stands before a mark and in its message is that message's. A template
    that does more with a message than trim it or drop its start may yield no spans.
    """
    marked = [{**message, "content": _marked(message["content"], chr(MARKS + i))} for i, message in enumerate(messages)]
    pieces = re.split(f"([{chr(MARKS)}-{chr(MARKS + len(messages))}])", render(marked, tokenizer, generation_prompt))
    if "".join(pieces[::2]) != text:
        return []
    spans, end = [], 0
    for piece, mark in zip(pieces[::2], pieces[1::2], strict=False):
        message = messages[ord(mark) - MARKS]
        end += len(piece)
        spans.append((end - _shared_end(piece, message["content"].strip()), end, ROLE_CODES[message["role"]]))
    return spans


def _shared_end(one: str, other: str) -> int:
    """Length of the longest end that two texts share."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _marked(content: str, mark: str) -> str:
    words = content.rstrip()
    return words + mark + content[len(words) :] if words else content


def _roles(spans: Sequence[tuple[int, int, int]], offsets: Sequence[tuple[int, int]]) -> list[int]:
    roles, current = [], 0
    for start, end in offsets:
        while current < len(spans) and spans[current][1] <= start:
            current += 1
        inside = current < len(spans) and start < spans[current][1] and end > spans[current][0] and end > start
        roles.append(spans[current][2] if inside else ROLE_CODES["template"])
    return roles
