"""One generation job, from its command line to its table.

The requests are given to the engine in calls of a fixed number. A call's rows are journalled when it is done, and a job
that was killed goes on with the next one: the texts of a call depend on nothing but its own requests, so that the bytes
are the same, also in bfloat16, where a text can depend on what runs beside it.
"""

import json
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter

from candor import models, provenance, responses, tables
from candor.batching import shard_slice
from candor.chat_text import open_turn, token_ids
from candor.config.models import Model
from candor.config.samplings import Sampling
from candor.generations.engine import Engine, GenerationError, Request
from candor.partial import entries, workplace
from candor.progress import Progress
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PACKAGES = ("torch", "transformers", "peft", "safetensors")
Messages = Sequence[Mapping[str, str]]
Row = dict[str, Any]


class Prompt(NamedTuple):
    """A conversation to be continued, for one sample; `first_step` is the number of its first draw."""

    example_id: str
    sample_index: int
    messages: Messages
    max_new_tokens: int
    first_step: int = 0


class Turn(NamedTuple):
    """The assistant's turn that came of a prompt: its whole text, the tokens generated of it, and what became of it."""

    text: str
    token_ids: list[int]
    prompt_tokens: int
    status: str


class Loaded(NamedTuple):
    """An engine, the tokenizer of its model, what to do around it, and what bears on the numbers."""

    engine: Engine
    tokenizer: "PreTrainedTokenizerBase"
    around: AbstractContextManager[None]
    facts: dict[str, Any]


def generate(args: Namespace) -> dict[str, int]:
    """Generate for a shard of a dataset table with the sampling and model of the spec; return counts by status."""
    sampling = Sampling.model_validate(args.spec["samplings"])
    model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
    rows = tables.read(args.data, DATASET).to_pylist()
    rows = rows[shard_slice(args.shard, len(rows))]
    if not rows:
        raise GenerationError(f"{args.data}: shard {args.shard} holds no examples; check the dataset, or `run.shards`")
    loaded = _load(args, sampling, model)
    inputs = [Path(args.model), args.data, *([args.directions] if args.directions else [])]
    if args.adapter:
        inputs += [args.adapter / "adapter_model.safetensors", args.adapter / "adapter_config.json"]
    made = provenance.record(__file__, args.code, args.spec, inputs, PACKAGES, **loaded.facts)
    made["script"] = "generate.py"
    items = [(row["example_id"], k, row["messages"]) for row in rows for k in range(sampling.n)]
    calls = [items[at : at + loaded.engine.at_once] for at in range(0, len(items), loaded.engine.at_once)]
    with workplace(args.partial / provenance.digest([made, args.shard])[:24]) as folder:
        journal = folder / "journal.jsonl"
        done: list[list[Row]] = entries(journal)
        found = [row for call in done for row in call]
        progress = Progress(f"generate {args.data.stem}", len(items), "responses", args.progress, done=len(found))
        with journal.open("w", encoding="utf-8") as log, loaded.around:
            log.writelines(json.dumps(call) + "\n" for call in done)  # without a last line that was cut off
            log.flush()
            for call in calls[len(done) :]:
                fresh = respond(loaded.engine, loaded.tokenizer, sampling, call, partial(_say, progress, len(found)))
                found += fresh
                log.write(json.dumps(fresh) + "\n")
                log.flush()
        counts = dict(sorted(Counter(row["status"] for row in found).items()))
        tokens = {name: sum(row[name] for row in found) for name in ("prompt_tokens", "new_tokens")}
        tables.write(args.output, found, GENERATION, {**made, "statuses": counts, **tokens})
    return counts


def _say(progress: Progress, before: int, finished: int) -> None:
    progress.update(before + finished)


def respond(
    engine: Engine,
    tokenizer: "PreTrainedTokenizerBase",
    sampling: Sampling,
    items: Sequence[tuple[str, int, Messages]],
    finished: Callable[[int], None] = lambda _: None,
) -> list[Row]:
    """Rows of the generation table for (example, sample, messages), in their order.

    `finished` is told how many responses are through. With `reasoning: prompted` the model is asked twice, for its
    reasoning and then for an answer with it; the second draws go on where the first may have ended.
    """
    if sampling.reasoning == "prompted":
        return _prompted(engine, tokenizer, sampling, items, finished)
    prompts = [Prompt(id, k, messages, sampling.max_new_tokens) for id, k, messages in items]
    turns = _turns(engine, tokenizer, sampling, prompts, finished)
    return [_row(prompt, turn, sampling) for prompt, turn in zip(prompts, turns, strict=True)]


def _prompted(
    engine: Engine,
    tokenizer: "PreTrainedTokenizerBase",
    sampling: Sampling,
    items: Sequence[tuple[str, int, Messages]],
    finished: Callable[[int], None],
) -> list[Row]:
    asked = [
        Prompt(id, k, _asked(id, messages, sampling.reasoning_prompt), sampling.max_reasoning_tokens)
        for id, k, messages in items
    ]
    thoughts = _turns(engine, tokenizer, sampling, asked, lambda _: None)
    able = [i for i, turn in enumerate(thoughts) if turn.status in ("ok", "truncated") and turn.text.strip()]
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
    answers = dict(
        zip(able, _turns(engine, tokenizer, sampling, prompts, lambda n: finished(through + n)), strict=True)
    )
    return [
        _row(prompt, _both(thoughts[i], answers[i]) if i in answers else _silent(thoughts[i]), sampling)
        for i, prompt in enumerate(asked)
    ]


def _both(thoughts: Turn, answer: Turn) -> Turn:
    """One turn of two: the worse status of both, in the order invalid, not_finite, truncated, ok."""
    order = ("invalid", "not_finite", "truncated", "ok")
    return Turn(
        responses.join(thoughts.text, answer.text) if answer.status in ("ok", "truncated") else "",
        thoughts.token_ids + answer.token_ids,
        thoughts.prompt_tokens + answer.prompt_tokens,
        min(thoughts.status, answer.status, key=order.index),
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


def _turns(
    engine: Engine,
    tokenizer: "PreTrainedTokenizerBase",
    sampling: Sampling,
    prompts: Sequence[Prompt],
    finished: Callable[[int], None],
) -> list[Turn]:
    """What comes of each prompt; one that is empty or too long is invalid, and not given to the engine."""
    opened = [open_turn(prompt.messages, tokenizer, _start(prompt.messages, sampling)) for prompt in prompts]
    encoded = [token_ids(each.text, tokenizer) for each in opened]
    longest = min(sampling.max_prompt_tokens, (engine.context or sampling.max_prompt_tokens + 1) - 1)
    turns = {
        (prompt.example_id, prompt.sample_index): Turn("", [], len(ids), "invalid")
        for prompt, ids in zip(prompts, encoded, strict=True)
    }
    starts = {}
    requests = []
    for prompt, start, ids in zip(prompts, opened, encoded, strict=True):
        if 0 < len(ids) <= longest:
            starts[prompt.example_id, prompt.sample_index] = start.turn
            requests.append(
                Request(prompt.example_id, prompt.sample_index, ids, prompt.max_new_tokens, prompt.first_step)
            )
    through = len(prompts) - len(requests)
    for done in engine.generate(requests, sampling):
        key = (done.request.example_id, done.request.sample_index)
        text = "" if done.status == "not_finite" else starts[key] + done.text
        turns[key] = Turn(text, done.token_ids, len(done.request.prompt), done.status)
        through += 1
        finished(through)
    return list(turns.values())


def _start(messages: Messages, sampling: Sampling) -> str:
    """What the model's turn starts with; a turn that the prompt has begun is not begun again."""
    return "" if messages and messages[-1]["role"] == "assistant" else sampling.prefill


def _row(prompt: Prompt, turn: Turn, sampling: Sampling) -> Row:
    response = responses.split(turn.text, reasoning=sampling.reasoning != "none")
    return {
        "example_id": prompt.example_id,
        "sample_index": prompt.sample_index,
        "text": turn.text,
        "token_ids": turn.token_ids,
        "reasoning": response.reasoning,
        "answer": response.answer,
        "status": response.status if turn.status == "ok" else turn.status,
        "prompt_tokens": turn.prompt_tokens,
        "new_tokens": len(turn.token_ids),
        "seed": sampling.seed,
    }


def _load(args: Namespace, sampling: Sampling, model: Model) -> Loaded:
    facts = models.read_facts(Path(args.model))
    if sampling.engine == "vllm":
        from candor.generations.vllm_engine import VllmEngine

        if args.directions:
            raise GenerationError("engine: vllm cannot take a direction out; use engine: transformers for ablations")
        folder, (device, dtype) = models.folder_of(model, facts), models.placement(model)
        tokenizer = models.tokenizer_of(folder, facts)
        engine: Engine = VllmEngine(folder, tokenizer, dtype, sampling.batch_size, args.adapter)
        version = provenance.record("", "", {}, [], ["vllm"])["versions"]["vllm"]
        return Loaded(
            engine,
            tokenizer,
            nullcontext(),
            {"device": device, "dtype": dtype, "threads": None, "engine": f"vllm {version}"},
        )
    import torch

    from candor.generations.ablation import ablated, read_direction
    from candor.generations.transformers_engine import TransformersEngine

    if args.threads:
        torch.set_num_threads(args.threads)
    subject = models.load(model, facts, args.adapter)
    weights = subject.model.get_input_embeddings().weight
    width = subject.model.config.get_text_config().hidden_size
    direction = read_direction(args.directions, args.spec["ablations"]["direction"], width) if args.directions else None
    return Loaded(
        TransformersEngine(subject, sampling.batch_size),
        subject.tokenizer,
        ablated(subject.model, direction),
        {
            "device": weights.device.type,
            "dtype": str(weights.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "engine": "transformers",
        },
    )
