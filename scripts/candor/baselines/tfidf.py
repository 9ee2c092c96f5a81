"""TF-IDF features of word n-grams and a linear support vector classifier, one against the rest (STUDIES.md, B4).

The model file is safetensors: `idf` float64 [n-grams], `coef` float64 [c, n-grams], `intercept` float64 [c], c = 1 for
two classes; header key `text`: see Header. Score = normalised TF-IDF vector @ coef + intercept, a margin.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from candor import tensors
from candor.config.baselines import Baseline
from candor.data.folds import group_folds
from candor.errors import CandorError
from candor.provenance import KEY, safetensors_header
from candor.scores import score_table

MAX_ITERATIONS = 10_000


class TextError(CandorError):
    """A text model cannot be trained or read; the message says why and what to do."""


class Conversations(NamedTuple):
    """What a text model reads, and what became of it: ok, truncated, or empty, which gets no score."""

    texts: list[str]
    statuses: list[str]


@dataclass
class Header:
    """How a text model was trained and what it reads; `vocabulary` is in the order of the columns of `coef`."""

    classes: list[str]
    options: dict[str, Any]
    min_df: int
    """Texts an n-gram must occur in, as used: 1 where `options` asks for more than leaves any n-gram."""
    max_words: int | None
    truncate: str
    vocabulary: list[str]


class TextModel(NamedTuple):
    """A trained text model; shapes as in the file."""

    idf: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    header: Header

    def save(self, path: Path, made: Mapping[str, Any]) -> None:
        """Write the model whole."""
        arrays = {"idf": self.idf, "coef": self.coef, "intercept": self.intercept}
        metadata = {KEY: json.dumps(made, sort_keys=True), "text": json.dumps(asdict(self.header), sort_keys=True)}
        tensors.write(path, arrays, metadata)

    @classmethod
    def load(cls, path: Path) -> "TextModel":
        """Read a model; TextError for any other file."""
        metadata = safetensors_header(path).get("__metadata__", {})
        if "text" not in metadata:
            raise TextError(f"{path}: is not a text model; give a file that train_text.py wrote.")
        arrays = load_file(path)
        return cls(arrays["idf"], arrays["coef"], arrays["intercept"], Header(**json.loads(metadata["text"])))


class Scored(NamedTuple):
    """Margins float64 [n, c], and how many n-grams of the vocabulary each text has, int64 [n]."""

    margins: np.ndarray
    ngrams: np.ndarray


class Trained(NamedTuple):
    """A model of all examples; of each example its fold, and margins from the model that its fold was held out from.

    `fallback_folds` are the folds whose model had to take min_df 1.
    """

    model: TextModel
    folds: np.ndarray
    out_of_fold: Scored
    fallback_folds: list[int]


def conversations(rows: Sequence[Mapping[str, Any]], max_words: int | None, truncate: str) -> Conversations:
    """Dataset rows as `role: content` turns, one below the other, without a chat template's special tokens.

    Probes cap texts in tokens of their model; a text model has no tokenizer, so its cap is in words: of a longer text
    the last `max_words` are kept with truncate `left`, the first with `right`, and its status is truncated.
    """
    texts, statuses = [], []
    for row in rows:
        text = "\n".join(f"{message['role']}: {message['content']}" for message in row["messages"])
        words = text.split()
        cap = len(words) if max_words is None else max_words
        cut = len(words) > cap
        if cut:
            text = " ".join(words[-cap:] if truncate == "left" else words[:cap])
        blank = not any(message["content"].strip() for message in row["messages"])
        texts.append(text)
        statuses.append("empty" if blank else "truncated" if cut else "ok")
    return Conversations(texts, statuses)


def train(
    texts: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    classes: Sequence[str],
    options: Baseline,
    n_folds: int,
    seed: int,
    max_words: int | None = None,
    truncate: str = "left",
) -> Trained:
    """Train on all texts, and once more without each fold; `labels` are of `classes`, the negative one first.

    `max_words` and `truncate` say how `texts` were cut (see `conversations`), for those who score others.
    """
    y = np.array([list(classes).index(label) for label in labels])
    folds = group_folds(groups, labels, n_folds, seed)
    _refuse_missing_classes(y, folds, classes)
    header = Header(list(classes), options.model_dump(mode="json"), options.min_df, max_words, truncate, [])
    margins = np.zeros((len(texts), 1 if len(classes) == 2 else len(classes)))
    ngrams = np.zeros(len(texts), dtype=np.int64)
    fallback_folds = []
    for fold in range(n_folds):
        inside, outside = np.flatnonzero(folds != fold).tolist(), np.flatnonzero(folds == fold).tolist()
        model = _fit([texts[i] for i in inside], y[inside], options, header, seed)
        margins[outside], ngrams[outside] = score(model, [texts[i] for i in outside])
        if model.header.min_df != options.min_df:
            fallback_folds.append(fold)
    return Trained(_fit(texts, y, options, header, seed), folds, Scored(margins, ngrams), fallback_folds)


def score(model: TextModel, texts: Sequence[str]) -> Scored:
    """Margins of texts; one without any n-gram of the vocabulary has the intercept alone."""
    header = model.header
    vectorizer = _vectorizer(Baseline.model_validate(header.options), vocabulary=header.vocabulary)
    vectorizer.idf_ = model.idf
    features = csr_matrix(vectorizer.transform(texts))
    return Scored(features @ model.coef.T + model.intercept, np.diff(features.indptr))


def score_part(model: TextModel, rows: Sequence[Mapping[str, Any]], part: str, monitor: str) -> pa.Table:
    """The score table of a text model on the rows of one part."""
    read = conversations(rows, model.header.max_words, model.header.truncate)
    return table(rows, part, model.header.classes, monitor, score(model, read.texts), read.statuses)


def table(
    rows: Sequence[Mapping[str, Any]],
    part: str,
    classes: Sequence[str],
    monitor: str,
    scored: Scored,
    statuses: Sequence[str],
    folds: np.ndarray | None = None,
) -> pa.Table:
    """Margins in the score contract; a text model's cost is a multiply-add per n-gram and class, and no other."""
    flops = 2.0 * scored.ngrams * scored.margins.shape[1]
    return score_table(
        rows,
        part,
        classes,
        monitor,
        scored.margins,
        folds=folds,
        statuses=statuses,
        flops_monitor=flops,
        flops_total=flops,
    )


def _fit(texts: Sequence[str], y: np.ndarray, options: Baseline, header: Header, seed: int) -> TextModel:
    min_df = options.min_df
    vectorizer = _vectorizer(options, min_df=min_df)
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn's word for an empty vocabulary
        min_df = 1
        vectorizer = _vectorizer(options, min_df=min_df)
        try:
            features = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise TextError(
                f"{len(texts)} texts leave no n-gram to learn from, even with min_df 1 ({error}); raise max_df, or "
                "give more texts."
            ) from None
    classifier = LinearSVC(C=options.c, dual="auto", max_iter=MAX_ITERATIONS, random_state=seed).fit(features, y)
    found = replace(header, min_df=min_df, vocabulary=vectorizer.get_feature_names_out().tolist())
    return TextModel(vectorizer.idf_, classifier.coef_, classifier.intercept_, found)


def _vectorizer(options: Baseline, **more: Any) -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=options.ngrams,
        max_features=options.max_features,
        max_df=options.max_df,
        sublinear_tf=options.sublinear_tf,
        **more,
    )


def _refuse_missing_classes(y: np.ndarray, folds: np.ndarray, classes: Sequence[str]) -> None:
    for k, name in enumerate(classes):
        holders = set(folds[y == k].tolist())
        if len(holders) < 2:
            raise TextError(
                f"class {name!r} has examples in {len(holders)} folds; a classifier of each other fold needs some too. "
                "Give the class examples in at least two groups."
            )
