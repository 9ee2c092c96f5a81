"""Examples less those that words alone give away: a bag-of-words model, trained on other groups, is most confident of
their label, and right (docs/high_stakes.md)."""

from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import Field

from candor.config.base import Section
from candor.config.datasets import SplitName
from candor.data.examples import Example, RawRow, Reported, RowError
from candor.data.folds import group_folds

READS = "examples"


class Options(Section):
    """Options of confounder_filter."""

    share: float = Field(0.2, ge=0, lt=1, description="Share of the examples that is dropped, at most.")
    whole_groups: bool = Field(
        False, description="Drop whole groups, by their mean margin, so that no pair is left with one side."
    )
    splits: list[SplitName] | None = Field(None, description="Splits that are filtered; others stay. All without it.")
    folds: int = Field(5, ge=2, description="Folds, by group.")
    c: float = Field(1.0, gt=0, description="Inverse strength of the L2 penalty.")
    seed: int = Field(0, description="Seed of the deal of the folds.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """The examples that stay. The record has the model's cross-fitted accuracy on those it saw before, and on those
    that are left once it is fitted anew."""
    examples = [Example(**row.fields) for row in rows]
    seen = [i for i, each in enumerate(examples) if options.splits is None or each.split in options.splits]
    if not seen:
        raise RowError("confounder_filter: no example is of the splits named; check `splits`.")
    given = [examples[i] for i in seen]
    margins = _margins(given, options)
    gone = {seen[i] for i in (_groups if options.whole_groups else _rows)(given, margins, options.share)}
    left = [each for i, each in zip(seen, given, strict=True) if i not in gone]
    facts = {
        "dropped": len(gone),
        "accuracy_before": _accuracy(margins),
        "accuracy_after": _accuracy(_margins(left, options)) if gone else None,
    }
    return Reported([each for i, each in enumerate(examples) if i not in gone], facts)


def _rows(examples: Sequence[Example], margins: np.ndarray, share: float) -> list[int]:
    """Indices of the rows with the largest margins; none that is on the wrong side."""
    order = np.argsort(-margins, kind="stable")[: round(share * len(examples))]
    return [int(i) for i in order if margins[i] > 0]


def _groups(examples: Sequence[Example], margins: np.ndarray, share: float) -> list[int]:
    """Indices of the groups with the largest mean margins, as many as fit into the share."""
    members: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        members.setdefault(example.group_id, []).append(i)
    means = {group: float(margins[at].mean()) for group, at in members.items()}
    gone: list[int] = []
    for group in sorted(members, key=lambda group: (-means[group], group)):
        if means[group] <= 0 or len(gone) + len(members[group]) > round(share * len(examples)):
            break
        gone += members[group]
    return gone


def _accuracy(margins: np.ndarray) -> float:
    """Share on the right side; one that words say nothing of counts half."""
    return round(float(np.mean((margins > 0) + 0.5 * (margins == 0))), 4)


def _margins(examples: Sequence[Example], options: Options) -> np.ndarray:
    """Log-odds of each example's own label, float64 [n], by a model that saw none of its group."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    labels = [example.label for example in examples]
    classes = sorted(set(labels), key=str)
    if len(classes) != 2 or None in classes:
        found = ", ".join(map(str, classes))
        raise RowError(f"confounder_filter: needs two labels, and the examples have: {found}; drop the others before.")
    texts = ["\n".join(message["content"] for message in example.messages) for example in examples]
    positive = np.array([label == classes[1] for label in labels])
    folds = group_folds([example.group_id for example in examples], labels, options.folds, options.seed)
    logits = np.zeros(len(examples))
    for fold in range(options.folds):
        held = folds == fold
        if not 0 < positive[~held].sum() < (~held).sum():
            raise RowError("confounder_filter: a fold leaves one label to learn from; set `folds` lower.")
        words = CountVectorizer()
        counts = words.fit_transform([text for text, out in zip(texts, held, strict=True) if not out])
        model = LogisticRegression(C=options.c, max_iter=1000).fit(counts, positive[~held])
        logits[held] = model.decision_function(
            words.transform([text for text, out in zip(texts, held, strict=True) if out])
        )
    signed: np.ndarray = np.where(positive, logits, -logits)
    return signed
