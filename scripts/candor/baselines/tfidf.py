"""TF-IDF features of word n-grams and a linear support vector classifier, one against the rest (docs/high_stakes.md).

Arrays of the file: `idf` float64 [n-grams], `coef` float64 [c, n-grams], `intercept` float64 [c]. Score = normalised
TF-IDF vector @ coef + intercept, a margin.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from candor.baselines.text import Learnt, Scored
from candor.baselines.words import MAX_ITERATIONS, counted, linear
from candor.config.baselines import Tfidf

CALIBRATED = False


def fit(texts: Sequence[str], y: np.ndarray, classes: Sequence[str], options: Tfidf, seed: int) -> Learnt:
    """Learn from texts and class indices int64 [n]."""
    found = counted(partial(_vectorizer, options), texts, options.min_df)
    model = LinearSVC(C=options.c, dual="auto", max_iter=MAX_ITERATIONS, random_state=seed).fit(found.features, y)
    arrays = {"idf": found.vectorizer.idf_, "coef": model.coef_, "intercept": model.intercept_}
    return Learnt(arrays, found.vectorizer.get_feature_names_out().tolist(), found.min_df)


def score(learnt: Learnt, options: Tfidf, texts: Sequence[str]) -> Scored:
    """Margins; a text without any n-gram of the vocabulary has the intercept alone."""
    vectorizer = _vectorizer(options, vocabulary=learnt.vocabulary)
    vectorizer.idf_ = learnt.arrays["idf"]
    return linear(csr_matrix(vectorizer.transform(texts)), learnt.arrays["coef"], learnt.arrays["intercept"])


def _vectorizer(options: Tfidf, **more: Any) -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=options.ngrams,
        max_features=options.max_features,
        max_df=options.max_df,
        sublinear_tf=options.sublinear_tf,
        **more,
    )
