"""How long a text is, and nothing else: logistic regression on log(1 + words), one against the rest.

Words are what stands between white space in the text as it is read, role names included. Arrays of the file: `coef`
float64 [c, 1], `intercept` float64 [c]. Score = log(1 + words) @ coef + intercept, log-odds.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from candor.baselines.text import Learnt, Scored
from candor.baselines.words import linear, logistic
from candor.config.baselines import Length

CALIBRATED = True


def fit(texts: Sequence[str], y: np.ndarray, classes: Sequence[str], options: Length, seed: int) -> Learnt:
    """Learn from texts and class indices int64 [n]; there is nothing random in it."""
    coef, intercept = logistic(_features(texts), y, len(classes), options.c)
    return Learnt({"coef": coef, "intercept": intercept})


def score(learnt: Learnt, options: Length, texts: Sequence[str]) -> Scored:
    """Log-odds of texts."""
    return linear(csr_matrix(_features(texts)), learnt.arrays["coef"], learnt.arrays["intercept"])


def _features(texts: Sequence[str]) -> np.ndarray:
    """log(1 + words), float64 [n, 1]."""
    return np.log1p([[len(text.split())] for text in texts])
