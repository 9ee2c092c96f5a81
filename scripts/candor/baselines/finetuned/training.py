"""The training loop of a finetuned classifier: steps of AdamW, a validation after each epoch, the best one's weights.

A job that was killed goes on from its last checkpoint and ends with the same weights, as adapters do.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from candor.adapters.batches import Batch, epoch_batches, passes, steps_of, stream
from candor.adapters.checkpoints import Checkpoints, Journal, optimiser_tensors, restore_optimiser
from candor.adapters.training import CHECKPOINT_SECONDS, CPU_TOKENS, VALIDATION_TOKENS, Step, learning_rate
from candor.baselines.finetuned.network import Classifier
from candor.baselines.finetuned.texts import Labelled
from candor.config.baselines import Finetuned
from candor.errors import CandorError
from candor.metrics.points import auroc
from candor.progress import Progress

CHECKPOINT_SHARE = 0.05
"""Share of the time that writing checkpoints may take; all weights of a large network are written seldom."""


class Trained(NamedTuple):
    """Rows of the history, without their seed, and the step whose weights are kept, with its AUROC if it has one."""

    rows: list[dict[str, Any]]
    best_step: int
    auroc: float | None


def plan(groups: Sequence[str], options: Finetuned, seed: int) -> list[Step]:
    """All steps; an epoch has at least one, however few its batches, and is validated after its last.

    Batches are filled with groups in random order, and a group stays in one batch if it fits: in the gradient of a
    contrast pair what both sides share cancels out, which else drowns the difference where examples are few.
    """
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    size = options.batch_size
    units = [inside[at : at + size] for inside in members.values() for at in range(0, len(inside), size)]
    steps: list[Step] = []
    for epoch in range(options.epochs):
        packed = epoch_batches([len(unit) for unit in units], "packed", 1, size, seed, epoch)
        batches = [[i for unit in batch for i in units[unit]] for batch in packed]
        own = steps_of(batches, options.gradient_accumulation)
        steps += [
            Step(len(steps) + n, epoch + n / len(own), each, n == len(own)) for n, each in enumerate(own, start=1)
        ]
    return steps


class Trainer:
    """One finetuning of a classifier, from the start that `begin` gave it."""

    def __init__(
        self, classifier: Classifier, options: Finetuned, train: Labelled, held_out: Labelled, seed: int
    ) -> None:
        self._classifier, self._options, self._seed = classifier, options, seed
        self._train, self._held_out = train, held_out
        self._lengths = [len(ids) for ids in train.token_ids]
        self._budget = CPU_TOKENS if classifier.device.type == "cpu" else None
        rate = options.learning_rate
        groups = [
            {"params": list(classifier.weights.values), "share": 1.0},
            {"params": [classifier.head], "share": (options.head_learning_rate or rate) / rate},
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=rate, weight_decay=options.weight_decay, fused=True)

    def run(self, folder: Path, descriptor: int, name: str) -> Trained:
        """Train with unfinished work in `folder`; afterwards the classifier's weights are those of the best epoch."""
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints = Checkpoints(folder)
        steps = plan(self._train.groups, self._options, self._seed)
        journal = self._resumed(checkpoints)
        total = sum(self._lengths) * self._options.epochs
        meter = Progress(f"finetune {name}", total, "tokens", descriptor, done=journal.tokens)
        saved, cost = time.monotonic(), 0.0
        for step in steps[journal.step :]:
            journal.rows.append(self._step(step, len(steps), journal))
            if step.evaluate and self._held_out.y:
                self._evaluate(step, journal, checkpoints)
            due = max(CHECKPOINT_SECONDS, cost / CHECKPOINT_SHARE)
            if step.number in (journal.best_step, len(steps)) or time.monotonic() - saved > due:
                before = time.monotonic()
                self._save(journal, checkpoints)
                saved, cost = time.monotonic(), time.monotonic() - before
            best = max((row["auroc"] for row in journal.rows if row["auroc"] is not None), default=None)
            meter.update(journal.tokens, "" if best is None else f"held-out AUROC {best:.3f}")
        if journal.best_step is not None:
            self._classifier.restore(checkpoints.load_best(journal.best_step))
        kept = ("validation", journal.best_step) if journal.best_step is not None else ("train", steps[-1].number)
        for row in journal.rows:
            row["kept"] = (row["split"], row["step"]) == kept
        chosen = next(row for row in journal.rows if row["kept"])
        return Trained(journal.rows, chosen["step"], chosen["auroc"])

    def _step(self, step: Step, n_steps: int, journal: Journal) -> dict[str, Any]:
        """One optimiser step over the mean loss of its examples."""
        everyone = [i for batch in step.batches for i in batch]
        self._classifier.training(True)
        torch.manual_seed(int(stream(self._seed, 1, step.number).generate_state(1)[0]))
        loss = torch.zeros((), device=self._classifier.device)
        for batch in passes(step.batches, self._lengths, self._budget):
            own = self._loss(self._train, batch, self._logits(self._train, batch)) / len(everyone)
            own.backward()
            loss += own.detach()
        norm = float(torch.nn.utils.clip_grad_norm_(self._classifier.trained, self._options.clip))
        rate = learning_rate(step.number, n_steps, self._options)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["share"]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise CandorError(
                f"training has come apart: loss {float(loss)}, gradient norm {norm} at step {step.number}; lower the "
                "baseline's `learning_rate` or give it a longer `warmup`"
            )
        self._optimiser.step()
        self._classifier.weights.changed()
        for gradient in self._classifier.gradients:
            gradient.zero_()
        journal.step = step.number
        journal.tokens += sum(self._lengths[i] for i in everyone)
        return _row(step, "train", journal.tokens, float(loss), learning_rate=rate, gradient_norm=norm)

    def _logits(self, examples: Labelled, which: Batch) -> Tensor:
        return self._classifier.logits([examples.token_ids[i] for i in which])

    def _loss(self, examples: Labelled, which: Batch, logits: Tensor) -> Tensor:
        """Summed negative log-likelihood of the examples' classes, in nats."""
        y = torch.tensor([examples.y[i] for i in which], device=logits.device)
        if logits.shape[1] == 1:
            return binary_cross_entropy_with_logits(logits[:, 0], y.float(), reduction="sum")
        return cross_entropy(logits, y, reduction="sum")

    def _evaluate(self, step: Step, journal: Journal, checkpoints: Checkpoints) -> None:
        """Validate; the best epoch has the highest AUROC, among equals the lowest loss, among those it is the first."""
        found, loss = self._validation()
        before = [(row["auroc"], -row["loss"]) for row in journal.rows if row["split"] == "validation"]
        journal.rows.append(_row(step, "validation", journal.tokens, loss, auroc=found))
        if (found, -loss) > max(before, default=(-1.0, 0.0)):
            journal.best_step = step.number
            checkpoints.save_best(step.number, self._classifier.snapshot())

    def _validation(self) -> tuple[float, float]:
        """AUROC, a mean over classes where there are several, and mean loss of the held-out examples."""
        lengths = [len(ids) for ids in self._held_out.token_ids]
        y = np.array(self._held_out.y)
        logits = torch.zeros(len(y), len(self._classifier.head))
        self._classifier.training(False)
        with torch.no_grad():
            for batch in passes([list(range(len(y)))], lengths, self._budget or VALIDATION_TOKENS):
                logits[batch] = self._logits(self._held_out, batch).cpu()
        loss = float(self._loss(self._held_out, list(range(len(y))), logits)) / len(y)
        if not math.isfinite(loss):
            raise CandorError(f"the held-out loss is {loss}; lower the baseline's `learning_rate`")
        scores = log_odds(logits.double().numpy())
        wanted = [1] if scores.shape[1] == 1 else range(scores.shape[1])
        return float(np.mean([auroc(scores[:, k], y == name) for k, name in enumerate(wanted)])), loss

    def _save(self, journal: Journal, checkpoints: Checkpoints) -> None:
        weights = {f"weights.{i}": value for i, value in enumerate(self._classifier.snapshot())}
        state = {f"optimiser.{name}": value for name, value in optimiser_tensors(self._optimiser).items()}
        checkpoints.save(journal, {**weights, **state})

    def _resumed(self, checkpoints: Checkpoints) -> Journal:
        found = checkpoints.load()
        if found is None:
            return Journal()
        journal, tensors = found
        count = sum(name.startswith("weights.") for name in tensors)
        self._classifier.restore([tensors[f"weights.{i}"] for i in range(count)])
        own = {k.removeprefix("optimiser."): v for k, v in tensors.items() if k.startswith("optimiser.")}
        restore_optimiser(self._optimiser, own)
        return journal


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Log-odds [n, outputs] from logits: of two classes the one output, of more each class against all others."""
    if logits.shape[1] == 1:
        return logits
    others = [np.delete(logits, k, axis=1) for k in range(logits.shape[1])]
    with np.errstate(invalid="ignore"):  # a row without a text has nan
        return np.asarray(logits - np.stack([np.logaddexp.reduce(each, axis=1) for each in others], axis=1))


def _row(step: Step, split: str, tokens: int, loss: float, **known: float) -> dict[str, Any]:
    """A row of the history, with what it does not have left empty."""
    empty = {"learning_rate": None, "gradient_norm": None, "auroc": None}
    own = {"step": step.number, "split": split, "epoch": step.epoch, "tokens": tokens, "loss": loss, "kept": False}
    return {**empty, **own, **known}
