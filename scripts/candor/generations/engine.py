"""What an engine is: prompts in, finished completions out, in the order in which they finish."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from candor.chat_text import render
from candor.config.samplings import Sampling
from candor.errors import CandorError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GenerationConfig, PreTrainedTokenizerBase

CONTEXT = 16
"""Tokens before the new ones that are decoded with them, so that a first piece keeps its space."""


class GenerationError(CandorError):
    """A prompt cannot be continued by this model or engine; the message says why, and what to do."""


class Request(NamedTuple):
    """A prompt to be continued by at most `max_new_tokens`; `first_step` is the number of its first draw."""

    example_id: str
    sample_index: int
    prompt: list[int]
    max_new_tokens: int
    first_step: int = 0


class Completion(NamedTuple):
    """What became of a request: the new tokens with the one that ended it, their text without, before a stop string.

    `status` is ok, truncated (the longest length was reached) or not_finite (so were the logits; the rest is lost).
    """

    request: Request
    token_ids: list[int]
    text: str
    status: str


class Watch(NamedTuple):
    """Reads the residual stream while decoding: `layers` are blocks counted from 0, whose output is read.

    `see` gets, when a request is finished, positions of tokens that the model has read of it (prompt and generated; the
    last token drawn is not read) and layer -> activations [positions, width] in the model's dtype, on its device.
    `wanted` says which positions, from the request and the number of tokens read; without it, all of them.
    """

    layers: Sequence[int]
    see: "Callable[[Request, Sequence[int], dict[int, Tensor]], None]"
    wanted: Callable[[Request, int], Sequence[int]] = lambda _, read: range(read)


class Engine(Protocol):
    """Something that continues prompts.

    `context` is the number of tokens that the model can read, None where it does not say; `at_once` the number of
    requests that are given to it in one call, enough to keep it busy: a call's texts depend on that call alone.
    """

    context: int | None
    at_once: int

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch | None = None
    ) -> Iterator[Completion]:
        """Yield the requests' completions, each as soon as it is finished."""
        ...


def end_tokens(config: "GenerationConfig | None", tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Tokens that end a turn: the generation config's, the tokenizer's, and what the chat template ends a turn with."""
    configured = None if config is None else config.eos_token_id
    ends = set(configured if isinstance(configured, list) else [configured])
    ends |= {tokenizer.eos_token_id, _end_of_turn(tokenizer)}
    return frozenset(end for end in ends if end is not None)


def _end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The special token that a chat template puts behind an assistant's words, if it puts one."""
    if not tokenizer.chat_template:
        return None
    words = "ping pong"
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": words}]
    behind = render(turns, tokenizer, generation_prompt=False).rpartition(words)[2]
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    return ids[0] if ids and ids[0] in tokenizer.added_tokens_decoder else None


def text_of(new: Sequence[int], prompt: Sequence[int], tokenizer: "PreTrainedTokenizerBase") -> str:
    """The text that new tokens add to their prompt's."""
    before = prompt[-CONTEXT:]
    start = str(tokenizer.decode(list(before), clean_up_tokenization_spaces=False))
    whole = str(tokenizer.decode([*before, *new], clean_up_tokenization_spaces=False))
    if whole.startswith(start):
        return whole[len(start) :]
    return str(tokenizer.decode(list(new), clean_up_tokenization_spaces=False))


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text up to the first of some stop strings."""
    return text[: min((text.find(each) for each in stop if each in text), default=len(text))]
