"""One way to fit a family, trained or in closed form, and to score each example with the fit that left it out."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from candor.probes.features import Features
from candor.probes.pooling import scores_in_blocks
from candor.probes.problems import Problems
from candor.probes.training import Fitted, fit


def fit_problems(
    features: Features, y: Tensor, problems: Problems, family: ModuleType, probe: Any, seed: int
) -> Fitted:
    """Weights of every problem of one layer; y int64 [n] are class indices."""
    if not hasattr(family, "fit"):
        return fit(features, y, problems, family, probe, seed)
    seeded = getattr(family, "SEEDED", False)
    found: dict[tuple[int | None, ...], tuple[Tensor, Tensor]] = {}
    # a closed form without randomness is fitted once for all seeds
    keys = [(fold, *([own] if seeded else [])) for own, fold in zip(problems.seeds, problems.folds, strict=True)]
    for p, key in enumerate(keys):
        if key not in found:
            chosen = problems.train[:, p]
            found[key] = family.fit(features.x[chosen], y[chosen], int(y.max()) + 1, probe, *key[1:])
    pairs = [found[key] for key in keys]
    weight = torch.stack([weight for weight, _ in pairs], 1)[None].float()
    bias = torch.stack([bias for _, bias in pairs]).float()
    return Fitted(weight, bias, [0] * len(pairs), [float("nan")] * len(pairs))


def out_of_fold_logits(
    features: Features, fitted: Fitted, problems: Problems, family: Any, probe: Any, assigned: Sequence[int]
) -> Tensor:
    """Logits [n, c], each example's from the problem that left its fold out."""
    count, outputs = fitted.bias.shape
    flat = scores_in_blocks(features, fitted.weight.flatten(2), fitted.bias.flatten(), family, probe)
    logits = flat.view(len(flat), count, outputs)
    return torch.stack([logits[i, problems.folds.index(fold)] for i, fold in enumerate(assigned)])
