"""Examples as a network is finetuned on them: a prompt that carries no loss, and a completion that does.

The completion is the last assistant turn with its end-of-turn token. The prompt is token for token what generation
would see: the earlier turns, rendered with a generation prompt. Where a tokenizer would cut the whole conversation
otherwise across that border, the two parts are tokenised each for itself, since generation meets them so.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from candor.chat_text import open_turn, render, token_ids
from candor.data.examples import RowError
from candor.errors import CandorError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]


class Example(NamedTuple):
    """Token ids of an example; those from `n_prompt` on are the completion."""

    token_ids: list[int]
    n_prompt: int

    @property
    def n_completion(self) -> int:
        return len(self.token_ids) - self.n_prompt


class Kept(NamedTuple):
    """The examples of a part that are short enough, and how many were left out."""

    examples: list[Example]
    n_skipped: int


def encode_all(
    rows: Sequence[Mapping[str, Any]], tokenizer: "PreTrainedTokenizerBase", max_tokens: int, part: str
) -> Kept:
    """Encode rows of a dataset table; examples over `max_tokens` are left out, CandorError when that is all of them."""
    examples = []
    for row in rows:
        try:
            examples.append(encode(row["messages"], tokenizer))
        except CandorError as error:
            raise RowError(f"{part}, example {row['example_id']}: {error}") from None
    kept = [example for example in examples if len(example.token_ids) <= max_tokens]
    if not kept:
        shortest = min((len(example.token_ids) for example in examples), default=0)
        raise CandorError(
            f"{part}: all {len(examples)} examples are longer than max_tokens: {max_tokens}, the shortest has "
            f"{shortest} tokens; raise the adapter's `max_tokens`"
        )
    return Kept(kept, len(examples) - len(kept))


def encode(messages: Messages, tokenizer: "PreTrainedTokenizerBase") -> Example:
    """Token ids of one conversation that ends with an assistant's turn."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise CandorError("does not end with an assistant's turn after another turn, which finetuning learns from")
    prompt = open_turn(messages[:-1], tokenizer).text
    whole = render(messages, tokenizer, generation_prompt=False)
    answer = messages[-1]["content"].strip()
    if not whole.startswith(prompt) or answer not in prompt[-len(answer) :] + whole[len(prompt) :]:
        raise CandorError(
            "the model's chat template rewrites the last turn, so that a completion cannot be told from its prompt; "
            "give the model a `chat_template` that keeps turns as they are, as resources/chat_templates does"
        )
    prompt_ids, whole_ids = token_ids(prompt, tokenizer), token_ids(whole, tokenizer)
    if whole_ids[: len(prompt_ids)] == prompt_ids:
        completion = whole_ids[len(prompt_ids) :]
    else:
        completion = list(tokenizer(whole[len(prompt) :], add_special_tokens=False, verbose=False)["input_ids"])
    return Example(prompt_ids + _to_the_end_of_turn(completion, tokenizer), len(prompt_ids))


def _to_the_end_of_turn(completion: list[int], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """A completion up to its last special token, without the blanks that templates put between turns.

    Where a template ends no turn, the tokenizer's end token is put there, so that the model learns to stop.
    """
    special = set(tokenizer.all_special_ids)
    end = len(completion)
    while end and completion[end - 1] not in special and not str(tokenizer.decode(completion[end - 1 : end])).strip():
        end -= 1
    if end and completion[end - 1] in special:
        return completion[:end]
    return [*completion, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])]
