"""Time candor's batched training of probes against one at a time, on activations of the default study's shape.

PYTHONPATH=scripts python benchmarks/probes.py --epochs 10 --threads 2

Every trained family, 3 seeds and 4 layers. One at a time is what the stakes study did: a module and an optimiser per
seed and layer, padded batches of 16 examples, gradients accumulated over 4 of them. Both train on the same examples for
the same number of epochs, measure the AUROC of the same held-out groups after each and keep the best. The activations
are synthetic: noise in which one token in five of a positive text carries a direction. Inputs of the loop are
standardised beforehand, unmeasured; candor's own standardisation is measured. It measures and asserts nothing.
"""

import argparse
import importlib
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from pydantic import TypeAdapter
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from candor.config.probes import Probe
from candor.probes.features import Features
from candor.probes.problems import Problems, make_problems
from candor.probes.training import fit

FAMILIES = ("mean_then_linear", "last", "mean", "max", "rolling_mean_max", "softmax", "attention")
SEEDS = [0, 1, 2]
BATCH, ACCUMULATED = 16, 4
STRENGTH = 0.05
"""Standard deviations by which each feature of a token that carries the direction is moved."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--examples", type=int, default=600)
    parser.add_argument("--tokens", type=int, default=120, help="mean length of a text")
    parser.add_argument("--width", type=int, default=576)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--folds", type=int, default=0, help="train each fold's complement too, as train_probe does")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    y = torch.arange(args.examples) % 2
    layers = [activations(y, args.tokens, args.width, seed) for seed in range(args.layers)]
    problems = problems_of(y, args.folds)
    count = len(problems.seeds) * args.layers
    print(
        f"{args.examples} examples, {sum(len(x.x) for x in layers) // args.layers:,} tokens of width {args.width}, "
        f"{count} probes a family, {args.epochs} epochs, {args.threads} threads"
    )
    print(f"{'family':<18}{'one by one':>12}{'candor':>10}{'ratio':>8}{'AUROC':>9}{'candor':>9}")
    one_by_one(
        [layers[0].block(0, BATCH)], y[:BATCH], problems_of(y[:BATCH], 0), probe_of("max", 1)
    )  # imports, unmeasured
    totals = [0.0, 0.0]
    for name in args.families:
        probe = probe_of(name, args.epochs)
        family = importlib.import_module(f"candor.probes.families.{name}")
        features = [pooled(each, family.FEATURES) for each in layers]
        ready = [standardised(each) for each in features]
        loop_time, loop = timed(lambda: one_by_one(ready, y, problems, probe))  # noqa: B023
        our_time, ours = timed(lambda: batched(features, y, problems, family, probe))  # noqa: B023
        totals = [totals[0] + loop_time, totals[1] + our_time]
        print(
            f"{name:<18}{loop_time:>10.1f} s{our_time:>8.1f} s{loop_time / our_time:>8.1f}"
            f"{sum(loop) / count:>9.3f}{sum(ours) / count:>9.3f}"
        )
    print(f"{'all':<18}{totals[0]:>10.1f} s{totals[1]:>8.1f} s{totals[0] / totals[1]:>8.1f}")


def probe_of(family: str, epochs: int) -> Any:
    return TypeAdapter(Probe).validate_python({"family": family, "epochs": epochs, "patience": epochs})


def activations(y: Tensor, tokens: int, width: int, seed: int) -> Features:
    """Ragged noise; a fifth of the tokens of each positive example, at random, moved along one direction."""
    generator = torch.Generator().manual_seed(seed)
    of_lengths = torch.Generator().manual_seed(0)
    lengths = torch.randint(tokens // 3, 2 * tokens - tokens // 3, y.shape, generator=of_lengths)
    x = torch.randn(int(lengths.sum()), width, generator=generator)
    moved = (torch.rand(len(x), generator=generator) < 0.2) & (y.repeat_interleave(lengths) == 1)
    direction = torch.randn(width, generator=generator).sign()
    x[moved] += STRENGTH * direction
    return Features(x, lengths)


def problems_of(y: Tensor, folds: int) -> Problems:
    """The full training set for each seed and, with folds, each fold's complement; groups are pairs."""
    groups = [f"g{i // 2}" for i in range(len(y))]
    assigned = [i // 2 % max(folds, 2) for i in range(len(y))]
    found = make_problems(groups, y.tolist(), assigned, SEEDS, 0.15, "benchmark", 2)
    kept = [p for p, fold in enumerate(found.folds) if fold is None or folds]
    seeds, of_folds = [found.seeds[p] for p in kept], [found.folds[p] for p in kept]
    return Problems(seeds, of_folds, found.train[:, kept], found.watch[:, kept])


def pooled(features: Features, kind: str) -> Features:
    """What a family is trained on."""
    if kind == "tokens":
        return features
    parts = features.x.split(features.lengths.tolist())
    rows = torch.stack([part.mean(0) if kind == "mean" else part[-1] for part in parts])
    return Features(rows, torch.ones(len(parts), dtype=torch.int64))


def standardised(features: Features) -> Features:
    return features._replace(x=(features.x - features.x.mean(0)) / features.x.std(0))


def batched(layers: Sequence[Features], y: Tensor, problems: Problems, family: ModuleType, probe: Any) -> list[float]:
    """The best AUROC over the held-out groups of each probe, trained by candor."""
    return [auroc for x in layers for auroc in fit(x, y, problems, family, probe, 0).watched_auroc]


def one_by_one(layers: Sequence[Features], y: Tensor, problems: Problems, probe: Any) -> list[float]:
    """The same of probes trained in turn."""
    return [train_alone(x, y, problems, p, probe) for x in layers for p in range(len(problems.seeds))]


class Padded(nn.Module):
    """A probe as a module: scores [b] of padded activations [b, t, width] with a mask [b, t]."""

    def __init__(self, width: int, probe: Any) -> None:
        super().__init__()
        self.value, self.query = nn.Linear(width, 1), nn.Linear(width, 1, bias=False)
        self.probe, self.scale = probe, width**0.5

    def forward(self, a: Tensor, mask: Tensor) -> Tensor:
        z: Tensor = self.value(a).squeeze(2)
        hidden = z.masked_fill(~mask, float("-inf"))
        lengths = mask.sum(1)
        name = self.probe.family
        if name == "max":
            return hidden.amax(1)
        if name == "softmax":
            return (hidden / self.probe.temperature).softmax(1).mul(z).sum(1)
        if name == "attention":
            alpha: Tensor = (self.query(a).squeeze(2) / self.scale).masked_fill(~mask, float("-inf")).softmax(1)
            return (alpha * z).sum(1)
        if name == "rolling_mean_max":
            rows = [row[:n] for row, n in zip(z, lengths.tolist(), strict=True)]
            return torch.stack([row.unfold(0, min(self.probe.window, len(row)), 1).mean(1).amax() for row in rows])
        return (z * mask).sum(1) / lengths  # of one row where the family reads the mean or the last token


def train_alone(features: Features, y: Tensor, problems: Problems, p: int, probe: Any) -> float:
    """The best AUROC over the held-out groups of one probe, trained as the study did."""
    torch.manual_seed(problems.seeds[p])
    examples = features.x.split(features.lengths.tolist())
    train, watch = (mask[:, p].nonzero().squeeze(1) for mask in (problems.train, problems.watch))
    model = Padded(features.x.shape[1], probe)
    optimiser = torch.optim.AdamW(model.parameters(), lr=probe.learning_rate, weight_decay=probe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, probe.epochs, probe.final_learning_rate)
    best = 0.0
    for _ in range(probe.epochs):
        batches = train[torch.randperm(len(train))].split(BATCH)
        for number, batch in enumerate(batches, start=1):
            logits = model(*padded(examples, batch))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, y[batch].float())
            (loss / ACCUMULATED).backward()
            if number % ACCUMULATED == 0 or number == len(batches):
                nn.utils.clip_grad_norm_(model.parameters(), probe.clip)
                optimiser.step()
                optimiser.zero_grad()
        schedule.step()
        with torch.no_grad():
            logits = torch.cat([model(*padded(examples, batch)) for batch in watch.split(BATCH)])
        best = max(best, float(roc_auc_score(y[watch], logits)))
    return best


def padded(examples: tuple[Tensor, ...], batch: Tensor) -> tuple[Tensor, Tensor]:
    chosen = [examples[i] for i in batch.tolist()]
    lengths = torch.tensor([len(each) for each in chosen])
    return nn.utils.rnn.pad_sequence(chosen, batch_first=True), torch.arange(int(lengths.max())) < lengths[:, None]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main()
