"""Time candor's training of probes against one at a time, on activations of the published stakes prompts.

PYTHONPATH=scripts python benchmarks/probes.py --data stakes/synthetic.jsonl --cache activations.safetensors --threads 1

Every family, 3 seeds, 6 layers of the embedded model. The release's train split trains: 85 % of its pairs, early
stopping watches the AUROC of the others; its test split is held out. Both sides have the config's defaults, which are
the paper's, and restore the best epoch. One at a time is the study's way: a module and an optimiser for each family,
seed and layer, padded float32 batches of 16 examples put together at each step, gradients accumulated over 4 of them;
it stops when its own patience ends. Its inputs are standardised beforehand, unmeasured; candor's standardisation,
copies and means are measured.

One at a time takes an hour and more, so that `--alone-layers` and `--alone-seeds` say how much of it really runs, every
epoch until its early stop; its seconds are then those times 18 / (layers x seeds). AUROCs of both sides are of the
probes that ran on both; the last columns are the standard errors of their paired differences. `--full` runs all of it.
Seconds are CPU seconds, so that a busy machine does not decide. It measures and asserts nothing.
"""

import argparse
import copy
import importlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from extraction import MODEL
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from candor import models
from candor.activations.extraction import batches, extract, plan
from candor.config.captures import Capture
from candor.config.probes import Probe
from candor.data.examples import messages_of
from candor.probes.features import Features
from candor.probes.fitting import fit_problems
from candor.probes.pooling import mean_rows, scores_in_blocks
from candor.probes.problems import Problems, make_problems

TRAINED = ("mean", "mean_then_linear", "last", "max", "rolling_mean_max", "softmax", "attention")
FAMILIES = ("difference_of_means", "logistic", *TRAINED)
SEEDS = [0, 1, 2]
LAYERS = [3, 7, 11, 15, 19, 23]
MAX_TOKENS = 512
HELD_OUT = 0.15
BATCH, ACCUMULATED = 16, 4


class Split(NamedTuple):
    """A split at one layer: rows, class indices, and the pair that each example is of."""

    features: Features
    y: Tensor
    groups: list[str]


class Found(NamedTuple):
    """AUROC over the watched examples (nan for closed forms) and over the test split."""

    watched: float
    test: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="synthetic.jsonl of the Models Under Pressure release")
    parser.add_argument("--cache", type=Path, required=True, help="activations; extracted into it where it is missing")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--layers", type=int, nargs="+", default=LAYERS, help="of those in the cache")
    parser.add_argument("--alone-layers", type=int, nargs="+", default=[15], help="layers of one at a time")
    parser.add_argument("--alone-seeds", type=int, default=1, help="seeds of one at a time")
    parser.add_argument("--full", action="store_true", help="one at a time at every layer and seed")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.cache.exists():
        write_activations(args.data, args.cache)
    cache = load_file(args.cache)
    alone = [(layer, p) for layer in args.layers for p in range(len(SEEDS))]
    if not args.full:
        alone = [(layer, p) for layer, p in alone if layer in args.alone_layers and p < args.alone_seeds]
    count = len(args.layers) * len(SEEDS)
    train = split_of(cache, args.layers[0], test=False)
    print(
        f"{len(train.y)} examples, {len(train.features.x):,} tokens of width {train.features.x.shape[1]}, {count} "
        f"probes a family, {len(alone)} of them one at a time, {args.threads} threads; CPU seconds"
    )
    print(
        f"{'family':<20}{'alone':>9}{'candor':>9}{'ratio':>7}{'watched':>9}{'candor':>8}{'test':>8}{'candor':>8}"
        f"{'± diff':>8}{'± diff':>8}"
    )
    warm_up(train)
    totals = {"alone": 0.0, "candor": 0.0}
    for name in args.families:
        ours: dict[tuple[int, int], Found] = {}
        theirs: dict[tuple[int, int], Found] = {}
        seconds = {"alone": 0.0, "candor": 0.0}
        for layer in args.layers:
            train, test = split_of(cache, layer, test=False), split_of(cache, layer, test=True)
            problems = problems_of(train)
            spent, found = timed(lambda: together(train, problems, name))  # noqa: B023
            seconds["candor"] += spent
            ours |= {(layer, p): each for p, each in enumerate(scored(found, test, name))}
            for p in (p for of_layer, p in alone if of_layer == layer):
                ready = standardised(train, test, problems.train[:, p], name)
                spent, single = timed(lambda: one_alone(ready[0], problems, p, name))  # noqa: B023
                theirs[layer, p] = Found(single.watched, auroc_of(single.score(ready[1].features), test.y))
                seconds["alone"] += spent * count / len(alone)
        totals = {side: totals[side] + seconds[side] for side in totals}
        row = [mean_of(side, alone, what) for what in (0, 1) for side in (theirs, ours)]
        ahead = torch.tensor([[ours[key][what] - theirs[key][what] for key in alone] for what in (0, 1)])
        errors = "".join(f"{each:>8.4f}" for each in (ahead.std(1) / len(alone) ** 0.5).tolist())
        print_row(name, seconds, "".join(f"{value:>{9 if k == 0 else 8}.4f}" for k, value in enumerate(row)) + errors)
    print_row("all", totals, "")


def print_row(name: str, seconds: dict[str, float], rest: str) -> None:
    ratio = seconds["alone"] / seconds["candor"]
    print(f"{name:<20}{seconds['alone']:>9.1f}{seconds['candor']:>9.1f}{ratio:>7.1f}{rest}", flush=True)


def mean_of(found: dict[tuple[int, int], Found], wanted: Sequence[tuple[int, int]], what: int) -> float:
    return sum(found[key][what] for key in wanted) / len(wanted)


def write_activations(data: Path, cache: Path) -> None:
    """Every token of each prompt at LAYERS, extracted by the embedded model."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    subject = models.load(MODEL, models.fetch(MODEL)._asdict())
    capture = Capture(subject="smollm2-135m", layers=LAYERS, max_tokens=MAX_TOKENS, truncate="right", batch_tokens=1024)
    planned = plan(subject, [messages_of(row["inputs"], str(data)) for row in rows], capture)
    found: dict[int, Any] = {}
    for batch in extract(subject, planned, capture, batches(planned, capture)):
        found |= batch
    pairs = sorted({row["pair_id"] for row in rows})
    tensors = {f"layer_{k}": torch.cat([found[i].layers[k] for i in range(len(rows))]) for k in LAYERS}
    tensors["lengths"] = torch.tensor([len(found[i].layers[LAYERS[0]]) for i in range(len(rows))])
    tensors["y"] = torch.tensor([int(row["labels"] == "high-stakes") for row in rows])
    tensors["pairs"] = torch.tensor([pairs.index(row["pair_id"]) for row in rows])
    tensors["test"] = torch.tensor([row["split"] == "test" for row in rows])
    save_file(tensors, cache)


def split_of(cache: dict[str, Tensor], layer: int, test: bool) -> Split:
    chosen = cache["test"] == test
    x = cache[f"layer_{layer}"][chosen.repeat_interleave(cache["lengths"])].float()
    groups = [str(pair) for pair in cache["pairs"][chosen].tolist()]
    return Split(Features(x, cache["lengths"][chosen]), cache["y"][chosen], groups)


def problems_of(train: Split) -> Problems:
    """The full training set for each seed."""
    assigned = [k // 2 % 2 for k in range(len(train.y))]  # folds, which are not trained here
    found = make_problems(train.groups, train.y.tolist(), assigned, SEEDS, HELD_OUT, "benchmark", 2)
    kept = [p for p, fold in enumerate(found.folds) if fold is None]
    return Problems([found.seeds[p] for p in kept], [None for _ in kept], found.train[:, kept], found.watch[:, kept])


def family_of(name: str, **options: Any) -> tuple[ModuleType, Any]:
    probe = TypeAdapter(Probe).validate_python({"family": name, **options})
    return importlib.import_module(f"candor.probes.families.{name}"), probe


def read_by(features: Features, kind: str) -> Features:
    """What a family is trained on."""
    if kind == "mean":
        return mean_rows(features)
    if kind == "last":
        return Features(features.x[features.lengths.cumsum(0) - 1], torch.ones_like(features.lengths))
    return features


def together(train: Split, problems: Problems, name: str) -> Any:
    """All seeds of a layer, by candor."""
    family, probe = family_of(name)
    return fit_problems(read_by(train.features, family.FEATURES), train.y, problems, family, probe, 0)


def scored(fitted: Any, test: Split, name: str) -> list[Found]:
    family, probe = family_of(name)
    scores = scores_in_blocks(test.features, fitted.weight.flatten(2), fitted.bias.flatten(), family, probe)
    return [Found(fitted.watched_auroc[p], auroc_of(scores[:, p], test.y)) for p in range(scores.shape[1])]


def standardised(train: Split, test: Split, used: Tensor, name: str) -> tuple[Split, Split]:
    """Both splits by the mean and standard deviation over what the family reads of the examples used for training."""
    features = train.features
    rows = Features(features.x[used.repeat_interleave(features.lengths)], features.lengths[used])
    seen = read_by(rows, family_of(name)[0].FEATURES).x
    center, scale = (seen.mean(0), seen.std(0)) if name in TRAINED else (torch.tensor(0.0), torch.tensor(1.0))
    return tuple(s._replace(features=s.features._replace(x=(s.features.x - center) / scale)) for s in (train, test))  # type: ignore[return-value]


class Padded(nn.Module):
    """A probe as a module: scores [b] of padded activations [b, t, width] with a mask [b, t]."""

    def __init__(self, width: int, probe: Any) -> None:
        super().__init__()
        self.value = nn.Linear(width, 1)
        if probe.family == "attention":
            self.query = nn.Linear(width, 1, bias=False)
        self.probe, self.scale = probe, width**0.5

    def forward(self, a: Tensor, mask: Tensor) -> Tensor:
        lengths, name = mask.sum(1), self.probe.family
        if name == "mean_then_linear":
            means: Tensor = (a * mask[..., None]).sum(1) / lengths[:, None]
            return self.value(means).squeeze(1)  # type: ignore[no-any-return]
        if name == "last":
            return self.value(a[torch.arange(len(a)), lengths - 1]).squeeze(1)  # type: ignore[no-any-return]
        z: Tensor = self.value(a).squeeze(2)
        hidden = z.masked_fill(~mask, float("-inf"))
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
        return (z * mask).sum(1) / lengths


class Alone(NamedTuple):
    """A probe trained alone: the AUROC of the watched examples, and the scores of others."""

    watched: float
    score: Callable[[Features], Tensor]


def one_alone(train: Split, problems: Problems, p: int, name: str) -> Alone:
    """One probe, as the study trained it."""
    family, probe = family_of(name)
    if name not in TRAINED:
        used = problems.train[:, p]
        weight, bias = family.fit(mean_rows(train.features).x[used], train.y[used], 2, probe)
        return Alone(float("nan"), lambda given: (mean_rows(given).x.double() @ weight + bias)[:, 0])
    torch.manual_seed(problems.seeds[p])
    examples = train.features.x.split(train.features.lengths.tolist())
    used, watched = (mask[:, p].nonzero().squeeze(1) for mask in (problems.train, problems.watch))
    model = Padded(train.features.x.shape[1], probe)
    optimiser = torch.optim.AdamW(model.parameters(), lr=probe.learning_rate, weight_decay=probe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, probe.epochs, probe.final_learning_rate)
    best, since, weights = -1.0, 0, copy.deepcopy(model.state_dict())
    for _ in range(probe.epochs):
        parts = used[torch.randperm(len(used))].split(BATCH)
        for number, part in enumerate(parts, start=1):
            logits = model(*padded(examples, part))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, train.y[part].float())
            (loss / ACCUMULATED).backward()
            if number % ACCUMULATED == 0 or number == len(parts):
                nn.utils.clip_grad_norm_(model.parameters(), probe.clip)
                optimiser.step()
                optimiser.zero_grad()
        schedule.step()
        auroc = auroc_of(scores_alone(model, examples, watched), train.y[watched])
        since += 1
        if auroc > best:
            best, since, weights = auroc, 0, copy.deepcopy(model.state_dict())
        if since >= probe.patience:
            break
    model.load_state_dict(weights)
    return Alone(
        best,
        lambda given: scores_alone(model, given.x.split(given.lengths.tolist()), torch.arange(len(given.lengths))),
    )


def auroc_of(scores: Tensor, y: Tensor) -> float:
    return float(roc_auc_score(y, scores))


@torch.no_grad()
def scores_alone(model: Padded, examples: Sequence[Tensor], wanted: Tensor) -> Tensor:
    return torch.cat([model(*padded(examples, part)) for part in wanted.split(BATCH)])


def padded(examples: Sequence[Tensor], wanted: Tensor) -> tuple[Tensor, Tensor]:
    chosen = [examples[i] for i in wanted.tolist()]
    lengths = torch.tensor([len(each) for each in chosen])
    return nn.utils.rnn.pad_sequence(chosen, batch_first=True), torch.arange(int(lengths.max())) < lengths[:, None]


def warm_up(train: Split) -> None:
    """Imports and first uses, unmeasured."""
    small = Split(train.features.block(0, 64), torch.arange(64) % 2, [str(i // 2) for i in range(64)])
    problems = problems_of(small)
    family, probe = family_of("max", epochs=1)
    fit_problems(small.features, small.y, problems, family, probe, 0)
    model = Padded(small.features.x.shape[1], probe)
    scores_alone(model, small.features.x.split(small.features.lengths.tolist()), torch.arange(16))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


if __name__ == "__main__":
    main()
