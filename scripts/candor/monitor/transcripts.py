"""A text and what a probe said of it, token by token: of a conversation that is going on, or of a stored case."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from candor.chat_text import ROLE_CODES
from candor.monitor.engine import Read
from candor.monitor.watching import Scores, Watcher

ROLES = {code: role for role, code in ROLE_CODES.items()}


class Meaning(NamedTuple):
    """What scores are of: all `classes` of the task, those that are `scored`, and the thresholds on their scores.

    `calibrated` says whether scores are log-odds, `target_fpr` what false positive rate the thresholds aim at.
    """

    classes: list[str]
    scored: list[str]
    thresholds: dict[str, float]
    calibrated: bool
    target_fpr: float

    @classmethod
    def of(cls, watcher: Watcher) -> "Meaning":
        """What a watcher's scores are of."""
        header = watcher.header
        return cls(list(header.classes), watcher.classes, watcher.thresholds, watcher.calibrated, header.target_fpr)

    def shares(self, scores: np.ndarray) -> np.ndarray:
        """What share each of all classes has, [..., classes], by scores [..., scored]: for log-odds its probability.

        A margin gives no probability; its share says no more than on which side of the boundary it is, and how far
        beside the others of the array.
        """
        if not self.calibrated:
            finite = np.abs(scores[np.isfinite(scores)])
            scores = 3 * scores / max(float(finite.max()) if finite.size else 1.0, 1e-9)
        found = 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
        if len(self.scored) == 1:
            return np.concatenate([1 - found, found], -1)
        return np.asarray(found)

    def flags(self, scores: np.ndarray) -> list[str]:
        """The classes whose threshold a text's scores [scored] pass; never the first class, which is the benign one."""
        return [
            name
            for name, score in zip(self.scored, scores.tolist(), strict=True)
            if name != self.classes[0] and score > self.thresholds[name]
        ]

    def predicted(self, scores: np.ndarray) -> str | None:
        """The likeliest class of a text by its scores [scored]; None where it has none."""
        if np.isnan(scores).any():
            return None
        return self.classes[int(scores[0] > 0)] if len(self.scored) == 1 else self.scored[int(scores.argmax())]


class Transcript:
    """The tokens of a text with their scores, in order; `truncated`: the text was too long, and some are left out."""

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning
        self.texts: list[str] = []
        self.roles: list[str] = []
        self.written: list[bool] = []
        self.truncated = False
        self._token: list[np.ndarray] = []
        self._running: list[np.ndarray] = []

    def add(self, texts: Iterable[str], roles: Iterable[str], written: Iterable[bool], scores: Scores) -> None:
        """Add tokens: their texts and roles, whether the model wrote them, and their scores."""
        self.texts += texts
        self.roles += roles
        self.written += written
        self._token.append(scores.token)
        self._running.append(scores.running)

    @property
    def token(self) -> np.ndarray:
        """Each token's own scores, [tokens, scored]; nan where it was not read."""
        return self._joined(self._token)

    @property
    def running(self) -> np.ndarray:
        """The text's scores after each token, [tokens, scored]; nan where there is none."""
        return self._joined(self._running)

    @property
    def scores(self) -> np.ndarray:
        """The text's latest scores [scored]; nan where no token was read."""
        running = self.running
        known = np.flatnonzero(np.isfinite(running).all(1))
        return np.asarray(running[known[-1]]) if len(known) else np.full(len(self.meaning.scored), np.nan)

    @property
    def n_read(self) -> int:
        """How many tokens carry a score."""
        return int(np.isfinite(self.token).all(1).sum())

    @property
    def answer(self) -> str:
        """What the model wrote."""
        return "".join(text for text, own in zip(self.texts, self.written, strict=True) if own)

    def _joined(self, parts: list[np.ndarray]) -> np.ndarray:
        if len(parts) > 1:
            parts[:] = [np.concatenate(parts)]
        return parts[0] if parts else np.zeros((0, len(self.meaning.scored)))


def watched(watcher: Watcher, reads: Iterable[Read]) -> Iterator[Transcript]:
    """The transcript of a conversation, after each piece that the model has read."""
    watching, transcript = watcher.begin(), Transcript(Meaning.of(watcher))
    for read in reads:
        scores = watching.read(read.activations, read.roles, read.written)
        roles = [ROLES[code] for code in read.roles]
        transcript.add(read.texts, roles, [read.written] * len(roles), scores)
        transcript.truncated |= read.truncated
        yield transcript
