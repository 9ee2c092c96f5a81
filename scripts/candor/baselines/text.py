"""What all text baselines share: the words they read, grouped folds, the model's file and the score table.

A kind is a module candor.baselines.KIND with

- `CALIBRATED`: whether its margins are log-odds, which give a probability.
- `fit(texts, y, classes, options, seed)`: a `Learnt` from texts and class indices int64 [n].
- `score(learnt, options, texts)`: a `Scored`.

The model file is safetensors: the arrays of `Learnt`, which its kind describes; header key `text`: see Header. There
are c margins of a text: one for two classes, for more one of each class against the rest.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, TypeAdapter
from safetensors.numpy import load_file

from candor import tensors
from candor.config.baselines import BagOfWords, Length, Tfidf
from candor.data.folds import group_folds
from candor.errors import CandorError
from candor.provenance import KEY, safetensors_header
from candor.scores import score_table

TextBaseline = Tfidf | BagOfWords | Length


class TextError(CandorError):
    """A text model cannot be trained or read; the message says why and what to do."""


class Conversations(NamedTuple):
    """What a text model reads, and what became of it: ok, truncated, or empty, which gets no score."""

    texts: list[str]
    statuses: list[str]


class Learnt(NamedTuple):
    """What a kind learns: the arrays of its file, and the n-grams that it counts, in the order of `coef`'s columns."""

    arrays: dict[str, np.ndarray]
    vocabulary: Sequence[str] = ()
    min_df: int | None = None
    """Texts an n-gram must occur in, as used: 1 where the options ask for more than leaves any n-gram."""


class Scored(NamedTuple):
    """Margins float64 [n, c], and how many features of each text are not zero, int64 [n]."""

    margins: np.ndarray
    features: np.ndarray


@dataclass
class Header:
    """How a text model was trained and what it reads; `vocabulary` and `min_df` as in Learnt."""

    classes: list[str]
    options: dict[str, Any]
    min_df: int | None
    max_words: int | None
    truncate: str
    vocabulary: list[str]


class TextModel(NamedTuple):
    """A trained text model; arrays as its kind describes them."""

    arrays: dict[str, np.ndarray]
    header: Header

    def save(self, path: Path, made: Mapping[str, Any]) -> None:
        """Write the model whole."""
        metadata = {KEY: json.dumps(made, sort_keys=True), "text": json.dumps(asdict(self.header), sort_keys=True)}
        tensors.write(path, self.arrays, metadata)

    @classmethod
    def load(cls, path: Path) -> "TextModel":
        """Read a model; TextError for any other file."""
        metadata = safetensors_header(path).get("__metadata__", {})
        if "text" not in metadata:
            raise TextError(f"{path}: is not a text model; give a file that train_text.py wrote.")
        return cls(load_file(path), Header(**json.loads(metadata["text"])))


class Trained(NamedTuple):
    """A model of all examples; of each example its fold, and margins from the model that its fold was held out from.

    `fallback_folds` are the folds whose model had to take min_df 1.
    """

    model: TextModel
    folds: np.ndarray
    out_of_fold: Scored
    fallback_folds: list[int]


def parse_options(options: Any) -> TextBaseline:
    """The options of a text baseline from their JSON."""
    kinds: TypeAdapter[TextBaseline] = TypeAdapter(Annotated[TextBaseline, Field(discriminator="kind")])
    return kinds.validate_python(options)


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
    options: TextBaseline,
    n_folds: int,
    seed: int,
    max_words: int | None = None,
    truncate: str = "left",
) -> Trained:
    """Train on all texts, and once more without each fold; `labels` are of `classes`, the negative one first.

    `max_words` and `truncate` say how `texts` were cut (see `conversations`), for those who score others.
    """
    kind = _kind(options)
    y = np.array([list(classes).index(label) for label in labels])
    folds = group_folds(groups, labels, n_folds, seed)
    _refuse_missing_classes(y, folds, classes)
    margins = np.zeros((len(texts), 1 if len(classes) == 2 else len(classes)))
    features = np.zeros(len(texts), dtype=np.int64)
    fallback_folds = []
    for fold in range(n_folds):
        inside, outside = np.flatnonzero(folds != fold).tolist(), np.flatnonzero(folds == fold).tolist()
        learnt = kind.fit([texts[i] for i in inside], y[inside], classes, options, seed)
        margins[outside], features[outside] = kind.score(learnt, options, [texts[i] for i in outside])
        if learnt.min_df != getattr(options, "min_df", None):
            fallback_folds.append(fold)
    learnt = kind.fit(texts, y, classes, options, seed)
    about = options.model_dump(mode="json")
    header = Header(list(classes), about, learnt.min_df, max_words, truncate, list(learnt.vocabulary))
    return Trained(TextModel(learnt.arrays, header), folds, Scored(margins, features), fallback_folds)


def score(model: TextModel, texts: Sequence[str]) -> Scored:
    """Margins of texts; one without any feature that the model knows has the intercept alone."""
    header, options = model.header, parse_options(model.header.options)
    found: Scored = _kind(options).score(Learnt(model.arrays, header.vocabulary, header.min_df), options, texts)
    return found


def score_part(model: TextModel, rows: Sequence[Mapping[str, Any]], part: str, monitor: str) -> pa.Table:
    """The score table of a text model on the rows of one part."""
    read = conversations(rows, model.header.max_words, model.header.truncate)
    return table(model, rows, part, monitor, score(model, read.texts), read.statuses)


def table(
    model: TextModel,
    rows: Sequence[Mapping[str, Any]],
    part: str,
    monitor: str,
    scored: Scored,
    statuses: Sequence[str],
    folds: np.ndarray | None = None,
) -> pa.Table:
    """Margins in the score contract; a text model's cost is a multiply-add per feature and class, and no other."""
    flops = 2.0 * scored.features * scored.margins.shape[1]
    calibrated = _kind(parse_options(model.header.options)).CALIBRATED
    return score_table(
        rows,
        part,
        model.header.classes,
        monitor,
        scored.margins,
        1 / (1 + np.exp(-np.clip(scored.margins, -700, 700))) if calibrated else None,
        folds=folds,
        statuses=statuses,
        flops_monitor=flops,
        flops_total=flops,
    )


def _kind(options: TextBaseline) -> ModuleType:
    return importlib.import_module(f"candor.baselines.{options.kind}")


def _refuse_missing_classes(y: np.ndarray, folds: np.ndarray, classes: Sequence[str]) -> None:
    for k, name in enumerate(classes):
        holders = set(folds[y == k].tolist())
        if len(holders) < 2:
            raise TextError(
                f"class {name!r} has examples in {len(holders)} folds; a classifier of each other fold needs some too. "
                "Give the class examples in at least two groups."
            )
