"""What the kinds that count words share: a vocabulary of word n-grams that is never empty, and linear regressions."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from candor.baselines.text import Scored, TextError

MAX_ITERATIONS = 10_000


class Counted(NamedTuple):
    """Features [n, n-grams] of the texts that a vectorizer was fitted to, and the `min_df` that left it any n-gram."""

    vectorizer: CountVectorizer
    features: csr_matrix
    min_df: int


def counted(vectorizer: Callable[..., CountVectorizer], texts: Sequence[str], min_df: int) -> Counted:
    """Fit a vectorizer, made by `vectorizer(min_df=…)`; with min_df 1 where more leaves no n-gram.

    TextError where even that leaves none.
    """
    for least in dict.fromkeys((min_df, 1)):
        made = vectorizer(min_df=least)
        try:
            return Counted(made, csr_matrix(made.fit_transform(texts)), least)
        except ValueError as error:  # scikit-learn's word for an empty vocabulary
            why = error
    raise TextError(
        f"{len(texts)} texts leave no n-gram to learn from, even with min_df 1 ({why}); raise max_df, or give more "
        "texts."
    ) from None


def linear(features: csr_matrix, coef: np.ndarray, intercept: np.ndarray) -> Scored:
    """Margins of features [n, k] by coef [c, k] and intercept [c]."""
    return Scored(features @ coef.T + intercept, np.diff(features.indptr))


def logistic(features: Any, y: np.ndarray, classes: int, c: float) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression on features [n, k] and class indices [n]: coef [c, k] and intercept [c], of log-odds.

    For more than two classes each is told from all others by a regression of its own.
    """
    targets = [y == 1] if classes == 2 else [y == k for k in range(classes)]
    models = [LogisticRegression(C=c, max_iter=MAX_ITERATIONS).fit(features, target) for target in targets]
    return np.concatenate([model.coef_ for model in models]), np.concatenate([model.intercept_ for model in models])
