"""Cross-validated AUROC and accuracy of a probe on the mean activation at every layer the capture holds (Fig. 9).

Beside it two controls: the text baseline's out-of-fold scores on the same folds, and the same probe with the labels
permuted, which should find nothing.
"""

from typing import Any

import numpy as np

from candor.experiments.context import Context, Examples, measured, out_of_fold
from candor.experiments.permuting import permuted_by_group
from candor.metrics.points import auroc
from candor.probes.selection import over_folds, within_one_se
from candor.schemas.experiment import SHUFFLED_FAMILY

METRICS = ("auroc", "accuracy")


def run(context: Context) -> list[dict[str, Any]]:
    """Rows of the experiment table."""
    examples, task = Examples(context), context.task
    header = context.train.activations.header
    layers = sorted({*header.layers, *header.mean_layers})
    shuffled = permuted_by_group(examples.y, examples.groups, task.seed)
    rows, entries = [], []
    progress = context.progress(f"sweep {context.id}", len(layers), "layers")
    for number, layer in enumerate(layers, start=1):
        x = examples.means(layer)
        for family, y in ((context.probe.family, examples.y), (SHUFFLED_FAMILY, shuffled)):
            scores = out_of_fold(x, y, examples.groups, examples.folds, context, task.seed)
            rows += _rows(context, examples, family, layer, scores, y == 1)
            if family != SHUFFLED_FAMILY:
                entries.append({"layer": layer, **_by_fold(scores, y == 1, examples.folds)})
        progress.update(number)
    chosen = within_one_se(entries)["layer"]
    for row in rows:
        row["chosen"] = row["layer"] == chosen and row["family"] != SHUFFLED_FAMILY
    return rows + _text_rows(context, examples)


def _rows(
    context: Context, examples: Examples, family: str, layer: int | None, scores: np.ndarray, positive: np.ndarray
) -> list[dict[str, Any]]:
    groups = examples.groups
    found = measured(scores, positive, groups, METRICS, context.task.bootstrap, context.task.seed)
    return [
        {
            "experiment": context.id,
            "attribute": None,
            "train_value": None,
            "test_value": None,
            "family": family,
            "layer": layer,
            "metric": metric,
            **values,
            "n": len(scores),
            "n_groups": len(set(groups)),
            "n_skipped": examples.n_skipped,
            "n_train_groups": None,
            "chosen": False,
            "remark": None,
        }
        for metric, values in found.items()
    ]


def _by_fold(scores: np.ndarray, positive: np.ndarray, folds: np.ndarray) -> dict[str, float]:
    return over_folds([auroc(scores[folds == fold], positive[folds == fold]) for fold in np.unique(folds)])


def _text_rows(context: Context, examples: Examples) -> list[dict[str, Any]]:
    """The task's first baseline, out of fold on the same folds; none where it has no baseline."""
    if context.text is None:
        return []
    frame = context.text.to_pandas()
    frame = frame[frame["fold"].notna()].set_index("example_id")
    scores = frame.loc[[row["example_id"] for row in examples.rows], "score"].to_numpy(dtype=np.float64)
    return _rows(context, examples, str(frame["monitor"].iloc[0]), None, scores, examples.y == 1)
