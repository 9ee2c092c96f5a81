"""What the jobs of a graph that ask a server would cost, job by job, before anything is sent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from candor import tables
from candor.chat.rehearsing import Rehearsal, longest
from candor.config.clients import RemoteClient
from candor.config.judges import Chat
from candor.config.samplings import Sampling
from candor.config.verbalisers import ChatVerbaliser
from candor.generations.by_client import Teacher
from candor.generations.responding import items_of, respond
from candor.judges import chat, judging
from candor.judges.grading import verbalised
from candor.judges.templates import read_template
from candor.judges.texts import Judged
from candor.responses import split
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.verbalisation import VERBALISATION
from candor.verbalisers.chat import Shown, verbalise
from candor.verbalisers.templates import read_template as read_verbaliser_template

HEADINGS = ("asked by", "client", "requests", "to ask", "tokens in", "tokens out", "US dollars")
COUNTS = ("requests", "missing", "tokens_in", "tokens_out")


@dataclass(frozen=True)
class Job:
    """A job that asks a server: who asks whom, with which files.

    `who` is a judge's, a verbaliser's or a sampling's id. `generations` are those that it reads, none for labels and
    teachers; `sampling` is what they are made with. `verbalisations` are those that a grader reads, which `verbaliser`
    writes of what `capture` stores.
    """

    who: str
    client: str
    spec: Mapping[str, Any]
    pace: Mapping[str, Any]
    data: Path
    shard: str
    generations: Sequence[Path] = ()
    sampling: Mapping[str, Any] | None = None
    verbalisations: Sequence[Path] = ()
    verbaliser: Mapping[str, Any] | None = None
    capture: Mapping[str, Any] | None = None


@dataclass
class Cost:
    """What is missing of a judge's or a teacher's replies.

    `guessed` counts requests about texts that are not made yet, taken to be as long as they can be; `unknown` counts
    jobs whose dataset is not made yet, so that nothing can be said.
    """

    who: str
    client: str
    requests: int = 0
    missing: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    guessed: int = 0
    unknown: int = 0


def costs(jobs: Iterable[Job]) -> list[Cost]:
    """The cost of each judge and teacher, in the order in which they first come."""
    found: dict[tuple[str, str], Cost] = {}
    rehearsals: dict[tuple[str, str], Rehearsal] = {}
    for job in jobs:
        key = job.who, job.client
        cost = found.setdefault(key, Cost(job.who, job.client))
        if not job.data.exists():
            cost.unknown += 1
            continue
        rehearsal = rehearsals.setdefault(key, Rehearsal(_client(job)))
        before = rehearsal.missing
        if _rehearse(job, rehearsal):
            cost.guessed += rehearsal.missing - before
    for key, rehearsal in rehearsals.items():
        cost = found[key]
        cost.requests, cost.missing, cost.usd = rehearsal.requests, rehearsal.missing, rehearsal.usd
        cost.tokens_in, cost.tokens_out = rehearsal.tokens_in, rehearsal.tokens_out
    return list(found.values())


def _client(job: Job) -> RemoteClient:
    entry = {key: value for key, value in {**job.spec["clients"], **job.pace}.items() if key != "budget_usd"}
    config: RemoteClient = TypeAdapter(RemoteClient).validate_python(entry)
    return config


def _rehearse(job: Job, rehearsal: Rehearsal) -> bool:
    """Count a job's requests; True where they are about texts that nobody has written yet."""
    if "samplings" in job.spec:
        sampling = Sampling.model_validate(job.spec["samplings"])
        teacher = Teacher(rehearsal, sampling, job.spec["clients"]["provider"])
        respond(teacher, sampling, items_of(job.data, job.shard, sampling.n))
        return False
    if "verbalisers" in job.spec:
        return _rehearse_verbaliser(job, rehearsal)
    judge = Chat.model_validate(job.spec["judges"])
    data = tables.read(job.data, DATASET)
    guessed = not all(path.exists() for path in [*job.generations, *job.verbalisations])
    if guessed and job.verbalisations:
        texts = _unsaid(job)
    elif job.verbalisations:
        said = [tables.read(path, VERBALISATION) for path in job.verbalisations]
        texts = verbalised(data, said, judge, job.shard)
    elif guessed:
        texts = _unwritten(job)
    elif job.generations:
        texts = judging.responses(data, [tables.read(path, GENERATION) for path in job.generations], job.shard)
    else:
        texts = judging.last_turns(data, job.shard, judging.reads_answers(judge))
    chat.judge(texts, judge, rehearsal, read_template(Path(judge.template), judge))
    return guessed


def _rehearse_verbaliser(job: Job, rehearsal: Rehearsal) -> bool:
    """Count a verbaliser's requests; True where it is shown responses that nobody has written yet."""
    config = ChatVerbaliser.model_validate(job.spec["verbalisers"])
    examples = _in_splits(job, config.splits)
    guessed = config.response and not all(path.exists() for path in job.generations)
    if not config.response:
        shown = [Shown(each["messages"]) for each in examples]
    elif guessed:
        written = {text.example_id: text for text in _unwritten(job)}
        shown = [Shown(each["messages"], written[each["example_id"]].answer) for each in examples]
    else:
        messages = {each["example_id"]: each["messages"] for each in examples}
        rows = [row for path in job.generations for row in tables.read(path, GENERATION).to_pylist()]
        own = [row for row in rows if row["example_id"] in messages]
        shown = [Shown(messages[row["example_id"]], row["text"], row["status"]) for row in own]
    verbalise(shown, config, rehearsal, read_verbaliser_template(Path(config.template), config))
    return guessed


def _in_splits(job: Job, splits: Sequence[str]) -> list[dict[str, Any]]:
    """The examples of a job's shard that a verbaliser of these splits puts into words."""
    rows = judging.rows_of_shard(tables.read(job.data, DATASET), job.shard)
    return [row for row in rows if not splits or row["split"] in splits]


def _unsaid(job: Job) -> list[Judged]:
    """Verbalisations of the greatest length, each of them different, of as many places as are put into words."""
    assert job.verbaliser is not None  # there are no verbalisations without one
    assert job.capture is not None
    entry = job.verbaliser
    said = longest(entry.get("max_tokens") or entry.get("max_new_tokens") or 200)
    places = 1 if entry["kind"] == "chat" else places_of(job.capture, entry)
    texts = []
    for row in _in_splits(job, entry.get("splits", [])):
        for place in range(places):
            text = f"{row['example_id']} {place} {said}"
            texts.append(Judged(row["example_id"], 0, row["group_id"], None, (), None, text, "ok", {}, place))
    return texts


def places_of(capture: Mapping[str, Any], verbaliser: Mapping[str, Any]) -> int:
    """The most tokens of an example that an activation verbaliser puts into words; of all tokens, 200 are taken."""
    positions = capture.get("positions", [])
    policies = {"even": capture.get("k") or 1, "last_prompt": 1, "ends": 2}
    listed = len(positions or capture.get("spans", [])) if not isinstance(positions, str) else policies.get(positions)
    stored = listed or 200
    return min(len(verbaliser.get("rows", [])) or stored, stored)


def _unwritten(job: Job) -> list[Judged]:
    """Responses of the greatest length to a shard's prompts, each of them different, whichever part is read."""
    assert job.sampling is not None  # there are no generations without one
    sampling = Sampling.model_validate(job.sampling)
    texts = []
    for id, k, messages in items_of(job.data, job.shard, sampling.n):
        said = f"<code>{id} {k} {longest(sampling.max_new_tokens)}</code>"
        thought = f"{id} {k} {longest(sampling.max_reasoning_tokens if sampling.reasoning == 'prompted' else 1)}"
        whole = said if sampling.reasoning == "none" else f"<think>{thought}</think>{said}"
        reasoning, answer, _ = split(whole, reasoning=sampling.reasoning != "none")
        texts.append(Judged(id, k, id, None, messages, reasoning, answer, "ok", {}))
    return texts


def lines(found: list[Cost], target: str) -> list[str]:
    """The costs as a table, and what its numbers rest on."""
    if not found:
        return [f"No job of {target} asks a server: it costs nothing."]
    rows: list[tuple[str, ...]] = [
        (
            cost.who,
            cost.client,
            f"{cost.requests:,}",
            f"{cost.missing:,}",
            f"{cost.tokens_in:,}",
            f"{cost.tokens_out:,}",
            f"{cost.usd:,.2f}",
        )
        for cost in found
    ]
    rows.append(("all", "", *(f"{sum(getattr(cost, key) for cost in found):,}" for key in COUNTS), _dollars(found)))
    widths = [max(len(row[i]) for row in [HEADINGS, *rows]) for i in range(len(HEADINGS))]
    table = ["  ".join(_placed(row, widths)).rstrip() for row in [HEADINGS, *rows]]
    notes = [
        "Requests: distinct ones; to ask: those whose replies are not in the cache. Tokens in: estimated, a quarter of "
        "the bytes; tokens out: the most that the replies can have. Dollars: both at the price of the config."
    ]
    if guessed := sum(cost.guessed for cost in found):
        notes.append(f"{guessed:,} of them are about texts that are not made yet, taken to be as long as they can be.")
    for cost in found:
        if cost.unknown:
            notes.append(f"{cost.who}: {cost.unknown} of its jobs read a dataset that is not made yet, not counted.")
    return [*table, "", *notes]


def _dollars(found: list[Cost]) -> str:
    return f"{sum(cost.usd for cost in found):,.2f}"


def _placed(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [
        text.ljust(width) if i < 2 else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
