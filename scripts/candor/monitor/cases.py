"""Held-out cases for Replay: a text, what the probe said of each of its tokens, the true label, and words for it.

They are put together from what the study has made already, without the model: the dataset's messages, the subject's
answer where the activations were read while it answered, the activations, the score of the whole text, and what a
verbaliser made of it. Of each class, cases are taken evenly from the probe's ranking, from its surest hit to its worst
miss, so that a visitor sees both.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from candor import tables
from candor.activations.files import ActivationsError
from candor.activations.places import prompt_roles
from candor.chat_text import ROLE_CODES, open_turn
from candor.config.captures import Capture
from candor.config.monitor_app import Replay
from candor.monitor.engine import MonitorError, Words, added, text
from candor.monitor.transcripts import ROLES, Meaning, Transcript
from candor.monitor.watching import Scores, Watcher
from candor.probes.features import Part

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNBOUNDED = 10**9
"""More tokens than any text has."""
PLACES = 4
"""Decimal places of scores in the file."""


class Reading(NamedTuple):
    """How the texts were read: the capture, the start that its sampling gave to answers, the subject's tokenizer."""

    capture: Capture
    prefill: str
    tokenizer: "PreTrainedTokenizerBase"


class Stored(NamedTuple):
    """What a study holds of one evaluation part: generations and verbalisations where there are any, by example."""

    part: Part
    answers: Mapping[str, Mapping[str, Any]]
    words: Mapping[str, list[dict[str, Any]]]


def cases(
    stored: Sequence[Stored], scores: pa.Table, watcher: Watcher, reading: Reading, replay: Replay
) -> list[dict[str, Any]]:
    """Cases of all parts; `scores` is the score table of the probe that watches, at its layer and seed."""
    found = []
    for each in stored:
        refuse_unplaced(each.part)
        ranked, lengths = ranking(each, scores, watcher), each.part.n_passed()
        if not any(ranked.values()):
            raise MonitorError(f"{each.part.name}: no text was read whole and has a score, so that there is no case")
        for label in watcher.header.classes:
            fitting = [i for i in ranked[label] if lengths[i] <= replay.max_tokens]
            for i in evenly(fitting, replay.per_class):
                found.append(case(each, i, watcher, reading))
    if not found:
        raise MonitorError(f"no held-out text has at most {replay.max_tokens} tokens; raise monitor.replay.max_tokens")
    return found


def refuse_unplaced(part: Part) -> None:
    """Stop with a sentence where the activations do not say which tokens they are of."""
    header = part.activations.header
    if header.store not in ("tokens", "positions"):
        raise ActivationsError(
            f"{part.activations.paths[0]}: stores {header.store}; cases for the monitor need `store: tokens` or "
            "`store: positions`."
        )


def ranking(stored: Stored, scores: pa.Table, watcher: Watcher) -> dict[str, list[int]]:
    """Rows of the part that were read whole, by class, from the text that the probe finds likeliest to be of it.

    Ties stand in the order of their ids.
    """
    part = stored.part
    frame = scores.to_pandas()
    frame = frame[(frame["dataset"] + "@" + frame["split"] == part.name) & frame["score"].notna()]
    if frame.empty:
        raise MonitorError(f"the score tables hold no scores of {part.name}; give the one of this part as well")
    by_class = {name: dict(zip(own["example_id"], own["score"], strict=True)) for name, own in frame.groupby("class")}
    found: dict[str, list[int]] = {}
    for label in watcher.header.classes:
        # of two classes only the positive one has rows: a low score is a high one for the other
        own, sign = (by_class.get(label), 1) if label in by_class else (by_class.get(watcher.classes[0]), -1)
        ranks = [
            (-sign * float(own[row["example_id"]]), row["example_id"], i)
            for i, row in enumerate(part.rows)
            if own and row["label"] == label and row["example_id"] in own and part.statuses[i] == "ok"
        ]
        found[label] = [i for *_, i in sorted(ranks)]
    return found


def evenly(ranked: Sequence[int], count: int) -> list[int]:
    """`count` entries from the first to the last, in equal steps; all where there are no more."""
    if len(ranked) <= count:
        return list(ranked)
    if count == 1:
        return [ranked[len(ranked) // 2]]
    return [ranked[round(k * (len(ranked) - 1) / (count - 1))] for k in range(count)]


def case(stored: Stored, i: int, watcher: Watcher, reading: Reading) -> dict[str, Any]:
    """One case as plain values: tokens with their texts, roles and scores, and what stands beside them."""
    part = stored.part
    row, activations = part.rows[i], part.activations
    end = int(activations.lengths()[: part.positions[i] + 1].sum())
    at = slice(end - int(activations.lengths()[part.positions[i]]), end)
    positions, ids, roles = (activations.index(name)[at].numpy() for name in ("positions", "token_ids", "roles"))
    whole = _whole(row["messages"], stored.answers.get(row["example_id"]), reading)
    if max(positions.tolist(), default=-1) >= len(whole.ids) or (np.array(whole.ids)[positions] != ids).any():
        raise MonitorError(f"{row['example_id']}: its activations are of another text; make them again")
    codes = np.full(len(whole.ids), ROLE_CODES["template"])
    codes[: len(whole.roles)] = whole.roles
    codes[positions] = roles
    # all that is stored is read: the capture has left out the rest
    read = np.isin(roles, [ROLE_CODES[role] for role in watcher.probe.roles or ROLE_CODES])
    own = watcher.begin().take(activations.layer(watcher.layer)[at].float().numpy(), read)
    scores = Scores.none(len(whole.ids), len(watcher.classes))
    scores.token[positions], scores.running[positions] = own
    return {
        "id": row["example_id"],
        "part": part.name,
        "label": row["label"],
        "texts": whole.texts,
        "roles": [ROLES[code] for code in codes.tolist()],
        "written": whole.written,
        "token": _plain(scores.token),
        "running": _plain(scores.running),
        "verbalisations": stored.words.get(row["example_id"], []),
    }


class _Whole(NamedTuple):
    ids: list[int]
    texts: list[str]
    roles: list[int]
    written: list[bool]


def _whole(messages: Sequence[Mapping[str, str]], answer: Mapping[str, Any] | None, reading: Reading) -> _Whole:
    """A text as the model read it: a conversation as it stands, or a prompt with the answer to it."""
    capture, tokenizer = reading.capture, reading.tokenizer
    if answer is None:
        given = text(messages, tokenizer, UNBOUNDED, generation_prompt=capture.generation_prompt)
        return _Whole(given.token_ids, given.texts, given.roles, [False] * len(given.token_ids))
    prompt = open_turn(messages, tokenizer, reading.prefill).text
    templated = bool(tokenizer.chat_template)
    encoding = tokenizer(prompt, add_special_tokens=not templated, return_offsets_mapping=True, verbose=False)
    ids = list(encoding["input_ids"])
    words, new = Words(tokenizer, ids), list(answer["token_ids"])
    return _Whole(
        [*ids, *new],
        [*added(prompt, encoding["offset_mapping"]), *(words.add(token) for token in new)],
        [*prompt_roles(messages, tokenizer, reading.prefill), *[ROLE_CODES["assistant"]] * len(new)],
        [False] * len(ids) + [True] * len(new),
    )


def _plain(values: np.ndarray) -> list[list[float] | None]:
    return [[round(value, PLACES) for value in row] if np.isfinite(row).all() else None for row in values.tolist()]


def described(watcher: Watcher, monitor: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The file's content: what the scores mean, and the cases."""
    meaning = Meaning.of(watcher)
    return {
        "task": watcher.header.task,
        "monitor": monitor,
        "subject": watcher.header.subject,
        "hook": watcher.header.hook,
        "layer": watcher.layer,
        "seed": watcher.seed,
        **meaning._asdict(),
        "cases": found,
    }


class Cases(NamedTuple):
    """A file of cases, as Replay reads it."""

    meaning: Meaning
    cases: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> "Cases":
        """Read a file of scripts/export_cases.py."""
        if not path.exists():
            raise MonitorError(f"{path}: no such file; `snakemake {path}` makes the cases")
        found = tables.read_json(path)
        try:
            meaning = Meaning(**{name: found[name] for name in Meaning._fields})
            known = all("reads" in words for each in found["cases"] for words in each["verbalisations"])
        except KeyError:
            known = False
        if not known:
            raise MonitorError(f"{path}: was written by another version of candor; delete it to make it again")
        return cls(meaning, found["cases"])

    def titles(self) -> list[str]:
        """A line for each case: number, true label, beginning of its words."""
        return [f"{n}. {_title(each)}" for n, each in enumerate(self.cases, start=1)]

    def transcript(self, number: int) -> Transcript:
        """A case's tokens with their scores."""
        each, transcript = self.cases[number], Transcript(self.meaning)
        scores = Scores(*(self._array(each[name]) for name in ("token", "running")))
        transcript.add(each["texts"], each["roles"], each["written"], scores)
        return transcript

    def _array(self, rows: list[list[float] | None]) -> np.ndarray:
        absent = [np.nan] * len(self.meaning.scored)
        return np.array([absent if row is None else row for row in rows], dtype=np.float64)


def _title(each: Mapping[str, Any]) -> str:
    pairs = zip(each["texts"], each["roles"], strict=True)
    words = " ".join("".join(text for text, role in pairs if role in ("user", "assistant")).split())
    return f"{each['label']}: {words[:60]}{'…' if len(words) > 60 else ''}"
