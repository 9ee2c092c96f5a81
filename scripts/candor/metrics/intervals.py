"""Intervals of 95 % and p-values, for examples that come in groups and monitors that come in several seeds.

An estimate is the mean over seeds of a metric. Its spread has two sources: which groups of examples were met, and which
seeds were trained. Groups are bootstrapped: whole groups are drawn with replacement, each dataset on its own, and every
monitor sees the same draws, so that differences are paired. Seeds are drawn with replacement as well, stretched because
a bootstrap of few values is too narrow (`seed_noise`).

The interval is not the draws' percentiles: for shares near 1 those are too low and too short. It is the estimate on the
log-odds scale (a difference on its own), plus and minus a quantile of Student's t times the draws' standard deviation,
with Satterthwaite's degrees of freedom of the two sources. Coverage of the true AUROC by nominal 95 %, lowest and
highest over 40 and 150 groups of two that hold a pair, one label, or labels at random (binormal scores, half of the
variance shared within groups; tests/planted/test_coverage.py repeats part of it):

    AUROC              .60          .80          .95          .98
    percentiles     .938-.955    .932-.950    .887-.943    .852-.925    600 simulations
    as here         .949-.962    .948-.961    .949-.954    .939-.963    2000 simulations

Three seeds are few: where AUROCs spread between seeds by up to the sampling error the interval covers .93-.97, by three
times that .90-.93 (percentiles of the plain hierarchical bootstrap: .92-.96, and .84). Noise that seeds do not share is
counted in both sources, so that two equally good monitors of three seeds each have p < .05 in at most 4 % of cases.
A rate at a fixed threshold is covered to .92-.97, TPR at 1 % FPR to .91-.94 from 150 negatives on, but to .74-.89 with
40: below 1/target negatives the threshold lies above all of them, and no resampling shows how far above it should.

A share of exactly 0 or 1 has no spread to draw from. The far end of its interval is the truth under which as many
independent trials would all go one way with a chance of 2.5 %, 1 - .025^(1/trials) away, which the rule of three
approximates (`room`, `independent_pairs`). It is wide: it allows for errors of which the examples give no hint, which
the bootstrap never does.
"""

from collections.abc import Sequence
from hashlib import sha256
from math import expm1, hypot, log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import t as student_t

from candor.metrics.points import Bools, Floats

TAIL = 0.025
"""Chance that the truth lies beyond one end of an interval."""
NORMAL = 1.959963984540054
"""The normal distribution's quantile at 1 - TAIL."""
_ATTEMPTS = 100
"""Rounds of redrawing after which a class that hardly any group holds may be lost from a draw."""


class Interval(NamedTuple):
    """Ends of a 95 % interval; nan where there is none."""

    low: float
    high: float


class SeedTerm(NamedTuple):
    """Variance of an estimate that is due to the choice of one monitor's seeds, and its degrees of freedom."""

    variance: float
    freedom: int


class Sample(NamedTuple):
    """One monitor's metric on one dataset, by seed: values [seeds] from all examples, draws [draws, seeds] of groups.

    `trials` is the number of independent trials behind a value of exactly 0 or 1.
    """

    values: Floats
    draws: Floats
    n_groups: int
    trials: int


class Estimate(NamedTuple):
    """A value, and what its interval is made of.

    group_draws [draws] differ by the groups drawn; seed_draws [draws] are deviations by the seeds drawn, of which
    seed_terms give the variance. `freedom` is the number of groups less that of datasets. `below` and `above` are the
    room that shares of exactly 1 or 0 need.
    """

    value: float
    group_draws: Floats
    seed_draws: Floats
    seed_terms: tuple[SeedTerm, ...]
    freedom: int
    below: float
    above: float


def group_weights(groups: npt.NDArray[np.intp], label: Bools, draws: int, rng: np.random.Generator) -> Floats:
    """How often each draw takes each example: [draws, n], for groups [n] numbered from 0.

    As many groups are drawn as there are, with replacement, each with all its examples. A draw that loses one of the
    classes of `label` [n] is drawn again: the bootstrap is conditional on every class being met.
    """
    n_groups = int(groups.max()) + 1
    chance = np.full(n_groups, 1 / n_groups)
    taken = rng.multinomial(n_groups, chance, size=draws)
    holders = np.array([np.bincount(groups[label == side], minlength=n_groups) > 0 for side in np.unique(label)])
    for _ in range(_ATTEMPTS):
        lost = np.flatnonzero((taken @ holders.T == 0).any(axis=1))
        if not len(lost):
            break
        taken[lost] = rng.multinomial(n_groups, chance, size=len(lost))
    return taken[:, groups].astype(np.float64)


def seed_noise(values: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Deviations of the mean over seeds when seeds are drawn with replacement: values [seeds], result [draws].

    The variance of a plain bootstrap of S values is too small by (S - 1)/S, a third for three seeds; deviations are
    stretched by sqrt(S/(S - 1)), so that it is the unbiased variance of the mean.
    """
    seeds = len(values)
    if seeds == 1:
        return np.zeros(draws)
    shares = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    return np.asarray(np.sqrt(seeds / (seeds - 1)) * (shares @ (values - values.mean())))


def estimate(values: Floats, draws: Floats, n_groups: int, trials: int, rng: np.random.Generator) -> Estimate:
    """The mean over seeds of a quantity in [0, 1] on one dataset; arguments as the fields of Sample."""
    return mean_estimate([Sample(values, draws, n_groups, trials)], rng)


def mean_estimate(samples: Sequence[Sample], rng: np.random.Generator) -> Estimate:
    """The mean over datasets and seeds of a quantity in [0, 1]; one sample per dataset.

    Datasets are resampled each on its own; a draw's seeds are the same on all of them.
    """
    by_seed = np.mean([sample.values for sample in samples], axis=0)
    seeds = len(by_seed)
    rooms = [room(float(sample.values.mean()), sample.trials) for sample in samples]
    return Estimate(
        value=float(by_seed.mean()),
        group_draws=np.mean([sample.draws.mean(axis=1) for sample in samples], axis=0),
        seed_draws=seed_noise(by_seed, len(samples[0].draws), rng),
        seed_terms=(SeedTerm(float(by_seed.var(ddof=1)) / seeds, seeds - 1),) if seeds > 1 else (),
        freedom=sum(sample.n_groups - 1 for sample in samples),
        below=hypot(*(below for below, _ in rooms)) / len(samples),
        above=hypot(*(above for _, above in rooms)) / len(samples),
    )


def difference(one: Estimate, other: Estimate) -> Estimate:
    """One estimate less another on the same examples: the same groups are drawn for both, seeds for each its own."""
    return Estimate(
        value=one.value - other.value,
        group_draws=one.group_draws - other.group_draws,
        seed_draws=one.seed_draws - other.seed_draws,
        freedom=min(one.freedom, other.freedom),
        seed_terms=one.seed_terms + other.seed_terms,
        below=hypot(one.below, other.above),
        above=hypot(one.above, other.below),
    )


def share_interval(found: Estimate) -> Interval:
    """Interval of a quantity in [0, 1], on the log-odds scale (the delta method); (nan, nan) for a single group."""
    value, reach = found.value, _reach(found)
    if np.isnan(reach):
        return Interval(reach, reach)
    low = high = value
    if 0 < value < 1:
        half = reach / (value * (1 - value))
        low, high = float(expit(logit(value) - half)), float(expit(logit(value) + half))
    return _with_room(found, low, high, floor=0.0)


def difference_interval(found: Estimate) -> Interval:
    """Interval of a difference of two quantities in [0, 1]; (nan, nan) for a single group."""
    reach = _reach(found)
    if np.isnan(reach):
        return Interval(reach, reach)
    return _with_room(found, found.value - reach, found.value + reach, floor=-1.0)


def p_value(found: Estimate) -> float:
    """Two-sided bootstrap p-value of a difference of zero: (1 + draws as far off) / (1 + draws), so never 0.

    A draw is as far off when it lies from the value at least as far as zero does. Deviations are stretched so that 95 %
    of a normal distribution's would fill the interval's side towards zero: p < .05 and an interval without zero agree.
    """
    interval = difference_interval(found)
    if np.isnan(interval.low):
        return float("nan")
    draws = found.group_draws + found.seed_draws
    draws = draws[np.isfinite(draws)]
    reach = found.value - interval.low if found.value > 0 else interval.high - found.value
    spread = float(np.std(draws))
    if spread == 0:
        return 1.0 if abs(found.value) <= reach else 1 / (1 + len(draws))
    far = np.abs(draws - draws.mean()) * (reach / (NORMAL * spread)) >= abs(found.value)
    return float((1 + far.sum()) / (1 + len(draws)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of tests, in the order given; nan stays nan and counts as no test."""
    p = np.asarray(p_values, dtype=np.float64)
    order = [int(i) for i in np.argsort(p, kind="stable") if not np.isnan(p[i])]
    corrected, worst = p.copy(), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * float(p[i])))
        corrected[i] = worst
    return [float(value) for value in corrected]


def wilson(successes: int, n: int) -> Interval:
    """Wilson's score interval of a proportion of n independent trials; (nan, nan) without trials."""
    if n == 0:
        return Interval(float("nan"), float("nan"))
    share, z2 = successes / n, NORMAL**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # where all trials agree, an end is exactly theirs, and rounding would move it
    low = 0.0 if successes == 0 else float(centre - half)
    return Interval(low, 1.0 if successes == n else float(centre + half))


def independent_pairs(groups: npt.NDArray[np.intp], label: Bools) -> int:
    """The most pairs of a positive and a negative of which no two share a group, each pair across two groups.

    If m such pairs are all in order, so is the distribution of scores: perfect separation of groups drawn from a
    population of AUROC A has a chance of at most A^m, whatever the scores' distribution and the likeness within groups.
    """
    positive, negative = (set(groups[side].tolist()) for side in (label, ~label))
    return min(len(positive), len(negative), len(positive | negative) // 2)


def room(value: float, trials: int) -> tuple[float, float]:
    """How far below and above a share its interval reaches for want of spread: (0, 0) unless it is 1 or 0.

    The far end is the truth under which `trials` independent trials would still all go one way with chance TAIL.
    """
    reach = -expm1(log(TAIL) / trials) if trials else 1.0
    return (reach if value == 1 else 0.0), (reach if value == 0 else 0.0)


def _reach(found: Estimate) -> float:
    """Half the width of the interval on the estimate's own scale; nan for a single group."""
    if found.freedom < 1:
        return float("nan")
    # The bootstrap of a mean over G groups has (G - 1)/G of the variance that it estimates.
    groups = float(np.nanvar(found.group_draws)) * (found.freedom + 1) / found.freedom
    variance = groups + sum(term.variance for term in found.seed_terms)
    if variance == 0:
        return 0.0
    shares = groups**2 / found.freedom + sum(term.variance**2 / term.freedom for term in found.seed_terms)
    return float(student_t.ppf(1 - TAIL, variance**2 / shares) * np.sqrt(variance))


def _with_room(found: Estimate, low: float, high: float, floor: float) -> Interval:
    """Widen an interval by the room of its parts, as independent errors add (MOVER, Zou and Donner 2008)."""
    below, above = hypot(found.value - low, found.below), hypot(high - found.value, found.above)
    return Interval(max(floor, found.value - below), min(1.0, found.value + above))


def rng_of(seed: int, *names: str) -> np.random.Generator:
    """Random numbers of their own for each name, so that one more monitor, value or set changes no other's draws."""
    return np.random.default_rng([seed, *sha256("/".join(names).encode()).digest()[:8]])
