"""What an engine is: chat messages in, a stream of tokens out, each with the activation of one layer at this token.

An engine holds a model, which all conversations share, and nothing of a conversation. What a conversation is to the
model, its keys and values, lives in a `Reader` of its own, made anew for each text that is read: two people at once
never see each other's words, and nothing is left of the text before. A token's activation is known once the model has
read it, so a drawn token comes out after the pass that reads it.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from candor import provenance
from candor.chat_text import ROLE_CODES, conversation, encode, tokens_read
from candor.config.samplings import Sampling
from candor.errors import CandorError
from candor.generations.engine import CONTEXT, text_of
from candor.generations.sampling import draw, uniforms

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 512
"""Tokens of a prompt that are read in one pass: between passes another conversation has its turn."""
UNFINISHED = "�"
"""What a tokenizer writes for a character whose last bytes are still to come."""


class MonitorError(CandorError):
    """A conversation cannot be read; the message says why, and what to do."""


class Source(NamedTuple):
    """What activations come from: id and revision of the subject, its shape, and the hooks that can be read."""

    subject: str
    revision: str | None
    width: int
    blocks: int
    hooks: tuple[str, ...] = ("residual", "input_layernorm")


class Place(NamedTuple):
    """Where in the model a probe reads."""

    hook: str
    layer: int


class Read(NamedTuple):
    """Tokens that the model has read, one after the other.

    The text that each adds, its role code, activations float32 [t, width], whether the model wrote them itself, and
    whether tokens of the text were left out because it is too long.
    """

    texts: list[str]
    roles: list[int]
    activations: np.ndarray
    written: bool
    truncated: bool = False


class Reader(Protocol):
    """One conversation, as the model remembers it."""

    def read(self, token_ids: Sequence[int]) -> "tuple[np.ndarray, Tensor]":
        """Read the next tokens: activations float32 [t, width], and float32 logits [vocabulary] after the last."""
        ...


class Engine(Protocol):
    """A loaded subject. `ends` are the tokens that end its turn, `context` how many tokens it can read."""

    source: Source
    tokenizer: "PreTrainedTokenizerBase"
    ends: frozenset[int]
    context: int | None

    def begin(self, place: Place) -> Reader:
        """A new conversation."""
        ...

    def activations(self, token_ids: Sequence[int], place: Place) -> np.ndarray:
        """Activations float32 [t, width] of a whole text that nothing is added to."""
        ...


class Text(NamedTuple):
    """A conversation as the model reads it: token ids, what each adds to the text, role codes, whether it was cut."""

    token_ids: list[int]
    texts: list[str]
    roles: list[int]
    truncated: bool


def text(
    messages: Sequence[Mapping[str, str]],
    tokenizer: "PreTrainedTokenizerBase",
    max_tokens: int,
    truncate: str = "left",
    generation_prompt: bool = False,
) -> Text:
    """A conversation's tokens with their texts, cut to `max_tokens` on the side `truncate`; MonitorError if empty."""
    refuse_broken(messages)
    given = encode(messages, tokenizer, max_tokens, truncate, generation_prompt)
    if not given.token_ids:
        raise MonitorError("the text is empty: there is nothing to read")
    whole = conversation(messages, tokenizer, generation_prompt)
    texts = added(whole.text, whole.offsets)
    read = tokens_read(len(texts), max_tokens, truncate)
    return Text(given.token_ids, [texts[i] for i in read], given.roles, given.truncated)


def refuse_broken(messages: Sequence[Mapping[str, str]]) -> None:
    """Stop with a sentence where a message holds half a character, which no tokenizer takes."""
    for message in messages:
        try:
            message["content"].encode("utf-8")
        except UnicodeEncodeError as error:
            raise MonitorError(
                f"the text is not UTF-8: what stands at character {error.start + 1} is no character"
            ) from None


def added(whole: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """The text that each token adds, by the tokens' character offsets; together they are the whole text.

    A character that is spread over several tokens stands at the last of them.
    """
    bounds, done = [0], 0
    for number, (_, end) in enumerate(offsets):
        following = offsets[number + 1][0] if number + 1 < len(offsets) else len(whole)
        # a token that begins before this one's end has a part of its last character
        done = max(done, min(end, following) if end > 0 else done)
        bounds.append(done)
    bounds[-1] = len(whole)
    return [whole[start:end] for start, end in pairwise(bounds)]


def read_text(engine: Engine, place: Place, given: Text) -> Read:
    """Read a text, as a probe's training texts were read."""
    if engine.context is not None and len(given.token_ids) > engine.context:
        raise MonitorError(f"the text has {len(given.token_ids)} tokens, and the model reads {engine.context}")
    return Read(given.texts, given.roles, engine.activations(given.token_ids, place), False, given.truncated)


def converse(engine: Engine, place: Place, messages: Sequence[Mapping[str, str]], sampling: Sampling) -> Iterator[Read]:
    """Read a conversation and answer it: the prompt's tokens in pieces, then the answer's one by one.

    The same conversation gets the same answer. The token that ends the turn is not read.
    """
    room = sampling.max_prompt_tokens
    if engine.context is not None:
        room = min(room, engine.context - sampling.max_new_tokens)
    if room < 1:
        raise MonitorError(
            f"the model reads {engine.context} tokens, which leaves none for a chat beside an answer of "
            f"{sampling.max_new_tokens}; lower monitor.max_new_tokens"
        )
    prompt = text(messages, engine.tokenizer, room, generation_prompt=True)
    reader = engine.begin(place)
    for start in range(0, len(prompt.token_ids), AT_ONCE):
        piece = slice(start, start + AT_ONCE)
        activations, logits = reader.read(prompt.token_ids[piece])
        yield Read(prompt.texts[piece], prompt.roles[piece], activations, False, prompt.truncated)
    name = provenance.digest([dict(message) for message in messages])
    numbers = uniforms(sampling.seed, name, 0, sampling.max_new_tokens)
    words = Words(engine.tokenizer, prompt.token_ids)
    for number in numbers:
        if not bool(logits.isfinite().all()):
            raise MonitorError("the model's logits are not finite; set its `dtype` to float32 in config.yaml")
        token = int(draw(logits[None], logits.new_tensor([number]).double(), sampling))
        if token in engine.ends:
            return
        activations, logits = reader.read([token])
        yield Read([words.add(token)], [ROLE_CODES["assistant"]], activations, True)


class Words:
    """The text of tokens that come one by one: a character of several tokens comes with the last of them."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", before: Sequence[int]) -> None:
        self._tokenizer, self._before, self._pending = tokenizer, list(before[-CONTEXT:]), list[int]()

    def add(self, token: int) -> str:
        """What the next token adds to the text."""
        self._pending.append(token)
        added = text_of(self._pending, self._before, self._tokenizer)
        if added.endswith(UNFINISHED):
            return ""
        self._before = [*self._before, *self._pending][-CONTEXT:]
        self._pending.clear()
        return added
