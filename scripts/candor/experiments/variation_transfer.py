"""Train on one value of an attribute, test on each, cross-fitted over groups (Fig. 11).

For each fold, a probe is trained on the examples of the training value outside the fold and scores the fold's examples
of every value, so that no group is on both sides even where the two values are the same. The probe reads the mean
activation at the layer that was selected for it.
"""

import importlib
import json
from typing import Any

import numpy as np
import torch

from candor.errors import CandorError
from candor.experiments.context import Context, Examples, measured
from candor.probes.features import Features
from candor.probes.fitting import fit_problems
from candor.probes.pooling import scores_in_blocks
from candor.probes.problems import TooFewGroups, make_problems


def run(context: Context) -> list[dict[str, Any]]:
    """Rows of the experiment table: a cell per attribute, training value and test value."""
    examples = Examples(context)
    assert context.selection is not None  # the rule gives this kind of experiment one
    layer = context.selection["probes"][context.experiment.probe]["layer"]
    x = examples.means(layer)
    described = [json.loads(row["attributes"]) for row in examples.rows]
    rows = []
    attributes = context.experiment.attributes
    progress = context.progress(f"transfer {context.id}", len(attributes), "attributes")
    for number, attribute in enumerate(attributes, start=1):
        values = np.array(["" if each.get(attribute) is None else str(each[attribute]) for each in described])
        if not values.astype(bool).any():
            raise CandorError(
                f"experiments.{context.id}.attributes: no example of {context.task.train} has the attribute "
                f"{attribute!r}; name one that its transform gives."
            )
        for trained_on in sorted(set(values) - {""}):
            scores, n_groups, remark = _cross_fitted(context, examples, x, values == trained_on)
            for tested_on in sorted(set(values) - {""}):
                rows.append(
                    _cell(
                        context, examples, attribute, (trained_on, tested_on), values, scores, layer, n_groups, remark
                    )
                )
        progress.update(number)
    return rows


def _cross_fitted(
    context: Context, examples: Examples, x: torch.Tensor, inside: np.ndarray
) -> tuple[np.ndarray, int, str | None]:
    """Scores of all examples by fits on those `inside`, each from the fit that left the example's fold out."""
    chosen = np.flatnonzero(inside)
    groups = [examples.groups[i] for i in chosen]
    y, folds = examples.y[chosen], examples.folds[chosen]
    scores = np.full(len(examples.y), np.nan)
    family = importlib.import_module(f"candor.probes.families.{context.probe.family}")
    probe, seed = context.probe, context.task.seed
    try:
        problems = make_problems(
            groups, y.tolist(), folds.tolist(), [seed], getattr(probe, "held_out", None), context.id, classes=2
        )
    except TooFewGroups:
        return scores, len(set(groups)), "too few training groups for a fit in every fold"
    own = Features(x[chosen], torch.ones(len(chosen), dtype=torch.int64))
    fitted = fit_problems(own, torch.from_numpy(y), problems, family, probe, seed)
    everything = Features(x, torch.ones(len(x), dtype=torch.int64))
    logits = (
        scores_in_blocks(everything, fitted.weight.flatten(2), fitted.bias.flatten(), family, probe).double().numpy()
    )
    for fold in np.unique(examples.folds):
        # a fold that holds no training example is left out by the fit on all of them
        p = problems.folds.index(fold if fold in folds else None)
        scores[examples.folds == fold] = logits[examples.folds == fold, p]
    return scores, len(set(groups)), None


def _cell(
    context: Context,
    examples: Examples,
    attribute: str,
    pair: tuple[str, str],
    values: np.ndarray,
    scores: np.ndarray,
    layer: int,
    n_train_groups: int,
    remark: str | None,
) -> dict[str, Any]:
    at = np.flatnonzero((values == pair[1]) & np.isfinite(scores))
    groups = [examples.groups[i] for i in at]
    found = measured(scores[at], examples.y[at] == 1, groups, ["auroc"], context.task.bootstrap, context.task.seed)[
        "auroc"
    ]
    return {
        "experiment": context.id,
        "attribute": attribute,
        "train_value": pair[0],
        "test_value": pair[1],
        "family": context.probe.family,
        "layer": layer,
        "metric": "auroc",
        **found,
        "n": len(at),
        "n_groups": len(set(groups)),
        "n_skipped": examples.n_skipped + int((values == pair[1]).sum()) - len(at),
        "n_train_groups": n_train_groups,
        "chosen": False,
        "remark": None if found["value"] is not None else remark or "one class only",
    }
