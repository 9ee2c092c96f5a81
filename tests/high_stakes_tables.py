"""Made-up tables of the high-stakes study in their contracts' form, with realistic numbers, for tests of figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
SETS = [
    "stakes-pairs@test",
    "stakes-dialogues@test",
    "anthropic-hh@test",
    "toolace@test",
    "mts-dialog@test",
    "aya-redteaming@test",
]
PROBES = [
    "mean",
    "mean_then_linear",
    "last",
    "max",
    "rolling_mean_max",
    "softmax",
    "attention",
    "difference_of_means",
    "logistic",
]
CONTROLS = ["layer-0", "random-direction", "perplexity"]
BASELINES = {
    "tfidf": "tfidf",
    "bag-of-words": "bag_of_words",
    "length": "length",
    "prompted-1b": "prompted",
    "prompted-8b": "prompted",
    "finetuned-1b": "finetuned",
    "judge-api": "judge",
}
HEADLINE = "attention"
WORTH = {"tfidf": 0.66, "bag-of-words": 0.63, "length": 0.54, "prompted-1b": 0.71, "prompted-8b": 0.88}
WORTH |= {"finetuned-1b": 0.87, "judge-api": 0.91, "layer-0": 0.6, "random-direction": 0.52, "perplexity": 0.49}
COSTS = {"tfidf": 4e3, "bag-of-words": 2e3, "length": 0.0, "prompted-1b": 1.1e12, "prompted-8b": 8e12}
COSTS |= {"finetuned-1b": 5e11}


def task(sets: Sequence[str], **given: Any) -> Row:
    return {
        "title": "High stakes",
        "classes": ["low-stakes", "high-stakes"],
        "capture": "stakes",
        "train": "stakes-pairs@train",
        "control": "everyday@test",
        "evaluation": list(sets),
        "in_distribution": ["stakes-pairs@test"] if len(sets) > 1 else [],
        "probes": PROBES,
        "controls": CONTROLS,
        "baselines": list(BASELINES),
        "bootstrap": 20,
        **given,
    }


def _layer(monitor: str) -> int | None:
    if monitor in BASELINES:
        return None
    return 0 if monitor == "layer-0" else 15


def metric_rows(sets: Sequence[str], monitors: Sequence[str] = (*PROBES, *CONTROLS, *BASELINES)) -> list[Row]:
    rng = np.random.default_rng(0)
    averaged = [part for part in sets if part != "stakes-pairs@test"] or list(sets)
    columns = [*sets, "mean"] if len(averaged) > 1 else list(sets)
    rows = []
    for i, monitor in enumerate(monitors):
        for dataset in columns:
            negatives = 105 if dataset != "mean" else 500
            width = 0.05 if dataset != "mean" else 0.02
            auroc = WORTH.get(monitor, 0.78 + 0.012 * i) + 0.03 * rng.standard_normal()
            auroc = float(np.clip(auroc, 0.3, 0.995))
            tpr = max(0.0, 1.5 * auroc - 1.0)
            fpr = abs(0.02 + 0.02 * rng.standard_normal())
            values: dict[tuple[str, str | None], float] = {
                ("auroc", None): auroc,
                ("tpr_at_fpr", None): tpr,
                ("tpr_at_fpr_nearest", None): min(1.0, tpr + 0.02),
                ("tpr_at_5_fpr", None): min(1.0, tpr + 0.15),
                ("tpr_at_control", None): min(1.0, tpr + 0.05),
                ("fpr_at_control", None): 0.0 if i == 3 else fpr,
            }
            if monitor != "tfidf":
                values["auroc", "tfidf"] = auroc - WORTH["tfidf"]
            for (metric, versus), value in values.items():
                spread = fpr if metric == "fpr_at_control" else width
                rows.append(
                    {
                        "task": "high-stakes",
                        "monitor": monitor,
                        "family": BASELINES.get(monitor, monitor.replace("-", "_")),
                        "layer": _layer(monitor),
                        "selected": monitor == HEADLINE,
                        "dataset": dataset,
                        "class": "high-stakes",
                        "metric": metric,
                        "versus": versus,
                        "value": value,
                        "low": value - spread if versus else max(0.0, value - 0.8 * spread),
                        "high": value + spread if versus else min(1.0, value + 1.5 * spread + 0.01),
                        "p_value": 0.01 if versus else None,
                        "p_holm": 0.03 if versus else None,
                        "n": 2 * negatives,
                        "n_positive": negatives,
                        "n_negative": negatives,
                        "n_groups": negatives,
                        "n_seeds": 1 if monitor in BASELINES else 3,
                        "n_skipped": 4 if monitor == "judge-api" else 0,
                        "n_truncated": 0,
                        "remark": None,
                    }
                )
    return rows


def score_rows(
    sets: Sequence[str], monitors: Sequence[str] = (*PROBES, *CONTROLS, *BASELINES), n: int = 8
) -> list[Row]:
    """Few examples: a figure of costs reads no score. The judge's costs are not known."""
    rng = np.random.default_rng(1)
    rows = []
    for part in sets:
        dataset, split = part.split("@")
        for monitor in monitors:
            for i in range(n):
                added = COSTS.get(monitor, 4e5 * (1 + (monitor in ("attention", "softmax"))))
                total = added if monitor in BASELINES else 1.2e11 + added
                cost = None if monitor == "judge-api" else float(rng.uniform(0.5, 1.5))
                rows.append(
                    {
                        "example_id": f"{dataset}-{i}",
                        "sample_index": 0,
                        "token_index": None,
                        "group_id": f"{dataset}-{i // 2}",
                        "dataset": dataset,
                        "split": split,
                        "monitor": monitor,
                        "layer": _layer(monitor),
                        "seed": None if monitor in BASELINES else 0,
                        "fold": None,
                        "class": "high-stakes",
                        "label": i % 2 == 1,
                        "score": float(rng.standard_normal() + i % 2),
                        "probability": None,
                        "flops_monitor": None if cost is None else added * cost,
                        "flops_total": None if cost is None else total * cost,
                        "status": "ok",
                        "n_tokens": 30,
                    }
                )
    return rows


def curve_row(experiment: str, curve: str, dataset: str, x: float | None, value: float | None, **given: Any) -> Row:
    width = 0.03 if dataset == "mean" else 0.06
    inside = None if value is None else value
    return {
        "experiment": experiment,
        "curve": curve,
        "monitor": curve.split("/")[0],
        "layer": 15,
        "dataset": dataset,
        "x": x,
        "metric": "auroc",
        "value": value,
        "low": None if inside is None else max(0.0, inside - width),
        "high": None if inside is None else min(1.0, inside + width),
        "flops": None,
        "n": 420 if dataset == "mean" else 210,
        "n_positive": 105,
        "n_groups": 210 if dataset == "mean" else 105,
        "n_skipped": 0,
        "n_runs": 3,
        "remark": None if value is not None else "one class only",
        **given,
    }


SIZES = (4, 16, 64, 630)


def efficiency(sets: Sequence[str], probes: Sequence[str], experiment: str = "efficiency") -> list[Row]:
    """Lines that rise; on the first set 4 examples are too few. Monitors of `finetuned` read no layer."""
    layer = None if experiment == "finetuned" else 15
    rows = []
    for number, probe in enumerate(probes):
        for size in SIZES:
            of_set: list[float | None] = [0.5 + (0.25 + 0.02 * number) * (1 - np.exp(-size / 90)) for _ in sets]
            if size == SIZES[0]:
                of_set[0] = None
            mean = None if None in of_set else float(of_set[-1] or 0) + 0.01 * (len(sets) > 1)
            for dataset, value in [*zip(sets, of_set, strict=True), ("mean", mean)]:
                rows.append(curve_row(experiment, probe, dataset, float(size), value, layer=layer))
    return rows


def development(sets: Sequence[str]) -> list[Row]:
    """Three usages from the same start, and a baseline without x; 256 examples are too many for the last set."""
    rows = []
    for usage, gain in (("fine-tune", 0.1), ("only", 0.3), ("combine", 0.12)):
        for size in (0, 2, 16, 256):
            start = 0.5 if usage == "only" else 0.72
            if usage == "only" and not size:
                continue
            value = start + gain * (1 - np.exp(-size / 50))
            for dataset in [*sets, "mean"]:
                undefined = size == 256 and dataset in (sets[-1], "mean")
                said = None if undefined else float(value) + 0.01 * (dataset == "mean")
                rows.append(curve_row("dev", f"attention/{usage}", dataset, float(size), said))
    rows += [curve_row("dev", "tfidf", dataset, None, 0.63, layer=None) for dataset in [*sets, "mean"]]
    return rows


def cascades(sets: Sequence[str], selections: Sequence[str], merges: Sequence[str]) -> list[Row]:
    """Two cascades and their monitors; the judge's costs are not known."""
    alone = {"attention": (0.85, 4e5, 15), "prompted-8b": (0.9, 8e12, None), "judge-api": (0.91, None, None)}
    rows = []
    for monitor, (value, cost, layer) in alone.items():
        for dataset in [*sets, "mean"]:
            shown = value + 0.01 * (dataset == "mean")
            rows.append(curve_row("cascade", monitor, dataset, None, shown, layer=layer, flops=cost))
    for cascade, (expensive, gain) in {"probe-prompted": (8e12, 0.05), "probe-finetuned": (5e11, 0.03)}.items():
        for selection in selections:
            for merge in merges:
                for share in (0.0, 0.4, 1.0):
                    for dataset in [*sets, "mean"]:
                        value = 0.85 + gain * share + 0.01 * (dataset == "mean")
                        given = {"monitor": None, "layer": None, "flops": 4e5 + share * expensive}
                        curve = f"{cascade}/{selection}/{merge}"
                        rows.append(curve_row("cascade", curve, dataset, share, value, **given))
                        given["metric"] = "auroc_difference"
                        rows.append(curve_row("cascade", curve, dataset, share, 0.01, **given))
    return rows


def reliability(sets: Sequence[str], monitors: Sequence[str], *, rated: bool) -> list[Row]:
    """Raw probabilities that are too sure, recalibrated ones; `tfidf` has none of its own."""
    rows = []
    for monitor in monitors:
        layer = None if monitor in BASELINES else 15
        for method, ece in (("raw", 0.21), ("platt", 0.08), ("isotonic", 0.06)):
            unknown = method == "raw" and monitor == "tfidf"
            curve = f"{monitor}/{method}"
            for dataset in [*sets, "mean"]:
                for metric, value in (("ece", ece), ("brier", 0.1 + ece)):
                    shown = None if unknown else value
                    rows.append(curve_row("calibration", curve, dataset, None, shown, metric=metric, layer=layer))
            for dataset in () if unknown else sets:
                for x in (0.05, 0.35, 0.65, 0.95):
                    share = 0.5 + (x - 0.5) * (0.5 if method == "raw" else 0.95)
                    rows.append(
                        curve_row("calibration", curve, dataset, x, share, metric="observed", n=40, layer=layer)
                    )
                    if rated and dataset == sets[0]:
                        ends = {"low": 9 * share, "high": 9 * share + 1}
                        given = {"metric": "rating", "n": 40, "layer": layer, **ends}
                        rows.append(curve_row("calibration", curve, dataset, x, 1 + 8 * share, **given))
    return rows


def lengths(sets: Sequence[str], monitors: Sequence[str]) -> list[Row]:
    """Long texts are rare: a bin of one class, and a bin of none."""
    held = {0: 60, 50: 90, 200: 50, 500: 3, 1000: 0}
    rows = []
    for monitor in monitors:
        for dataset in [*sets, "mean"]:
            for edge, n in held.items():
                value = 0.85 - 0.0004 * edge + 0.01 * (dataset == "mean") if n > 3 else None
                remark = None if value is not None else "one class only" if n else "no text of this length"
                given = {"n": n, "n_groups": n, "remark": remark, "layer": None if monitor in BASELINES else 15}
                rows.append(curve_row("lengths", monitor, dataset, float(edge), value, **given))
    return rows


TEMPLATES = {"default": 0.61, "single_word": 0.55, "prompt_at_end": None, "single_letter": 0.66}


def templates(baseline: str) -> list[Row]:
    """The last template is the best; one has no AUROC."""
    part = "stakes-pairs@train"
    return [curve_row(baseline, name, part, None, value, layer=None) for name, value in TEMPLATES.items()]


def token_rows(texts: Sequence[Sequence[str]], unread: int = 0) -> list[Row]:
    """Tokens of texts whose scores rise from text to text; the first `unread` of each are not read by the probe."""
    rng = np.random.default_rng(0)
    rows = []
    for i, tokens in enumerate(texts):
        scores, weights = i - 1 + 2 * rng.standard_normal(len(tokens)), rng.random(len(tokens))
        weights[:unread] = 0
        for number, token in enumerate(tokens):
            rows.append(
                {
                    "experiment": "tokens",
                    "monitor": HEADLINE,
                    "layer": 15,
                    "seed": 0,
                    "dataset": "stakes-dialogues@test",
                    "example_id": f"dialogue-{i}",
                    "group_id": f"scene-{i}",
                    "label": ("low-stakes", "high-stakes", None)[i % 3],
                    "token_index": number,
                    "token": token,
                    "role": "user",
                    "score": None if number < unread else float(scores[number]),
                    "weight": float(weights[number] / weights.sum()),
                    "text_score": float(i - 1),
                    "text_probability": 0.5,
                    "rank": i / max(1, len(texts) - 1),
                    "status": "ok",
                }
            )
    return rows
