"""One generation job, from its command line to its table.

The requests are given to the engine in calls of a fixed number. A call's rows are journalled when it is done, and a job
that was killed goes on with the next one: the texts of a call depend on nothing but its own requests, so that the bytes
are the same, also in bfloat16, where a text can depend on what runs beside it.
"""

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from candor import provenance, tables
from candor.chat_text import open_turn, token_ids
from candor.config.models import Model
from candor.config.samplings import Sampling
from candor.generations import responding
from candor.generations.engine import Engine, Request, Watch
from candor.generations.loading import PACKAGES, Files, load
from candor.generations.responding import Item, Prompt, Row, Turn, counts_of, items_of, prefill_of
from candor.partial import journalled, workplace
from candor.progress import Progress
from candor.schemas.generation import GENERATION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def generate(args: Namespace) -> dict[str, int]:
    """Generate for a shard of a dataset table with the sampling and model of the spec; return counts by status."""
    sampling = Sampling.model_validate(args.spec["samplings"])
    model: Model = TypeAdapter(Model).validate_python(args.spec["models"])
    items = items_of(args.data, args.shard, sampling.n)
    files = Files.of(args)
    loaded = load(files, model, sampling.engine, sampling.batch_size, args.threads)
    made = provenance.record(__file__, args.code, args.spec, [*files.read(), args.data], PACKAGES, **loaded.facts)
    made["script"] = "generate.py"
    calls = [items[at : at + loaded.engine.at_once] for at in range(0, len(items), loaded.engine.at_once)]
    with workplace(args.partial / provenance.digest([made, args.shard])[:24]) as folder:
        with journalled(folder / "journal.jsonl") as journal, loaded.around:
            found: list[Row] = [row for call in journal.done for row in call]
            progress = Progress(f"generate {args.data.stem}", len(items), "responses", args.progress, done=len(found))
            for call in calls[len(journal.done) :]:
                fresh = respond(loaded.engine, loaded.tokenizer, sampling, call, partial(_say, progress, len(found)))
                found += fresh
                journal.add(fresh)
        counts = counts_of(found)
        tables.write(args.output, found, GENERATION, {**made, **counts})
    statuses: dict[str, int] = counts["statuses"]
    return statuses


def _say(progress: Progress, before: int, finished: int) -> None:
    progress.update(before + finished)


def respond(
    engine: Engine,
    tokenizer: "PreTrainedTokenizerBase",
    sampling: Sampling,
    items: Sequence[Item],
    finished: Callable[[int], None] = lambda _: None,
    watch: Watch | None = None,
) -> list[Row]:
    """Rows of the generation table, one per item and in their order, as an engine continues them, watched or not."""
    return responding.respond(partial(_turns, engine, tokenizer, sampling, watch), sampling, items, finished)


def _turns(
    engine: Engine,
    tokenizer: "PreTrainedTokenizerBase",
    sampling: Sampling,
    watch: Watch | None,
    prompts: Sequence[Prompt],
    finished: Callable[[int], None],
) -> list[Turn]:
    """What comes of each prompt; one that is empty or too long is invalid, and not given to the engine."""
    opened = [open_turn(prompt.messages, tokenizer, prefill_of(prompt.messages, sampling)) for prompt in prompts]
    encoded = [token_ids(each.text, tokenizer) for each in opened]
    longest = min(sampling.max_prompt_tokens, (engine.context or sampling.max_prompt_tokens + 1) - 1)
    turns = {
        (prompt.example_id, prompt.sample_index): Turn("", [], len(ids), 0, "invalid")
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
    for done in engine.generate(requests, sampling, watch):
        key = (done.request.example_id, done.request.sample_index)
        text = "" if done.status == "not_finite" else starts[key] + done.text
        turns[key] = Turn(text, done.token_ids, len(done.request.prompt), len(done.token_ids), done.status)
        through += 1
        finished(through)
    return list(turns.values())
