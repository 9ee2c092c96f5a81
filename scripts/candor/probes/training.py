"""Training by gradient descent: all seeds and folds of a family at one layer as one batched problem.

AdamW with a cosine schedule, one gradient norm clipped per problem, early stopping per problem on the AUROC over its
held-out groups, and the best epoch's weights restored. A few held-out groups are soon all in order, long before the
weights are good: of epochs with equal AUROC the one with the lowest loss over the same groups counts, while patience
runs from the first of them. Batches are blocks of a fixed random order of the examples, in a new order each epoch,
shared by all problems, so that each block is read once for all of them. Inputs are standardised inside the model by the
mean and standard deviation of the rows that a problem trains on, which steers the optimiser only: the weights that are
returned apply to raw activations.
"""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from candor.config.probes import Trained
from candor.probes.features import Features
from candor.probes.pooling import scores, scores_in_blocks
from candor.probes.problems import Problems

BETAS = (0.9, 0.999)
EPSILON = 1e-8
ROWS_AT_ONCE = 16_384
STATISTICS_BLOCK = 64
"""Examples whose rows are held in double precision at a time."""
ROUNDING = 1e-6
"""A feature that varies by less, relative to its size, is constant up to float32's rounding."""


class Fitted(NamedTuple):
    """Weights of p problems for raw activations: weight [projections, width, p, c], bias [p, c], and their history.

    `best_epoch`, counted from 0, is the one whose weights these are.
    """

    weight: Tensor
    bias: Tensor
    best_epoch: list[int]
    watched_auroc: list[float]


class _State:
    """Parameters, weight [projections, width, p, c] and bias [p, c], and AdamW's moments of both."""

    def __init__(self, shape: tuple[int, int, int, int], seeds: Sequence[int]) -> None:
        projections, width, problems, outputs = shape
        bound = width**-0.5
        first = []
        for seed in seeds:  # the same start for every fold of a seed
            generator = torch.Generator().manual_seed(seed)
            first.append((torch.rand(projections, width, outputs, generator=generator) * 2 - 1) * bound)
        self.weight = torch.stack(first, 2)
        self.bias = torch.zeros(problems, outputs)
        self.moments = [torch.zeros_like(t) for t in (self.weight, self.weight, self.bias, self.bias)]

    def step(self, weight_grad: Tensor, bias_grad: Tensor, probe: Trained, rate: float, t: int, live: Tensor) -> None:
        """One AdamW step of the problems in `live`, after clipping each problem's gradient."""
        norm = (weight_grad.square().sum((0, 1, 3)) + bias_grad.square().sum(1)).sqrt()
        factor = (probe.clip / (norm + 1e-6)).clamp(max=1.0)
        grads = (weight_grad * factor[None, None, :, None], bias_grad * factor[:, None])
        for i, (parameter, grad) in enumerate(zip((self.weight, self.bias), grads, strict=True)):
            first, second = self.moments[2 * i], self.moments[2 * i + 1]
            first.mul_(BETAS[0]).add_(grad, alpha=1 - BETAS[0])
            second.mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
            root = (second / (1 - BETAS[1] ** t)).sqrt_().add_(EPSILON)
            update = first / (1 - BETAS[0] ** t) / root
            if i == 0:
                update = update + probe.weight_decay * parameter
            mask = live[None, None, :, None] if i == 0 else live[:, None]
            parameter.sub_(rate * update * mask)


def fit(
    features: Features, labels: Tensor, problems: Problems, family: ModuleType, probe: Trained, seed: int
) -> Fitted:
    """Train all problems of one layer; labels int64 [n] are class indices, two classes give one output."""
    classes = int(labels.max()) + 1
    outputs = 1 if classes == 2 else classes
    n, count = len(labels), len(problems.seeds)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    mixed, y = _reordered(features, order), labels[order]
    train = problems.train[order]
    seen = problems.watch.any(1).nonzero().squeeze(1)
    watched, watched_y, watch = _reordered(features, seen), labels[seen], problems.watch[seen]
    center, scale = _standardisation(features, problems.train)
    state = _State((family.PROJECTIONS, features.x.shape[1], count, outputs), problems.seeds)
    blocks = [(start, min(start + probe.batch_size, n)) for start in range(0, n, probe.batch_size)]
    best = state.weight.clone(), state.bias.clone()
    best_auroc, best_loss = torch.full((count,), -1.0, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    best_epoch, risen = torch.zeros(2, count, dtype=torch.long)
    live = torch.ones(count, dtype=torch.bool)
    shuffle, t, steps = torch.Generator().manual_seed(seed), 0, probe.epochs * len(blocks)
    for epoch in range(probe.epochs):
        for block in torch.randperm(len(blocks), generator=shuffle).tolist():
            start, stop = blocks[block]
            rate = learning_rate(probe, t / steps)
            t += 1
            columns = live.nonzero().squeeze(1)
            part = mixed.block(start, stop)
            grads = _gradients(part, y[start:stop], train[start:stop], state, columns, center, scale, family, probe)
            state.step(*grads, probe, rate, t, live)
        columns = live.nonzero().squeeze(1)
        raw = _raw(state.weight[:, :, columns], state.bias[columns], center[:, columns], scale[:, columns])
        with torch.no_grad():
            flat = scores_in_blocks(watched, raw[0].flatten(2), raw[1].flatten(), family, probe, probe.batch_size)
        logits, mask = flat.view(len(seen), len(columns), outputs), watch[:, columns]
        auroc, loss = watched_auroc(logits, watched_y, mask), _mean_loss(logits, watched_y, mask).double()
        higher = auroc > best_auroc[columns]
        kept = higher | ((auroc == best_auroc[columns]) & (loss < best_loss[columns]))
        better = columns[kept]
        best_auroc[better], best_loss[better], best_epoch[better] = auroc[kept], loss[kept], epoch
        best[0][:, :, better], best[1][better] = state.weight[:, :, better], state.bias[better]
        risen[columns[higher]] = epoch
        live &= risen > epoch - probe.patience
        if not live.any():
            break
    weight, bias = _raw(best[0], best[1], center, scale)
    return Fitted(weight, bias, best_epoch.tolist(), best_auroc.tolist())


def learning_rate(probe: Trained, done: float) -> float:
    """The cosine schedule's rate after a share `done` of all steps: from learning_rate at 0 to the final one at 1."""
    height = (1 + math.cos(math.pi * done)) / 2
    return probe.final_learning_rate + (probe.learning_rate - probe.final_learning_rate) * height


def _gradients(
    part: Features,
    y: Tensor,
    train: Tensor,
    state: _State,
    columns: Tensor,
    center: Tensor,
    scale: Tensor,
    family: ModuleType,
    probe: Trained,
) -> tuple[Tensor, Tensor]:
    """Gradients of each live problem's mean loss over its training examples in a block; zeros for the others."""
    weight, bias = state.weight[:, :, columns].requires_grad_(), state.bias[columns].requires_grad_()
    raw_weight, raw_bias = _raw(weight, bias, center[:, columns], scale[:, columns])
    logits = scores(part, raw_weight.flatten(2), raw_bias.flatten(), family, probe).view(len(y), *bias.shape)
    loss = _mean_loss(logits, y, train[:, columns])
    weight_grad, bias_grad = torch.autograd.grad(loss.sum(), (weight, bias))
    full_weight, full_bias = torch.zeros_like(state.weight), torch.zeros_like(state.bias)
    full_weight[:, :, columns], full_bias[columns] = weight_grad, bias_grad
    return full_weight, full_bias


def _mean_loss(logits: Tensor, y: Tensor, used: Tensor) -> Tensor:
    """Mean cross-entropy [p] of each problem over the examples it uses [n, p], 0 without any; logits [n, p, c]."""
    target = y[:, None].expand(-1, logits.shape[1])
    if logits.shape[2] == 1:
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[..., 0], target.to(logits.dtype), reduction="none"
        )
    else:
        losses = torch.nn.functional.cross_entropy(logits.movedim(2, 1), target, reduction="none")
    return (losses * used).sum(0) / used.sum(0).clamp(min=1)


def _raw(weight: Tensor, bias: Tensor, center: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [k, width, p, c] and biases [p, c] for raw activations, from those for standardised ones.

    center and scale [width, p] are each problem's own. Only the first projection carries a score, so only its shift
    enters the bias; a softmax ignores a query's shift.
    """
    raw = weight / scale[None, ..., None]
    return raw, bias - torch.einsum("dp,dpc->pc", center, raw[0])


def _standardisation(features: Features, train: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [width, p] over the rows that each problem trains on, in one pass over the rows.

    Nothing of a left-out fold or of watched groups enters. A feature that does not vary keeps its scale.
    """
    shift = features.x[0].double()  # near the mean, so that the difference of squares below stays exact
    of_examples = torch.zeros(2, len(train), features.x.shape[1], dtype=torch.float64)
    for start in range(0, len(train), STATISTICS_BLOCK):
        block = features.block(start, min(start + STATISTICS_BLOCK, len(train)))
        example = torch.arange(start, start + len(block.lengths)).repeat_interleave(block.lengths)
        x = block.x.double() - shift
        of_examples[0].index_add_(0, example, x)
        of_examples[1].index_add_(0, example, x.square_())
    sums, squares = (each.T @ train.double() for each in of_examples)
    count = (train * features.lengths[:, None]).sum(0)
    center, second = sums / count + shift[:, None], squares / count
    variance = second - (sums / count).square()
    constant = variance <= ROUNDING**2 * (second + center.square())
    return center.float(), variance.masked_fill(constant, 1.0).sqrt().float()


def _reordered(features: Features, order: Tensor) -> Features:
    parts = features.x.split(features.lengths.tolist())
    return Features(torch.cat([parts[i] for i in order.tolist()]), features.lengths[order])


def watched_auroc(logits: Tensor, y: Tensor, watch: Tensor) -> Tensor:
    """AUROC of each problem over its watched examples, float64 [p]: of class 1, or the mean over classes.

    logits [n, p, c], y int64 [n], watch bool [n, p]. Ties count half.
    """
    found = []
    for p in range(logits.shape[1]):
        seen = watch[:, p]
        wanted = [(0, 1)] if logits.shape[2] == 1 else [(k, k) for k in range(logits.shape[2])]
        margins = logits[seen, p] if logits.shape[2] == 1 else margin(logits[seen, p])
        found.append(torch.stack([_auroc(margins[:, column], y[seen] == k) for column, k in wanted]).mean())
    return torch.stack(found)


def margin(logits: Tensor) -> Tensor:
    """Log-odds of each class against all others, [n, c], from multinomial logits [n, c]."""
    return logits - torch.stack(
        [torch.cat([logits[:, :k], logits[:, k + 1 :]], 1).logsumexp(1) for k in range(logits.shape[1])], 1
    )


def _auroc(score: Tensor, positive: Tensor) -> Tensor:
    negatives = score[~positive].contiguous().sort().values
    wins = torch.searchsorted(negatives, score[positive].contiguous(), side="left").double()
    reached = torch.searchsorted(negatives, score[positive].contiguous(), side="right").double()
    return (wins + reached).mean() / 2 / max(len(negatives), 1)
