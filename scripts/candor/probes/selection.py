"""One rule chooses layer, family and threshold from training data alone.

For each probe the shallowest layer whose cross-validated AUROC is within one standard error of its best layer's; then
the probe with the highest AUROC at its layer, the first in the task's order where two are equal. AUROC is the mean over
folds of the mean over seeds (of the mean over classes); the standard error is that of the folds' mean. A fold that
lacks a class has no AUROC and is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from candor.errors import CandorError
from candor.metrics.points import auroc, threshold_at_fpr


def cross_validated(scores: pa.Table) -> list[dict[str, Any]]:
    """One entry per layer, in ascending order: `layer` (None for a baseline), `auroc`, `se`; none without folds."""
    frame = scores.to_pandas()
    frame = frame[frame["fold"].notna() & frame["label"].notna() & frame["score"].notna()]
    found = []
    for layer, of_layer in frame.groupby("layer", dropna=False, sort=True):
        folds = []
        for _, of_fold in of_layer.groupby("fold", sort=True):
            parts = [
                auroc(part["score"].to_numpy(), part["label"].to_numpy(dtype=bool))
                for _, part in of_fold.groupby(["seed", "class"], dropna=False, sort=True)
            ]
            known = [part for part in parts if not np.isnan(part)]
            folds.append(float(np.mean(known)) if known else float("nan"))
        entry = {"layer": None if np.isnan(layer) else int(layer)}
        found.append({**entry, **{name: round(value, 6) for name, value in over_folds(folds).items()}})
    return found


def over_folds(folds: Sequence[float]) -> dict[str, float]:
    """Mean `auroc` and its standard error `se` over folds; those without an AUROC (nan) are left out."""
    known = [value for value in folds if not np.isnan(value)]
    if len(known) < 2:
        raise CandorError(
            f"only {len(known)} of {len(folds)} folds hold examples of every class, too few to compare layers by; "
            "set `folds` of the task lower, or give it more groups."
        )
    return {"auroc": float(np.mean(known)), "se": float(np.std(known, ddof=1) / len(known) ** 0.5)}


def within_one_se(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first entry whose AUROC is within one standard error of the best one's."""
    best = max(entries, key=lambda entry: entry["auroc"])
    return next(entry for entry in entries if entry["auroc"] >= best["auroc"] - best["se"])


def select(
    probes: Mapping[str, pa.Table],
    controls: Mapping[str, pa.Table],
    baselines: Mapping[str, pa.Table],
    thresholds: Mapping[str, Any],
) -> dict[str, Any]:
    """The selection of a task: `monitor`, `layer`, and for each monitor what its cross-validation gave.

    `probes`, `controls` and `baselines` map ids to the score tables of training jobs, in the task's order; a control's
    layer is chosen as a probe's, but it is never selected, and a baseline that was not cross-validated has None.
    `thresholds` maps all to layer -> seed -> class -> threshold (`none` for a layer or seed that a monitor lacks).
    """
    chosen, beside = ({id: _at_its_layer(scores) for id, scores in each.items()} for each in (probes, controls))
    monitor = max(chosen, key=lambda id: chosen[id]["auroc"])
    return {
        "monitor": monitor,
        "layer": chosen[monitor]["layer"],
        "rule": "shallowest layer within one standard error of the best; then the highest cross-validated AUROC",
        "probes": chosen,
        "controls": beside,
        "baselines": {id: next(iter(cross_validated(scores)), None) for id, scores in baselines.items()},
        "thresholds": dict(thresholds),
    }


def _at_its_layer(scores: pa.Table) -> dict[str, Any]:
    """What cross-validation gave at the layer that the rule takes, and at all `layers`."""
    layers = cross_validated(scores)
    return {**within_one_se(layers), "layers": layers}


def thresholds_of(scores: pa.Table, control: str, target_fpr: float) -> dict[str, dict[str, dict[str, float]]]:
    """layer -> seed -> class -> threshold on the control set's scores; `none` for a layer or seed that is null."""
    dataset, split = control.rsplit("@", 1)
    frame = scores.to_pandas()
    of_control = (frame["dataset"] == dataset) & (frame["split"] == split) & frame["fold"].isna()
    frame = frame[of_control & frame["score"].notna()]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (layer, seed, name), part in frame.groupby(["layer", "seed", "class"], dropna=False, sort=True):
        own = found.setdefault(_key(layer), {}).setdefault(_key(seed), {})
        own[name] = threshold_at_fpr(part["score"].to_numpy(), target_fpr)
    return found


def _key(value: float) -> str:
    return "none" if np.isnan(value) else str(int(value))
