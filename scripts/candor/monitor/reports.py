"""What the monitor says of a text without the app: one JSON object, for people and for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from candor.activations.places import places
from candor.chat_text import ROLE_CODES
from candor.config.samplings import Sampling
from candor.errors import CandorError
from candor.monitor.choosing import Fitting
from candor.monitor.engine import MonitorError, Read, converse, read_text, text
from candor.monitor.transcripts import Transcript, watched


class Heard(NamedTuple):
    """A chat that was read: its transcript and the scores of the whole text [c].

    `truncated`: the text was cut; `broken`: an activation is not finite.
    """

    transcript: Transcript
    scores: np.ndarray
    truncated: bool
    broken: bool


def read_chat(fitting: Fitting, messages: Sequence[Mapping[str, str]]) -> Heard:
    """A finished chat, read as texts are that stand as they are; the last turn is the answer, if it is the assistant's.

    MonitorError where the probe reads nothing but answers and the chat has none.
    """
    if fitting.watcher.of_answers and not _is_answered(messages):
        raise MonitorError(
            "this probe reads what the model answers: let the model answer, or paste a chat that ends with a turn of "
            "the assistant"
        )
    capture, tokenizer = fitting.capture, fitting.engine.tokenizer
    given = text(messages, tokenizer, capture.max_tokens, capture.truncate, capture.generation_prompt)
    read = read_text(fitting.engine, fitting.place, given)
    pieces = parted(read) if fitting.sampling is not None and _is_answered(messages) else [read]
    *_, transcript = watched(fitting.watcher, pieces)
    return Heard(transcript, transcript.scores, given.truncated, not np.isfinite(read.activations).all())


def _is_answered(messages: Sequence[Mapping[str, str]]) -> bool:
    return messages[-1]["role"] == "assistant" and bool(messages[-1]["content"].strip())


def parted(read: Read) -> list[Read]:
    """A chat that ends with a turn of the assistant, as if it had been answered just now: before, answer, after.

    After the answer stands what ends the turn, which a model that answers does not read.
    """
    own = np.array(read.roles) == ROLE_CODES["assistant"]
    end = len(own) - int(own[::-1].argmax())
    others = np.flatnonzero(~own[:end])
    start = int(others[-1]) + 1 if len(others) else 0
    cuts = ((0, start, False), (start, end, True), (end, len(own), False))
    return [
        Read(read.texts[i:j], read.roles[i:j], read.activations[i:j], written, read.truncated)
        for i, j, written in cuts
        if i < j
    ]


def answer_chat(fitting: Fitting, messages: Sequence[Mapping[str, str]], sampling: Sampling) -> Heard:
    """A chat that the subject answers, scored at the places of the answer that the probe's capture stores."""
    reads = list(converse(fitting.engine, fitting.place, messages, sampling))
    *_, transcript = watched(fitting.watcher, reads)
    prompt = sum(len(read.roles) for read in reads if not read.written)
    new = sum(len(read.roles) for read in reads if read.written)
    truncated = new == sampling.max_new_tokens
    # a capture never reads the last token that is drawn, which is the end of the turn or one too many
    chosen = places(fitting.capture, prompt, prompt + new - truncated)
    rows = np.concatenate([read.activations for read in reads])[chosen]
    found = fitting.watcher.begin().take(rows, np.ones(len(rows), dtype=bool)).running
    scores = found[-1] if len(found) else np.full(len(fitting.watcher.classes), np.nan)
    return Heard(transcript, scores, truncated, not np.isfinite(rows).all())


def report(fitting: Fitting, written: str, with_tokens: bool) -> dict[str, Any]:
    """What the probe says of a text as a user's message; see docs/monitor.md for the keys."""
    watcher = fitting.watcher
    found: dict[str, Any] = {
        "probe": watcher.header.task,
        "subject": fitting.engine.source.subject,
        "layer": watcher.layer,
        "status": "empty",
        "scores": None,
        "probabilities": None,
        "threshold": {name: watcher.thresholds[name] for name in watcher.classes},
        "flagged": None,
        "predicted": None,
        "n_tokens": 0,
    }
    if not written.strip():
        return found
    chat = [{"role": "user", "content": written}]
    answering = fitting.sampling
    heard = read_chat(fitting, chat) if answering is None else answer_chat(fitting, chat, answering)
    transcript, scores = heard.transcript, heard.scores
    meaning = transcript.meaning
    found["n_tokens"] = transcript.n_read
    if answering is not None:
        found["answer"] = transcript.answer
    if np.isfinite(scores).all():
        found |= {
            "status": "truncated" if heard.truncated else "ok",
            "scores": _by_class(meaning.scored, scores),
            "probabilities": _by_class(meaning.classes, meaning.shares(scores)) if meaning.calibrated else None,
            "flagged": bool(meaning.flags(scores)),
            "predicted": meaning.predicted(scores),
        }
    elif heard.broken:
        found["status"] = "not_finite"
    if with_tokens:
        found["tokens"] = [
            {"token": token, "role": role, "scores": _by_class(meaning.scored, own)}
            for token, role, own in zip(transcript.texts, transcript.roles, transcript.token, strict=True)
        ]
    return found


def _by_class(names: Sequence[str], values: np.ndarray) -> dict[str, float] | None:
    """Values by class, to six places; None where there are none."""
    if not np.isfinite(values).all():
        return None
    return {name: round(float(value), 6) for name, value in zip(names, values, strict=True)}


def chat_of(written: str) -> list[dict[str, str]]:
    """The messages that somebody typed or pasted: a JSON list of messages, turns that begin with who speaks, or a text.

    Turns are lines that begin with `system:`, `user:` or `assistant:`, as long as the first line is one.
    """
    if written.lstrip().startswith("["):
        return _listed(written)
    turns: list[dict[str, str]] = []
    for line in written.splitlines():
        role, colon, rest = line.partition(":")
        if colon and role.strip().lower() in ("system", "user", "assistant"):
            turns.append({"role": role.strip().lower(), "content": rest.strip()})
        elif not turns:
            return [{"role": "user", "content": written}]
        else:
            turns[-1]["content"] += "\n" + line
    return [{**turn, "content": turn["content"].strip()} for turn in turns]


def _listed(written: str) -> list[dict[str, str]]:
    try:
        found = json.loads(written)
    except ValueError:
        return [{"role": "user", "content": written}]  # a text that begins with a bracket
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        return [{"role": "user", "content": written}]
    for number, each in enumerate(found, start=1):
        if not isinstance(each.get("content"), str) or each.get("role") not in ("system", "user", "assistant"):
            raise CandorError(
                f"message {number} of the pasted chat needs a `role` (system, user or assistant) and a `content`"
            )
    return [{"role": each["role"], "content": each["content"]} for each in found]
