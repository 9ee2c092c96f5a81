"""How alike the two arms reason about one prompt, beside how alike they reason about different prompts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from candor.metrics import intervals
from candor.metrics.points import Floats
from candor.metrics.rates import NOTHING, Draws, Quantity, bootstrapped, prompt_weights, quantity

WORD = r"(?u)\b\w+\b"
"""What counts as a word: one letter or digit is enough, in any script."""


class Similarity(NamedTuple):
    """Mean cosine of the two arms' reasoning, on the same prompt and across prompts; n counts pairs of prompts."""

    same: Quantity
    across: Quantity


def similarity(trigger: Mapping[str, Sequence[str]], control: Mapping[str, Sequence[str]], draws: Draws) -> Similarity:
    """TF-IDF cosines of reasoning, by prompt in either arm; prompts with reasoning in both arms count.

    Several samples of a prompt count as their mean vector, so that a cosine is the mean over pairs of samples.
    Intervals are bootstrapped over prompts; a prompt drawn twice is not compared with itself across prompts.
    """
    prompts = [prompt for prompt in trigger if prompt in control]
    count = len(prompts)
    cosines = _cosines([trigger[prompt] for prompt in prompts], [control[prompt] for prompt in prompts])
    if cosines is None:
        nothing = Quantity(None, None, None, 0, 0, NOTHING)
        return Similarity(nothing, nothing)
    weights = prompt_weights(prompts, draws)
    own = cosines.diagonal()
    same = bootstrapped(float(own.mean()), weights @ own / weights.sum(axis=1), count)
    found = quantity(same.value, intervals.share_interval(same), count, count)
    if count < 2:
        return Similarity(found, Quantity(None, None, None, 0, count, "one prompt only: none to compare it with"))
    others = cosines - np.diag(own)
    every = np.ones((1, count))
    across = bootstrapped(float(_mean_pair(others, every)[0]), _mean_pair(others, weights), count)
    return Similarity(found, quantity(across.value, intervals.share_interval(across), count * (count - 1), count))


def _mean_pair(others: Floats, weights: Floats) -> Floats:
    """The mean of others [n, n], zero on the diagonal, over pairs of different prompts drawn by weights [draws, n]."""
    pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    with np.errstate(invalid="ignore"):  # a draw of one prompt alone has no pair, and becomes nan
        found: Floats = ((weights @ others) * weights).sum(axis=1) / pairs
    return found


def _cosines(trigger: Sequence[Sequence[str]], control: Sequence[Sequence[str]]) -> Floats | None:
    """Cosines [n, n] of each prompt's reasoning in the one arm with each prompt's in the other; None without words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [text for arm in (trigger, control) for samples in arm for text in samples]
    try:
        vectors = TfidfVectorizer(token_pattern=WORD).fit_transform(texts)
    except ValueError:  # of a vocabulary without words
        return None
    samples = [len(of_prompt) for arm in (trigger, control) for of_prompt in arm]
    starts = np.concatenate([[0], np.cumsum(samples)])
    means = np.vstack([vectors[start:end].mean(axis=0) for start, end in pairwise(starts)])
    n = len(trigger)
    return np.clip(np.asarray(means[:n] @ means[n:].T, dtype=np.float64), 0.0, 1.0)
