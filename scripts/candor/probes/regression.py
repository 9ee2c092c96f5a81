"""L2-regularised logistic regression on standardised features, as weights and biases for features as they are."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MAX_ITERATIONS = 5000
ROUNDING = 1e-6
"""A feature that varies by less, relative to its size, is constant up to float32's rounding."""


def standardisation(x: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation [width] of features [n, width]; a feature that does not vary keeps its scale."""
    center, scale = x.mean(0), x.std(0)
    scale[scale <= ROUNDING * abs(center)] = 1.0
    return center, scale


def regression(x: Floats, labels: npt.NDArray[np.int64], c: float, intercept: bool) -> tuple[Floats, Floats]:
    """Weights [width, c] and biases [c] from features [n, width] and labels [n], the standardisation folded in.

    c = 1 for two classes; for more it is the multinomial model, one logit per class.
    """
    from sklearn.linear_model import LogisticRegression  # a second, which jobs that fit no regression need not wait

    center, scale = standardisation(x)
    model = LogisticRegression(C=c, fit_intercept=intercept, max_iter=MAX_ITERATIONS)
    model.fit((x - center) / scale, labels)
    weights: Floats = (model.coef_ / scale).T
    biases: Floats = np.broadcast_to(model.intercept_, (weights.shape[1],)) - center @ weights
    return weights, biases


def along(directions: Floats, x: Floats, labels: npt.NDArray[np.int64], c: float) -> tuple[Floats, Floats]:
    """As `regression`, on the projections of standardised features on `directions` [width, k] alone, with intercept."""
    center, scale = standardisation(x)
    weights, biases = regression((x - center) / scale @ directions, labels, c, intercept=True)
    raw = directions / scale[:, None] @ weights
    return raw, biases - center @ raw
