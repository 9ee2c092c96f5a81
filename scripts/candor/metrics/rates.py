"""Rates of responses to prompts, and means over prompts, each with its 95 % interval.

Prompts are independent, samples of one prompt are not. With one sample per prompt a rate is a binomial proportion and
has Wilson's score interval; with several, whole prompts are drawn with replacement (intervals.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from candor.metrics import intervals
from candor.metrics.intervals import Estimate, Interval
from candor.metrics.points import Bools, Floats

NOTHING = "no response that counts"
ONE_PROMPT = "one prompt only: no interval"


class Quantity(NamedTuple):
    """A value with its interval, and what it rests on; None where undefined, and `remark` says why."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_prompts: int
    remark: str | None = None


class Draws(NamedTuple):
    """How bootstraps are drawn."""

    number: int
    seed: int


def rate(hits: Sequence[bool], prompts: Sequence[str], draws: Draws) -> Quantity:
    """The share of responses [n] that are hits; `prompts` [n] names each one's prompt."""
    n, n_prompts = len(hits), len(set(prompts))
    if not n:
        return Quantity(None, None, None, 0, 0, NOTHING)
    if n_prompts == n:
        return quantity(sum(hits) / n, intervals.wilson(sum(hits), n), n, n_prompts)
    hit = np.asarray(hits, dtype=np.float64)
    weights = prompt_weights(prompts, draws)
    found = bootstrapped(float(hit.mean()), weights @ hit / weights.sum(axis=1), n_prompts)
    return quantity(found.value, intervals.share_interval(found), n, n_prompts)


def prompt_weights(prompts: Sequence[str], draws: Draws) -> Floats:
    """How often each draw of prompts takes each response: [draws, n]."""
    codes = np.unique(np.asarray(prompts), return_inverse=True)[1]
    everything: Bools = np.ones(len(prompts), dtype=bool)
    return intervals.group_weights(codes, everything, draws.number, np.random.default_rng(draws.seed))


def bootstrapped(value: float, drawn: Floats, n_prompts: int) -> Estimate:
    """The estimate of a quantity in [0, 1] from its value and those of the draws [draws]; nan draws do not count."""
    unused = np.random.default_rng(0)  # draws seeds of training, of which there are none here
    return intervals.estimate(np.array([value]), drawn[:, None], n_prompts, n_prompts, unused)


def quantity(value: float, interval: Interval, n: int, n_prompts: int) -> Quantity:
    """A value and its interval, which a single prompt does not have."""
    if np.isnan(interval.low):
        return Quantity(value, None, None, n, n_prompts, ONE_PROMPT)
    return Quantity(value, interval.low, interval.high, n, n_prompts)
