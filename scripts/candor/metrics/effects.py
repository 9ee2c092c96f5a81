"""Differences between two arms, paired by prompt, and the smallest that would show."""

from collections.abc import Sequence
from math import hypot, sqrt
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from candor.metrics import intervals
from candor.metrics.intervals import NORMAL, Interval
from candor.metrics.points import Floats
from candor.metrics.rates import NOTHING, Draws, Quantity, bootstrapped, prompt_weights, quantity

POWER = 0.8416212335729143
"""The normal distribution's quantile at a power of .8."""
_TINY = 1e-9
"""A rise that is none: at 0 itself the equation has a solution without meaning where no pairs disagree."""
HIDDEN = "no possible effect would show with a power of .8 in so few pairs"


class Pairs(NamedTuple):
    """Prompts that both arms answered: in each, the share of its responses that are hits; float [n] each."""

    trigger: Floats
    control: Floats
    single: bool  # one response per prompt and arm, so that shares are 0 or 1


class Table(NamedTuple):
    """Pairs by outcome: hit in both arms, in the first only, in the second only, in neither."""

    both: int
    first: int
    second: int
    neither: int


def pairs(trigger: Sequence[tuple[str, bool]], control: Sequence[tuple[str, bool]]) -> Pairs:
    """Pair the responses (prompt, hit) of two arms by prompt; prompts of one arm alone are left out."""
    arms = (_by_prompt(trigger), _by_prompt(control))
    shared = [prompt for prompt in arms[0] if prompt in arms[1]]
    first, second = (np.array([np.mean(arm[prompt]) for prompt in shared], dtype=np.float64) for arm in arms)
    return Pairs(first, second, single=all(len(arm[prompt]) == 1 for arm in arms for prompt in shared))


def difference(found: Pairs, draws: Draws) -> Quantity:
    """The mean over prompts of trigger less control.

    One response per prompt and arm: Newcombe's interval of paired proportions. Several: bootstrap over prompts.
    """
    n = len(found.trigger)
    if not n:
        return Quantity(None, None, None, 0, 0, NOTHING)
    gaps = found.trigger - found.control
    if found.single:
        return quantity(float(gaps.mean()), newcombe(_table(found)), n, n)
    weights = prompt_weights([str(i) for i in range(n)], draws)
    sides = [
        bootstrapped(float(side.mean()), weights @ side / weights.sum(axis=1), n)
        for side in (found.trigger, found.control)
    ]
    return quantity(float(gaps.mean()), intervals.difference_interval(intervals.difference(*sides)), n, n)


def newcombe(table: Table) -> Interval:
    """Interval of the difference of two paired proportions, first less second: Newcombe's method 10.

    Wilson's intervals of both, combined with the correlation phi of the pairs, whose numerator is less n/2 where it is
    positive (Newcombe 1998, Statistics in Medicine 17, 2635-2650).
    """
    both, first, second, neither = table
    n = sum(table)
    one, other = (both + first) / n, (both + second) / n
    (low1, high1), (low2, high2) = intervals.wilson(both + first, n), intervals.wilson(both + second, n)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    covaried = both * neither - first * second
    phi = (covaried if covaried <= 0 else max(covaried - n / 2, 0)) / sqrt(margins) if margins else 0.0
    below = _joined(one - low1, high2 - other, phi)
    above = _joined(high1 - one, other - low2, phi)
    return Interval(max(-1.0, one - other - below), min(1.0, one - other + above))


def smallest_effect(found: Pairs) -> Quantity:
    """The smallest rise from control to trigger that a two-sided test at .05 of so many pairs shows with a power of .8.

    For one response per prompt and arm, McNemar's test: the rise d at which
    sqrt(n) d = z(.975) sqrt(psi) + z(.8) sqrt(psi - d^2), where psi is the share of pairs that disagree (Connor 1987,
    Biometrics 43, 207-211). Without an effect they disagree in both directions alike, by half of the observed share
    each, but by no more than the control rate p allows. With a rise of d, pairs that disagree the other way dwindle
    like the prompts that are still not hit, by d/(1 - p), as they do where the arms of a prompt are independent. There
    is no such rise where even one to 1 would not show. For several responses the normal approximation of the paired t
    test, (z(.975) + z(.8)) times the standard error of the mean difference.
    """
    n = len(found.trigger)
    if not n:
        return Quantity(None, None, None, 0, 0, NOTHING)
    if not found.single:
        if n == 1:
            return Quantity(None, None, None, n, n, HIDDEN)
        spread = float(np.std(found.trigger - found.control, ddof=1))
        return Quantity((NORMAL + POWER) * spread / sqrt(n), None, None, n, n)
    table = _table(found)
    control = (table.both + table.second) / n
    chance = min((table.first + table.second) / (2 * n), control, 1 - control)
    rise = smallest_rise(n, chance, room=1 - control)
    return Quantity(rise, None, None, n, n, None if rise is not None else HIDDEN)


def smallest_rise(n: int, chance: float, room: float) -> float | None:
    """The rise of `smallest_effect` for n pairs that disagree by `chance` each way; None if it would exceed `room`."""

    def excess(rise: float) -> float:
        disagreeing = 2 * chance * (1 - rise / room) + rise
        return sqrt(n) * rise - NORMAL * sqrt(disagreeing) - POWER * sqrt(max(disagreeing - rise**2, 0.0))

    if room <= 0 or excess(room) < 0:
        return None
    smallest: float = brentq(excess, _TINY, room)
    return smallest


def _by_prompt(responses: Sequence[tuple[str, bool]]) -> dict[str, list[bool]]:
    hits: dict[str, list[bool]] = {}
    for prompt, hit in responses:
        hits.setdefault(prompt, []).append(hit)
    return hits


def _table(found: Pairs) -> Table:
    trigger, control = found.trigger == 1, found.control == 1
    sides = (trigger & control, trigger & ~control, ~trigger & control, ~trigger & ~control)
    return Table(*(int(side.sum()) for side in sides))


def _joined(one: float, other: float, phi: float) -> float:
    """Length of the sum of two errors of correlation phi, of which one is subtracted."""
    return sqrt(max(hypot(one, other) ** 2 - 2 * phi * one * other, 0.0))
