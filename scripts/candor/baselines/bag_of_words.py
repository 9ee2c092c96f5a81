"""Counts of word n-grams and a logistic regression, one against the rest; the paper's filter of confounders (B1).

Arrays of the file: `coef` float64 [c, n-grams], `intercept` float64 [c]. Score = counts @ coef + intercept, log-odds.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from candor.baselines.text import Learnt, Scored
from candor.baselines.words import counted, linear, logistic
from candor.config.baselines import BagOfWords

CALIBRATED = True


def fit(texts: Sequence[str], y: np.ndarray, classes: Sequence[str], options: BagOfWords, seed: int) -> Learnt:
    """Learn from texts and class indices int64 [n]; there is nothing random in it."""
    found = counted(partial(_vectorizer, options), texts, options.min_df)
    coef, intercept = logistic(found.features, y, len(classes), options.c)
    vocabulary = found.vectorizer.get_feature_names_out().tolist()
    return Learnt({"coef": coef, "intercept": intercept}, vocabulary, found.min_df)


def score(learnt: Learnt, options: BagOfWords, texts: Sequence[str]) -> Scored:
    """Log-odds; a text without any n-gram of the vocabulary has the intercept alone."""
    features = _vectorizer(options, vocabulary=learnt.vocabulary).transform(texts)
    return linear(csr_matrix(features), learnt.arrays["coef"], learnt.arrays["intercept"])


def _vectorizer(options: BagOfWords, **more: Any) -> CountVectorizer:
    return CountVectorizer(
        ngram_range=options.ngrams, max_features=options.max_features, max_df=options.max_df, dtype=np.float64, **more
    )
