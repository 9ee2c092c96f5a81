"""What a monitor takes each example for: shares of predicted classes by true class, and accuracy, with intervals.

The predicted class is the one whose one-vs-rest log-odds are highest; of two classes, whose scores are of the second
one alone, it is that one where they are above 0. Values are means over seeds; whole groups of examples are drawn for
the intervals, which are those of metrics/intervals.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from candor.config.tasks import Task
from candor.figures.inputs import FigureError, Row
from candor.metrics import intervals
from candor.metrics.points import Bools, Floats, share_weighted
from candor.schemas.status import SCORED

EXAMPLE = ["example_id", "sample_index"]


class Decided(NamedTuple):
    """Rows of shares by true and predicted class, each also with `count` (a mean over seeds), and that of accuracy."""

    shares: dict[tuple[str, str], Row]
    accuracy: Row


class _Examples(NamedTuple):
    """Predicted classes [seeds, n], true ones [n], and groups [n] from 0, of the examples with scores and a label."""

    predicted: npt.NDArray[np.intp]
    true: npt.NDArray[np.intp]
    groups: npt.NDArray[np.intp]
    n_skipped: int


def decided(scores: pa.Table, part: str, monitor: str, layer: int | None, task: Task) -> Decided:
    """The decisions of a monitor on an evaluation set; values are None where a class, or everything, is absent."""
    examples = _examples(scores, part, monitor, layer, task.classes)
    predicted, true, groups, _ = examples
    weights = np.ones((1 + task.bootstrap, len(true)))
    if len(true):
        rng = np.random.default_rng(task.seed)
        # draws hold every class; group_weights keeps any number of them
        weights[1:] = intervals.group_weights(groups, true, task.bootstrap, rng)  # type: ignore[arg-type]
    shares = {}
    for i, row in enumerate(task.classes):
        of = true == i
        for j, column in enumerate(task.classes):
            hits = predicted[:, of] == j
            found = _share(hits, groups[of], weights[:, of], task.seed, examples.n_skipped)
            shares[row, column] = {**found, "metric": "share", "count": float(hits.sum()) / max(len(hits), 1)}
    accuracy = _share(predicted == true, groups, weights, task.seed, examples.n_skipped)
    return Decided(shares, {**accuracy, "metric": "accuracy"})


def _share(hits: Bools, groups: npt.NDArray[np.intp], weights: Floats, seed: int, n_skipped: int) -> Row:
    """The share of hits [seeds, n], its interval, and what it rests on."""
    n_groups = len(np.unique(groups))
    counted = {"n": hits.shape[1], "n_groups": n_groups, "n_skipped": n_skipped, "n_seeds": len(hits)}
    if not hits.size:
        return {"value": None, "low": None, "high": None, **counted}
    values = np.stack([share_weighted(hit, weights) for hit in hits], axis=1)
    found = intervals.estimate(values[0], values[1:], n_groups, n_groups, np.random.default_rng([seed, 1]))
    low, high = (None if np.isnan(end) else float(end) for end in intervals.share_interval(found))
    return {"value": float(found.value), "low": low, "high": high, **counted}


def _examples(scores: pa.Table, part: str, monitor: str, layer: int | None, classes: Sequence[str]) -> _Examples:
    frame = scores.to_pandas()
    of_layer = frame["layer"].isna() if layer is None else frame["layer"] == layer
    whole = frame["token_index"].isna() & frame["fold"].isna()
    here = frame["dataset"].str.cat(frame["split"], sep="@") == part
    rows = frame[whole & here & of_layer & (frame["monitor"] == monitor)]
    scored = classes[1:] if len(classes) == 2 else classes
    absent = [name for name in scored if name not in set(rows["class"])]
    if absent:
        raise FigureError(f"{part}: no scores of {monitor} for class {absent[0]!r}; score it on this part.")
    index = pd.MultiIndex.from_frame(rows[EXAMPLE].drop_duplicates().sort_values(EXAMPLE))
    seeds = sorted(map(int, rows["seed"].dropna().unique()))
    score = np.full((max(len(seeds), 1), len(index), len(scored)), np.nan)
    member = np.full((len(index), len(scored)), np.nan)
    for k, name in enumerate(scored):
        own = rows[rows["class"] == name]
        at = index.get_indexer(pd.MultiIndex.from_frame(own[EXAMPLE]))
        run = np.searchsorted(seeds, own["seed"].astype(int)) if seeds else np.zeros(len(own), int)
        score[run, at, k] = own["score"].where(own["status"].isin(SCORED))
        member[at, k] = own["label"].map({True: 1.0, False: 0.0}).astype(float)
    if len(classes) == 2:
        score = np.concatenate([np.zeros_like(score), score], axis=2)
        member = np.concatenate([1 - member, member], axis=1)
    usable = np.isfinite(score).all(axis=(0, 2)) & (np.nansum(member, axis=1) == 1)
    of_group = rows.drop_duplicates(EXAMPLE).set_index(EXAMPLE)["group_id"].reindex(index)
    groups = np.unique(of_group.to_numpy(dtype=str)[usable], return_inverse=True)[1]
    true = np.nan_to_num(member[usable]).argmax(axis=1)
    return _Examples(score[:, usable].argmax(axis=2), true, groups, int((~usable).sum()))
