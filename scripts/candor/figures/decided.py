"""What a monitor takes each example for: shares of predicted classes by true class, and accuracy, with intervals.

The predicted class is the one whose one-vs-rest log-odds are highest; of two classes, whose scores are of the second
one alone, it is that one where they are above 0. Values are means over seeds; whole groups of examples are drawn for
the intervals, as experiments/cells.py draws them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from candor.config.tasks import Task
from candor.experiments import cells
from candor.figures.inputs import FigureError, Row
from candor.schemas.status import SCORED

EXAMPLE = ["example_id", "sample_index"]


class Decided(NamedTuple):
    """Rows of shares by true and predicted class, each also with `count` (a mean over seeds), and that of accuracy."""

    shares: dict[tuple[str, str], Row]
    accuracy: Row


class _Examples(NamedTuple):
    """Predicted classes [seeds, n], true ones [n], and groups [n], of the examples with scores and a label."""

    predicted: npt.NDArray[np.intp]
    true: npt.NDArray[np.intp]
    groups: list[str]
    n_skipped: int


def decided(scores: pa.Table, part: str, monitor: str, layer: int | None, task: Task) -> Decided:
    """The decisions of a monitor on an evaluation set; values are None where a class, or everything, is absent."""
    predicted, true, groups, n_skipped = _examples(scores, part, monitor, layer, task.classes)
    drawn = cells.Drawn(true, groups, n_skipped, task.bootstrap, task.seed, part)
    shares = {}
    for i, row in enumerate(task.classes):
        for j, column in enumerate(task.classes):
            found = drawn.mean((predicted == j).astype(np.float64), true == i)
            count = float((predicted[:, true == i] == j).sum()) / len(predicted)
            shares[row, column] = {**cells.valued([found], task.seed, monitor), "metric": "share", "count": count}
    right = drawn.mean((predicted == true).astype(np.float64))
    return Decided(shares, {**cells.valued([right], task.seed, monitor), "metric": "accuracy"})


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
    groups = of_group.to_numpy(dtype=str)[usable].tolist()
    true = np.nan_to_num(member[usable]).argmax(axis=1)
    return _Examples(score[:, usable].argmax(axis=2), true, groups, int((~usable).sum()))
