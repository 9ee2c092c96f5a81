"""A saved probe, applied to tokens as they come: what it says of each one, and of the text up to it.

The score of a token is that of a text of this token alone; the running score is that of the text so far, by the
probe's own pooling, kept as a few sums so that a token costs the same wherever it stands. Two families weigh a token by
the mean of the whole text, which no sum can hold: theirs is put together anew from the projections of all tokens, at
the end and at a few other tokens of each piece that is read.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from candor.chat_text import ROLE_CODES
from candor.config.captures import Capture
from candor.config.probes import MEAN_FAMILIES, Probe
from candor.monitor.engine import Source
from candor.probes.files import ProbeError, SavedProbe
from candor.probes.pooling import projections_of, scoring_of
from candor.probes.scoring import UNCALIBRATED, class_scores
from candor.scores import scored_classes

FADED = 600.0
"""Difference of logits beyond which a token's weight may vanish in double precision."""

POOLED = 16
"""Tokens of a piece at which a text is pooled, for families that no sums serve."""


class Scores(NamedTuple):
    """Scores float64 [t, c] of t tokens: each one's own, and that of the text up to it; nan where there is none."""

    token: np.ndarray
    running: np.ndarray

    @classmethod
    def none(cls, tokens: int, classes: int) -> "Scores":
        """Of tokens that are not scored."""
        return cls(np.full((tokens, classes), np.nan), np.full((tokens, classes), np.nan))


class Watcher:
    """One layer and seed of a saved probe, ready to watch any number of conversations.

    It scores the tokens that its capture stores of a text, less places that are chosen among them: not the first
    `drop_first`, of a capture that is read while the subject answers only those of the prompt or of the response where
    it names one of them, and only those of the probe's `roles`.
    """

    def __init__(
        self,
        saved: SavedProbe,
        path: Path,
        layer: int | None = None,
        seed: int | None = None,
        capture: Capture | None = None,
    ) -> None:
        self.header, self.path = saved.header, path
        self.probe: Any = TypeAdapter(Probe).validate_python(saved.header.probe)
        self.family: ModuleType = importlib.import_module(f"candor.probes.families.{self.probe.family}")
        if self.family.FEATURES == "log_loss":
            raise ProbeError(f"{path}: reads no activations but the text's log-loss; choose another probe.")
        self.layer = best_layer(saved) if layer is None else layer
        self.seed = saved.header.seeds[0] if seed is None else seed
        for name, chosen, held in (("layer", self.layer, saved.header.layers), ("seed", self.seed, saved.header.seeds)):
            if chosen not in held:
                raise ProbeError(f"{path}: holds no {name} {chosen}, but {', '.join(map(str, held))}.")
        weight, bias = saved.at(self.layer, self.seed)
        self.classes = scored_classes(saved.header.classes)
        self.calibrated = self.probe.family not in UNCALIBRATED
        self.thresholds: dict[str, float] = saved.header.thresholds[str(self.layer)][str(self.seed)]
        self.drop_first = 1 if capture is None else capture.drop_first
        self._written = part_read(capture)
        # of the prompt's last token alone no text grows: each token is its own
        self._alone = capture is not None and capture.positions == "last_prompt"
        self._codes = np.array([ROLE_CODES[role] for role in self.probe.roles or ROLE_CODES])
        self._bias, self._raw = bias.double().numpy(), weight.float()
        # a network of two layers gives each token its score at once, and a text the mean of them
        self._network: Callable[[Tensor, Tensor], Tensor] | None = getattr(self.family, "score_rows", None)
        projections = projections_of(self.family, self.probe)
        own = (projections, saved.header.width + (2 if self._network else 0), len(self._bias))
        if weight.shape != own:
            raise ProbeError(f"{path}: its weights have the shape {tuple(weight.shape)}; delete it to make it again.")
        self.shape = (1 if self._network else projections, len(self._bias))
        self._scoring = 1 if self._network else scoring_of(self.family, self.probe)
        self._running = _Mean if self._network else RUNNING.get(self.probe.family)
        self._flat = np.ascontiguousarray(self._raw.permute(1, 0, 2).flatten(1).numpy())

    def refuse_other(self, source: Source) -> None:
        """Stop with a sentence unless an engine's activations are those that the probe was trained on."""
        for name in ("subject", "revision", "width"):
            expected, found = getattr(self.header, name), getattr(source, name)
            if found != expected:
                raise ProbeError(
                    f"{self.path}: is a probe of {self.header.subject} with {name} {expected}, and {source.subject} "
                    f"has {name} {found}; choose a probe that was trained on {source.subject}."
                )
        if self.layer >= source.blocks:
            raise ProbeError(
                f"{self.path}: reads layer {self.layer}, but {source.subject} has {source.blocks} blocks, from 0."
            )
        if self.header.hook not in source.hooks:
            raise ProbeError(
                f"{self.path}: reads the hook {self.header.hook}, but of {source.subject} only "
                f"{' and '.join(source.hooks)} can be read."
            )

    @property
    def of_answers(self) -> bool:
        """Whether it scores what the model answers, and nothing else."""
        return self._written is True

    def begin(self) -> "Watching":
        """Watch a new text."""
        return Watching(self)

    def project(self, activations: np.ndarray) -> np.ndarray:
        """What the probe reads of activations float32 [t, width]: float64 [t, projections, c]."""
        if self._network:
            found = self._network(torch.from_numpy(activations), self._raw).numpy()
        else:
            found = activations @ self._flat
        return np.asarray(found.astype(np.float64).reshape(-1, *self.shape))

    def pooling(self) -> "Pooling":
        """The pooling of a text that has no token yet."""
        if self._alone:
            return _Each(self)
        return self._running(self.probe, self.header.width) if self._running else _Kept(self)

    def pool(self, z: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """The family's own pooling [n, c] of the projections [n, t, projections, c] of n texts of t tokens.

        With `lengths` int [n] of their first so many tokens.
        """
        ends = torch.full((len(z),), z.shape[1]) if lengths is None else torch.from_numpy(lengths)
        mask = torch.arange(z.shape[1])[None] < ends[:, None]
        pooled = self.family.pool(torch.from_numpy(z), mask, self.probe, self.header.width)
        return np.asarray(pooled.numpy())

    def alone(self, z: np.ndarray) -> np.ndarray:
        """The pooling [t, c] of each token by itself."""
        # of a weighted mean, a maximum or a sum of maxima over one token nothing is left but the token
        return np.asarray(z[:, : self._scoring].sum(1)) if self._running else self.pool(z[:, None])

    def scores(self, pooled: np.ndarray) -> np.ndarray:
        """Scores [t, c] from pooled projections [t, c]: log-odds, or a margin."""
        return class_scores(pooled + self._bias, self.probe.family)[0]

    def reads(self, positions: np.ndarray, roles: np.ndarray, written: bool) -> np.ndarray:
        """Which tokens are scored, bool [t], by their places in the text, role codes, and who wrote them."""
        if self._written is not None and self._written != written:
            return np.zeros(len(roles), dtype=bool)
        return np.asarray((positions >= self.drop_first) & np.isin(roles, self._codes))


class Watching:
    """One text that is watched: what the pooling has to remember of it, and nothing else."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher, self._pooling = watcher, watcher.pooling()
        self._position = 0

    def read(self, activations: np.ndarray, roles: Sequence[int], written: bool = False) -> Scores:
        """Scores of the text's next tokens, from activations float32 [t, width] and role codes [t]."""
        watcher, n = self._watcher, len(roles)
        read = watcher.reads(self._position + np.arange(n), np.asarray(roles), written)
        self._position += n
        return self.take(activations, read)

    def take(self, activations: np.ndarray, read: np.ndarray) -> Scores:
        """Scores of tokens, those that `read` bool [t] names; the others are left out."""
        watcher, n = self._watcher, len(read)
        found = Scores.none(n, len(watcher.classes))
        if not read.any():
            return found
        z = watcher.project(activations if read.all() else activations[read])
        scores = watcher.scores(np.concatenate([watcher.alone(z), self._pooling.extend(z)]))
        found.token[read], found.running[read] = scores[: len(z)], scores[len(z) :]
        return found


def best_layer(saved: SavedProbe) -> int:
    """The layer with the highest cross-validated AUROC, the shallowest of equals."""
    found = {layer: saved.header.metrics[str(layer)]["cross_validated_auroc"] for layer in saved.header.layers}
    return max(sorted(found), key=found.__getitem__)


def part_read(capture: Capture | None) -> bool | None:
    """Whether a capture stores tokens that the model wrote (True) or tokens of the prompt (False); None: of both."""
    if capture is None or capture.sampling is None or capture.store == "tokens":
        return None
    if capture.positions == "ends":
        return True
    if capture.positions == "last_prompt":
        return False
    return {"response": True, "prompt": False}.get(capture.of or "text")


class Pooling(Protocol):
    """The pooled projections of a text that grows."""

    def extend(self, z: np.ndarray) -> np.ndarray:
        """Add the projections float64 [t, projections, c] of t >= 1 tokens; the pooled text [t, c] after each."""
        ...


class _Mean:
    def __init__(self, probe: Any, width: int) -> None:
        self._sum: Any = 0.0
        self._count = 0

    def extend(self, z: np.ndarray) -> np.ndarray:
        sums = self._sum + z[:, 0].cumsum(0)
        counts = self._count + np.arange(1, len(z) + 1)
        self._sum, self._count = sums[-1], int(counts[-1])
        return np.asarray(sums / counts[:, None])


class _Last:
    def __init__(self, probe: Any, width: int) -> None:
        pass

    def extend(self, z: np.ndarray) -> np.ndarray:
        return np.asarray(z[:, 0])


class _Largest:
    """The largest projection of each head, summed over heads."""

    def __init__(self, probe: Any, width: int) -> None:
        self._best: Any = -np.inf

    def extend(self, z: np.ndarray) -> np.ndarray:
        best = np.maximum(np.maximum.accumulate(z), self._best)
        self._best = best[-1]
        return np.asarray(best.sum(1))


class _Weighted:
    """A mean whose weights are a softmax: of the values themselves, or of queries."""

    def __init__(self, probe: Any, width: int) -> None:
        self._query = (0, 1 / probe.temperature) if probe.family == "softmax" else (1, width**-0.5)
        self._highest: Any = -np.inf
        self._mass: Any = 0.0
        self._total: Any = 0.0

    def extend(self, z: np.ndarray) -> np.ndarray:
        at, scale = self._query
        value, query = z[:, 0], z[:, at] * scale
        highest = np.maximum(self._highest, query.max(0))
        if len(z) > 1 and (np.maximum(self._highest, query[0]) < highest - FADED).any():
            # the first tokens' weights would vanish beside a later one's: the shorter pieces have maxima of their own
            half = len(z) // 2
            return np.concatenate([self.extend(z[:half]), self.extend(z[half:])])
        fade, weights = np.exp(self._highest - highest), np.exp(query - highest)
        mass = self._mass * fade + weights.cumsum(0)
        total = self._total * fade + (weights * value).cumsum(0)
        self._highest, self._mass, self._total = highest, mass[-1], total[-1]
        return np.asarray(total / mass)


class _Windows:
    """The largest window, by its mean or by attention within it; a text shorter than a window is one."""

    def __init__(self, probe: Any, width: int) -> None:
        self._window, self._attends = probe.window, probe.family == "rolling_attention"
        self._tail: np.ndarray | None = None
        self._count = 0
        self._best: Any = -np.inf

    def extend(self, z: np.ndarray) -> np.ndarray:
        value, query = z[:, 0], z[:, 1] if self._attends else np.zeros_like(z[:, 0])
        rows = np.stack([value, query])  # [2, t, c]
        if self._tail is None:  # before the text nothing has weight
            self._tail = np.zeros((2, self._window - 1, z.shape[2]))
            self._tail[1] = -np.inf
        rows = np.concatenate([self._tail, rows], 1)
        self._tail = rows[:, len(z) :]
        values, queries = np.lib.stride_tricks.sliding_window_view(rows, self._window, 1)  # [t, c, window] each
        weights = np.exp(queries - queries.max(2, keepdims=True))
        current = (weights * values).sum(2) / weights.sum(2)
        self._count += len(z)
        whole = (np.arange(self._count - len(z), self._count) >= self._window - 1)[:, None]
        best = np.maximum(np.maximum.accumulate(np.where(whole, current, -np.inf)), self._best)
        self._best = best[-1]
        return np.asarray(np.where(whole, best, current))


class _Each:
    """No pooling: each token stands for itself."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def extend(self, z: np.ndarray) -> np.ndarray:
        return self._watcher.alone(z)


class _Kept:
    """The projections of all tokens, pooled anew at the end of each piece and at a few tokens before: nan elsewhere."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher, self._all = watcher, np.zeros((0, *watcher.shape))

    def extend(self, z: np.ndarray) -> np.ndarray:
        before = len(self._all)
        self._all = np.concatenate([self._all, z])
        ends = np.linspace(len(z), 0, min(len(z), POOLED), endpoint=False).round().astype(np.int64)
        pooled = np.full((len(z), z.shape[2]), np.nan)
        pooled[ends - 1] = self._watcher.pool(np.repeat(self._all[None], len(ends), 0), before + ends)
        return pooled


RUNNING: dict[str, Callable[[Any, int], Pooling]] = {
    **dict.fromkeys(MEAN_FAMILIES, _Mean),
    "last": _Last,
    "max": _Largest,
    "multimax": _Largest,
    "softmax": _Weighted,
    "attention": _Weighted,
    "rolling_mean_max": _Windows,
    "rolling_attention": _Windows,
}
"""Families whose pooling needs no more of a text than a few sums."""
