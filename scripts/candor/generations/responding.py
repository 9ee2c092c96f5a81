"""From conversations to rows of the generation table, whoever continues them: an engine, or a chat client."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from candor import responses, tables
from candor.batching import shard_slice
from candor.config.samplings import Sampling
from candor.generations.engine import GenerationError
from candor.schemas.dataset import DATASET
from candor.schemas.status import SCORED

Messages = Sequence[Mapping[str, str]]
Item = tuple[str, int, Messages]
"""Example, sample, and the conversation that is continued."""
Row = dict[str, Any]
WORST_FIRST = ("invalid", "not_finite", "error", "refused", "truncated", "ok")
"""What can become of a turn."""


class Prompt(NamedTuple):
    """A conversation to be continued, for one sample; `first_step` is the number of its first draw."""

    example_id: str
    sample_index: int
    messages: Messages
    max_new_tokens: int
    first_step: int = 0


class Turn(NamedTuple):
    """The assistant's turn that came of a prompt: its whole text, and what became of it.

    `token_ids` are those generated, none from a chat client, which counts its tokens but does not give them.
    """

    text: str
    token_ids: list[int]
    prompt_tokens: int
    new_tokens: int
    status: str


Continue = Callable[[Sequence[Prompt], Callable[[int], None]], list[Turn]]
"""Gives each prompt its turn, in their order, and tells the second argument how many turns are through."""


def items_of(data: Path, shard: str, samples: int) -> list[Item]:
    """What a job continues: each example of a shard of a dataset table, for a number of samples."""
    rows = tables.read(data, DATASET).to_pylist()
    rows = rows[shard_slice(shard, len(rows))]
    if not rows:
        raise GenerationError(f"{data}: shard {shard} holds no examples; check the dataset, or `run.shards`")
    return [(row["example_id"], k, row["messages"]) for row in rows for k in range(samples)]


def counts_of(rows: Sequence[Row]) -> dict[str, Any]:
    """How many rows have which status, and the tokens of all."""
    return {
        "statuses": dict(sorted(Counter(row["status"] for row in rows).items())),
        **{name: sum(row[name] for row in rows) for name in ("prompt_tokens", "new_tokens")},
    }


def respond(
    continued: Continue,
    sampling: Sampling,
    items: Sequence[Item],
    finished: Callable[[int], None] = lambda _: None,
) -> list[Row]:
    """Rows of the generation table, one per item and in their order.

    `finished` is told how many responses are through. With `reasoning: prompted` there are two requests, for the
    reasoning and then for an answer with it; the draws of the second go on where the first may have ended.
    """
    if sampling.reasoning == "prompted":
        return _prompted(continued, sampling, items, finished)
    prompts = [Prompt(id, k, messages, sampling.max_new_tokens) for id, k, messages in items]
    turns = continued(prompts, finished)
    return [_row(prompt, turn, sampling) for prompt, turn in zip(prompts, turns, strict=True)]


def prefill_of(messages: Messages, sampling: Sampling) -> str:
    """What the assistant's turn starts with; a turn that the prompt has begun is not begun again."""
    return "" if messages and messages[-1]["role"] == "assistant" else sampling.prefill


def _prompted(
    continued: Continue,
    sampling: Sampling,
    items: Sequence[Item],
    finished: Callable[[int], None],
) -> list[Row]:
    asked = [
        Prompt(id, k, _asked(id, messages, sampling.reasoning_prompt), sampling.max_reasoning_tokens)
        for id, k, messages in items
    ]
    thoughts = continued(asked, lambda _: None)
    able = [i for i, turn in enumerate(thoughts) if turn.status in SCORED and turn.text.strip()]
    prompts = [
        Prompt(
            items[i][0],
            items[i][1],
            _asked(items[i][0], items[i][2], sampling.answer_prompt, thoughts[i].text.strip()),
            sampling.max_new_tokens,
            first_step=sampling.max_reasoning_tokens,
        )
        for i in able
    ]
    through = len(items) - len(able)
    answers = dict(zip(able, continued(prompts, lambda n: finished(through + n)), strict=True))
    return [
        _row(prompt, _both(thoughts[i], answers[i]) if i in answers else _silent(thoughts[i]), sampling)
        for i, prompt in enumerate(asked)
    ]


def _both(thoughts: Turn, answer: Turn) -> Turn:
    """One turn of two: the worse status of both."""
    return Turn(
        responses.join(thoughts.text, answer.text) if answer.status in SCORED else "",
        thoughts.token_ids + answer.token_ids,
        thoughts.prompt_tokens + answer.prompt_tokens,
        thoughts.new_tokens + answer.new_tokens,
        min(thoughts.status, answer.status, key=WORST_FIRST.index),
    )


def _silent(thoughts: Turn) -> Turn:
    """A turn whose reasoning did not come about, so that no answer was asked for."""
    return thoughts._replace(text="", status="empty" if thoughts.status == "ok" else thoughts.status)


def _asked(example_id: str, messages: Messages, template: str, reasoning: str = "") -> Messages:
    """The conversation with its last user turn put into a prompt; braces in the texts are left alone."""
    if not messages or messages[-1]["role"] != "user":
        raise GenerationError(
            f"example {example_id}: reasoning: prompted needs a conversation that ends with the user's turn"
        )
    texts = {"{prompt}": messages[-1]["content"], "{reasoning}": reasoning}
    filled = re.sub(r"\{prompt\}|\{reasoning\}", lambda field: texts[field[0]], template)
    return [*messages[:-1], {"role": "user", "content": filled}]


def _row(prompt: Prompt, turn: Turn, sampling: Sampling) -> Row:
    """A turn as a row; the words of one that was refused stay in `text`, and are neither reasoning nor answer."""
    whole = turn.status in SCORED
    response = responses.split(turn.text if whole else "", reasoning=sampling.reasoning != "none")
    return {
        "example_id": prompt.example_id,
        "sample_index": prompt.sample_index,
        "text": turn.text,
        "token_ids": turn.token_ids,
        "reasoning": response.reasoning,
        "answer": response.answer,
        "status": response.status if turn.status == "ok" else turn.status,
        "prompt_tokens": turn.prompt_tokens,
        "new_tokens": turn.new_tokens,
        "seed": sampling.seed,
    }
