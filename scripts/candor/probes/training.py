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
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from candor.config.probes import Trained
from candor.probes.features import Features
from candor.probes.pooling import projections_of, scoring_of
from candor.probes.problems import Problems
from candor.probes.reading import Reader, TokenRows, reader, rows_of
from candor.probes.regression import ROUNDING

BETAS = (0.9, 0.999)
EPSILON = 1e-8
WATCHED = 64
"""Watched examples that are scored at a time, so that padding stays small."""


class Fitted(NamedTuple):
    """Weights of p problems for raw activations: weight [projections, width, p, c], bias [p, c], and their history.

    A family with a `score_rows` has further numbers after each projection's width (probes/families/__init__.py).
    `best_epoch`, counted from 0, is the one whose weights these are.
    """

    weight: Tensor
    bias: Tensor
    best_epoch: list[int]
    watched_auroc: list[float]


class _Parameters:
    """Parameters of p problems as rows [p, k], and AdamW's moments of them; `decayed` [k] is 1 where they decay."""

    def __init__(self, values: Tensor, decayed: Tensor) -> None:
        self.values, self.decayed = values, decayed
        self.first, self.second = torch.zeros(2, *values.shape)

    def keep(self, staying: Tensor) -> None:
        """Go on with the problems that the mask [p] names."""
        self.values, self.first, self.second = self.values[staying], self.first[staying], self.second[staying]

    def step(self, grad: Tensor, probe: Trained, rate: float, t: int) -> None:
        """One AdamW step, after clipping each problem's gradient."""
        grad = grad * (probe.clip / (grad.norm(dim=1, keepdim=True) + 1e-6)).clamp_(max=1.0)
        self.first.lerp_(grad, 1 - BETAS[0])
        self.second.mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
        root = self.second.div(1 - BETAS[1] ** t).sqrt_().add_(EPSILON)
        self.values.addcmul_(self.values, self.decayed, value=-rate * probe.weight_decay)
        self.values.addcdiv_(self.first, root, value=-rate / (1 - BETAS[0] ** t))


class _Inputs(NamedTuple):
    """How each of p problems sees its inputs: their centre and scale [p, width].

    The first `scoring` projections carry the score, so a shift of them shifts it; a shift of another does nothing.
    """

    center: Tensor
    scale: Tensor
    scoring: int

    def raw(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [p, k, c, width] and biases [p, c] for inputs as they are, from those for standardised ones."""
        found = weight / self.scale[:, None, None]
        return found, bias - (found[:, : self.scoring].sum(1) @ self.center[..., None]).squeeze(2)

    def back(self, of_weight: Tensor, of_bias: Tensor) -> Tensor:
        """Gradients of the standardised parameters as rows, from those of what `raw` gives."""
        of_weight = of_weight.clone()
        of_weight[:, : self.scoring] -= (of_bias[..., None] * self.center[:, None])[:, None]
        return torch.cat([(of_weight / self.scale[:, None, None]).flatten(1), of_bias], 1)

    def keep(self, staying: Tensor) -> "_Inputs":
        return self._replace(center=self.center[staying], scale=self.scale[staying])


class _Model(Protocol):
    """What is trained: logits of the examples by rows of parameters, and what those rows are for raw activations."""

    def first(self, seeds: Sequence[int]) -> _Parameters:
        """Parameters to start from, one row for each seed: the same for every fold of a seed."""

    def train(self, start: int, stop: int, values: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Logits [n, p, c] of training examples start to stop, and the way back from their gradient to that of rows."""

    def watched(self, values: Tensor) -> Tensor:
        """Logits [n, p, c] of all watched examples."""

    def keep(self, staying: Tensor) -> None:
        """Go on with the problems that the mask [p] names."""

    def raw(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Weight [projections, width, p, c] and bias [p, c] for raw activations, of all problems."""


class _Projections:
    """A pooling of projections; a row of parameters holds weights [k, c, width], then biases [c]."""

    def __init__(
        self,
        features: Features,
        order: Tensor,
        seen: Tensor,
        inputs: _Inputs,
        family: ModuleType,
        probe: Trained,
        outputs: int,
    ) -> None:
        self._inputs, self._all, self._outputs = inputs, inputs, outputs
        self._projections, self._width, self._seen = projections_of(family, probe), features.x.shape[1], len(seen)
        rows, center = rows_of(features, family, probe), inputs.center.mean(0)
        self._training, self._watching = (
            reader(rows, each, center, family, probe, inputs.scoring) for each in (order, seen)
        )

    def first(self, seeds: Sequence[int]) -> _Parameters:
        rows, bound = [], self._width**-0.5
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            first = (torch.rand(self._projections, self._width, self._outputs, generator=generator) * 2 - 1) * bound
            rows.append(torch.cat([first.transpose(1, 2).flatten(), torch.zeros(self._outputs)]))
        values = torch.stack(rows)
        decayed = torch.ones(values.shape[1])
        decayed[-self._outputs :] = 0
        return _Parameters(values, decayed)

    def train(self, start: int, stop: int, values: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        weight, bias = self._inputs.raw(*self._split(values))
        logits, back = _logits(self._training, start, stop, weight, bias)

        def whole(of_logits: Tensor) -> Tensor:
            of_weight = back(of_logits.flatten(1)).unflatten(1, bias.shape).transpose(0, 1)
            return self._inputs.back(of_weight, of_logits.sum(0))

        return logits, whole

    def watched(self, values: Tensor) -> Tensor:
        weight, bias = self._inputs.raw(*self._split(values))
        return torch.cat([_logits(self._watching, *each, weight, bias)[0] for each in _blocks(self._seen, WATCHED)])

    def keep(self, staying: Tensor) -> None:
        self._inputs = self._inputs.keep(staying)

    def raw(self, values: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = self._all.raw(*self._split(values))
        return weight.permute(1, 3, 0, 2).contiguous(), bias

    def _split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [p, k, c, width] and biases [p, c] of rows."""
        shape = (len(values), self._projections, self._outputs, self._width)
        return values[:, : -self._outputs].view(shape), values[:, -self._outputs :]


class _Layers(NamedTuple):
    """Parameters of p networks of two layers: [p, h, width], [p, h], [p, h, c] and [p, c]."""

    weight: Tensor
    hidden_bias: Tensor
    output: Tensor
    bias: Tensor


class _Network:
    """Two layers on each row, averaged over an example's rows; a row of parameters holds those of `_Layers` in turn."""

    def __init__(
        self,
        features: Features,
        order: Tensor,
        seen: Tensor,
        inputs: _Inputs,
        family: ModuleType,
        probe: Trained,
        outputs: int,
    ) -> None:
        self._inputs, self._all, self._outputs = inputs, inputs, outputs
        self._hidden, self._width, self._seen = projections_of(family, probe), features.x.shape[1], len(seen)
        # near the middle of the rows, float32 rounds little
        self._shift = inputs.center.mean(0)
        self._training, self._watching = (TokenRows(features, each, self._shift) for each in (order, seen))

    def first(self, seeds: Sequence[int]) -> _Parameters:
        hidden, width, outputs, rows = self._hidden, self._width, self._outputs, []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            weight, output = (torch.rand(hidden, k, generator=generator) * 2 - 1 for k in (width, outputs))
            parts = [weight * width**-0.5, torch.zeros(hidden), output * hidden**-0.5, torch.zeros(outputs)]
            rows.append(torch.cat([part.flatten() for part in parts]))
        decayed = _Layers(
            torch.ones(hidden, width), torch.zeros(hidden), torch.ones(hidden, outputs), torch.zeros(outputs)
        )
        return _Parameters(torch.stack(rows), torch.cat([part.flatten() for part in decayed]))

    def train(self, start: int, stop: int, values: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        given = values.detach().requires_grad_()
        with torch.enable_grad():
            logits = self._read(self._training, start, stop, given)
        return logits.detach(), lambda of_logits: torch.autograd.grad(logits, given, of_logits)[0]

    def watched(self, values: Tensor) -> Tensor:
        return torch.cat([self._read(self._watching, *each, values) for each in _blocks(self._seen, WATCHED)])

    def keep(self, staying: Tensor) -> None:
        self._inputs = self._inputs.keep(staying)

    def raw(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """As the family's `score_rows` reads it: for each class the hidden layer, its bias, its weight in the class."""
        own = _raw_layers(self._split(values), self._all)
        hidden = torch.cat([own.weight, own.hidden_bias[..., None]], 2)[..., None].expand(-1, -1, -1, self._outputs)
        return torch.cat([hidden, own.output[:, :, None]], 2).permute(1, 2, 0, 3).contiguous(), own.bias

    def _read(self, rows: TokenRows, start: int, stop: int, values: Tensor) -> Tensor:
        own = _raw_layers(self._split(values), self._inputs._replace(center=self._inputs.center - self._shift))
        x = rows.block(start, stop)
        z = torch.nn.functional.linear(x, own.weight.flatten(0, 1)).view(len(x), len(values), self._hidden)
        tokens = torch.bmm((z + own.hidden_bias).relu().transpose(0, 1), own.output).transpose(0, 1)
        return rows.average(start, stop, tokens) + own.bias

    def _split(self, values: Tensor) -> _Layers:
        p, h, width, c = len(values), self._hidden, self._width, self._outputs
        weight, hidden_bias, output, bias = values.split([h * width, h, h * c, c], 1)
        return _Layers(weight.view(p, h, width), hidden_bias, output.view(p, h, c), bias)


def _raw_layers(own: _Layers, inputs: _Inputs) -> _Layers:
    """Parameters for inputs as they are, from those for standardised ones."""
    weight = own.weight / inputs.scale[:, None]
    return own._replace(weight=weight, hidden_bias=own.hidden_bias - (weight @ inputs.center[..., None]).squeeze(2))


def fit(
    features: Features, labels: Tensor, problems: Problems, family: ModuleType, probe: Trained, seed: int
) -> Fitted:
    """Train all problems of one layer; labels int64 [n] are class indices, two classes give one output."""
    classes = int(labels.max()) + 1
    n, count = len(labels), len(problems.seeds)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    order = torch.cat([_by_length(block, features) for block in order.split(probe.batch_size)])
    seen = _by_length(problems.watch.any(1).nonzero().squeeze(1), features)
    y, train, watched_y, watch = labels[order], problems.train[order], labels[seen], problems.watch[seen]
    center, scale = _standardisation(features, problems.train)
    inputs = _Inputs(center.T, scale.T, scoring_of(family, probe))
    kind = _Network if hasattr(family, "score_rows") else _Projections
    model: _Model = kind(features, order, seen, inputs, family, probe, 1 if classes == 2 else classes)
    state = model.first(problems.seeds)
    blocks = _blocks(n, probe.batch_size)
    best = state.values.clone()
    best_auroc, best_loss = torch.full((count,), -1.0, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    best_epoch, risen = torch.zeros(2, count, dtype=torch.long)
    live = torch.arange(count)
    shuffle, t, steps = torch.Generator().manual_seed(seed), 0, probe.epochs * len(blocks)
    for epoch in range(probe.epochs):
        for block in torch.randperm(len(blocks), generator=shuffle).tolist():
            start, stop = blocks[block]
            rate = learning_rate(probe, t / steps)
            t += 1
            logits, back = model.train(start, stop, state.values)
            of_logits = _loss_gradient(logits, y[start:stop], train[start:stop])
            state.step(back(of_logits), probe, rate, t)
        logits = model.watched(state.values)
        auroc, loss = watched_auroc(logits, watched_y, watch), _mean_loss(logits, watched_y, watch).double()
        higher = auroc > best_auroc[live]
        kept = higher | ((auroc == best_auroc[live]) & (loss < best_loss[live]))
        better = live[kept]
        best_auroc[better], best_loss[better], best_epoch[better] = auroc[kept], loss[kept], epoch
        best[better] = state.values[kept]
        risen[live[higher]] = epoch
        staying = risen[live] > epoch - probe.patience
        if not staying.any():
            break
        if not staying.all():
            live, train, watch = live[staying], train[:, staying], watch[:, staying]
            model.keep(staying)
            state.keep(staying)
    return Fitted(*model.raw(best), best_epoch.tolist(), best_auroc.tolist())


def learning_rate(probe: Trained, done: float) -> float:
    """The cosine schedule's rate after a share `done` of all steps: from learning_rate at 0 to the final one at 1."""
    height = (1 + math.cos(math.pi * done)) / 2
    return probe.final_learning_rate + (probe.learning_rate - probe.final_learning_rate) * height


def _by_length(examples: Tensor, features: Features) -> Tensor:
    return examples[features.lengths[examples].argsort(stable=True)]


def _blocks(n: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def _logits(
    reading: Reader, start: int, stop: int, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Logits [n, p, c] by weight [p, k, c, width] and bias [p, c], and the way back to a weight [k, p * c, width]."""
    found = reading.read(start, stop, weight.transpose(0, 1).flatten(1, 2).contiguous())
    return found.scores.view(stop - start, *bias.shape) + bias, found.back


def _loss_gradient(logits: Tensor, y: Tensor, used: Tensor) -> Tensor:
    """Gradient [n, p, c] of `_mean_loss`, summed over problems."""
    if logits.shape[2] == 1:
        off = logits.sigmoid() - y[:, None, None].to(logits.dtype)
    else:
        off = logits.softmax(2) - torch.nn.functional.one_hot(y, logits.shape[2])[:, None].to(logits.dtype)
    return off * (used / used.sum(0).clamp(min=1))[..., None]


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


def _standardisation(features: Features, train: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [width, p] over the rows that each problem trains on, in one pass over the rows.

    Nothing of a left-out fold or of watched groups enters. A feature that does not vary keeps its scale.
    """
    means, squares = torch.empty(2, len(train), features.x.shape[1])
    for i, part in enumerate(features.x.split(features.lengths.tolist())):
        torch.mean(part, 0, out=means[i])
        torch.sum((part - means[i]).square_(), 0, out=squares[i])  # small numbers, whatever the features' offsets
    lengths, used = features.lengths.double(), train.double()
    count = lengths @ used
    center = (means.double() * lengths[:, None]).T @ used / count
    variance = torch.empty_like(center)
    for p in range(used.shape[1]):
        between = lengths[:, None] * (means.double() - center[:, p]).square()
        variance[:, p] = (squares.double() + between).T @ used[:, p] / count[p]
    constant = variance <= ROUNDING**2 * (variance + center.square())
    return center.float(), variance.masked_fill(constant, 1.0).sqrt().float()


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
