"""The training loop: steps of AdamW over an adapter's weights, validations, and the best checkpoint."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from candor.adapters.batches import Batch, epoch_batches, evaluation_steps, passes, shared_out, steps_of, stream
from candor.adapters.checkpoints import Checkpoints, Journal, optimiser_tensors, restore_optimiser
from candor.adapters.examples import Example
from candor.adapters.lora import Flat
from candor.adapters.loss import row_of, summed_loss
from candor.config.adapters import Adapter
from candor.errors import CandorError
from candor.progress import Progress

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel

CPU_TOKENS = 512
"""Tokens that a CPU reads at once."""
VALIDATION_TOKENS = 4096
"""Tokens of a validation that an accelerator reads at once."""
CHECKPOINT_SECONDS = 60.0


class Step(NamedTuple):
    """One optimiser step: its number over all epochs from 1, its batches, and whether a validation follows."""

    number: int
    epoch: float
    batches: list[Batch]
    evaluate: bool


class Trained(NamedTuple):
    """The history's rows, and the step whose weights are kept."""

    rows: list[dict[str, Any]]
    best_step: int


def plan(lengths: Sequence[int], adapter: Adapter) -> list[Step]:
    """All steps of a finetuning, known before it starts."""
    steps: list[Step] = []
    for epoch in range(adapter.epochs):
        batches = epoch_batches(lengths, adapter.batching, adapter.batch_size, adapter.max_tokens, adapter.seed, epoch)
        own = steps_of(batches, adapter.gradient_accumulation)
        evaluated = evaluation_steps(len(own), adapter.evaluations)
        steps += [
            Step(len(steps) + n, epoch + n / len(own), each, n in evaluated) for n, each in enumerate(own, start=1)
        ]
    return steps


class Schedule(Protocol):
    """The keys of a config that say how the learning rate goes."""

    learning_rate: float
    schedule: Literal["constant", "cosine"]
    warmup: float


def learning_rate(number: int, n_steps: int, schedule: Schedule) -> float:
    """The rate of step `number`, counted from 1: a linear rise over the warm-up, then constant, or a cosine to 0."""
    rise = round(schedule.warmup * n_steps)
    if number <= rise:
        return schedule.learning_rate * number / rise
    if schedule.schedule == "constant":
        return schedule.learning_rate
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * (number - 1 - rise) / (n_steps - rise)))


class Trainer:
    """One finetuning of a network whose adapter's weights are `flat`."""

    def __init__(
        self,
        model: "PreTrainedModel",
        flat: Flat,
        adapter: Adapter,
        accelerator: "Accelerator",
        train: Sequence[Example],
        validation: Sequence[Example],
    ) -> None:
        self._model, self._flat, self._adapter, self._accelerator = model, flat, adapter, accelerator
        self._train, self._validation = train, validation
        self._lengths = [len(example.token_ids) for example in train]
        self._device = next(model.parameters()).device
        self._optimiser = torch.optim.AdamW(
            flat.values, lr=adapter.learning_rate, betas=adapter.betas, weight_decay=adapter.weight_decay, fused=True
        )

    def run(self, checkpoints: Checkpoints, progress: int, name: str) -> Trained:
        """Train, from the newest checkpoint on; afterwards the adapter's weights are those of the best validation."""
        steps = plan(self._lengths, self._adapter)
        journal = self._resumed(checkpoints)
        total = sum(self._lengths) * self._adapter.epochs
        meter = Progress(f"finetune {name}", total, "tokens", progress, done=journal.tokens)
        waiting: list[tuple[dict[str, Any], Tensor, Tensor]] = []  # rows whose numbers are still on the device
        saved = time.monotonic()
        for step in steps[journal.step :]:
            row, loss, norm = self._step(step, len(steps), journal)
            waiting.append((row, loss, norm))
            is_due = time.monotonic() - saved > CHECKPOINT_SECONDS
            if step.evaluate or is_due:
                self._settle(waiting, journal)
                if step.evaluate:
                    self._evaluate(step, journal, checkpoints)
                self._save(journal, checkpoints)
                saved = time.monotonic()
            best = "" if journal.best_loss is None else f"validation loss {journal.best_loss:.4f}"
            meter.update(journal.tokens, best)
        assert journal.best_step is not None  # the last step is evaluated
        self._accelerator.wait_for_everyone()
        self._flat.restore(checkpoints.load_best(journal.best_step))
        for row in journal.rows:
            row["kept"] = row["split"] == "validation" and row["step"] == journal.best_step
        return Trained(journal.rows, journal.best_step)

    def _step(self, step: Step, n_steps: int, journal: Journal) -> tuple[dict[str, Any], Tensor, Tensor]:
        """One optimiser step; loss and norm of the gradient stay on the device."""
        rank, processes = self._accelerator.process_index, self._accelerator.num_processes
        everyone = [i for batch in step.batches for i in batch]
        own = [shared_out(batch, self._lengths, rank, processes) for batch in step.batches]
        predicted = sum(self._train[i].n_completion for i in everyone)
        self._model.train()
        torch.manual_seed(int(stream(self._adapter.seed, step.number, rank).generate_state(1)[0]))
        loss = torch.zeros((), device=self._device)
        for batch in passes(own, self._lengths, CPU_TOKENS if self._device.type == "cpu" else None):
            own_loss = summed_loss(self._model, row_of([self._train[i] for i in batch], self._device)) / predicted
            own_loss.backward()
            loss += own_loss.detach().to(loss.device)
        if processes > 1:
            for gradient in (*self._flat.gradients, loss):
                gradient.copy_(self._accelerator.reduce(gradient, reduction="sum"))
        norm = torch.nn.utils.clip_grad_norm_(self._flat.values, self._adapter.clip)
        rate = learning_rate(step.number, n_steps, self._adapter)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._flat.changed()
        for gradient in self._flat.gradients:
            gradient.zero_()
        journal.step = step.number
        journal.tokens += sum(self._lengths[i] for i in everyone)
        row = _row(step, "train", journal.tokens, learning_rate=rate)
        return row, loss, norm

    def _settle(self, waiting: list[tuple[dict[str, Any], Tensor, Tensor]], journal: Journal) -> None:
        """Fetch the numbers of the steps since last time, and pass them on to the tracker."""
        for row, loss, norm in waiting:
            row.update(loss=loss.item(), gradient_norm=norm.item())
            if not (math.isfinite(row["loss"]) and math.isfinite(row["gradient_norm"])):
                raise CandorError(
                    f"training has come apart: loss {row['loss']}, gradient norm {row['gradient_norm']} at step "
                    f"{row['step']}; lower the adapter's `learning_rate` or give it a `warmup`"
                )
            self._track(row)
        journal.rows += [row for row, _, _ in waiting]
        waiting.clear()

    def _track(self, row: Mapping[str, Any]) -> None:
        numbers = {
            f"{row['split']}/{k}": row[k] for k in ("loss", "learning_rate", "gradient_norm") if row[k] is not None
        }
        self._accelerator.log({**numbers, "epoch": row["epoch"], "tokens": row["tokens"]}, step=row["step"])

    def _evaluate(self, step: Step, journal: Journal, checkpoints: Checkpoints) -> None:
        row = _row(step, "validation", journal.tokens, loss=self._validation_loss())
        if not math.isfinite(row["loss"]):
            raise CandorError(f"validation loss is {row['loss']} after step {step.number}; lower `learning_rate`")
        journal.rows.append(row)
        self._track(row)
        if journal.best_loss is None or row["loss"] < journal.best_loss:
            journal.best_loss, journal.best_step = row["loss"], step.number
            if self._accelerator.is_main_process:
                checkpoints.save_best(step.number, self._flat.snapshot())

    def _validation_loss(self) -> float:
        """Mean negative log-likelihood of the validation examples' completion tokens, in nats."""
        lengths = [len(example.token_ids) for example in self._validation]
        own = shared_out(range(len(lengths)), lengths, self._accelerator.process_index, self._accelerator.num_processes)
        budget = CPU_TOKENS if self._device.type == "cpu" else VALIDATION_TOKENS
        self._model.eval()
        total = 0.0
        with torch.no_grad():
            for batch in passes([own], lengths, budget):
                total += float(summed_loss(self._model, row_of([self._validation[i] for i in batch], self._device)))
        if self._accelerator.num_processes > 1:
            summed = torch.tensor(total, dtype=torch.float64, device=self._device)
            total = float(self._accelerator.reduce(summed, reduction="sum"))
        return total / sum(example.n_completion for example in self._validation)

    def _save(self, journal: Journal, checkpoints: Checkpoints) -> None:
        if self._accelerator.is_main_process:
            weights = {f"weights.{i}": value.detach() for i, value in enumerate(self._flat.values)}
            state = {f"optimiser.{name}": value for name, value in optimiser_tensors(self._optimiser).items()}
            checkpoints.save(journal, {**weights, **state})

    def _resumed(self, checkpoints: Checkpoints) -> Journal:
        self._accelerator.wait_for_everyone()
        found = checkpoints.load()
        if found is None:
            return Journal()
        journal, tensors = found
        self._flat.restore([tensors[f"weights.{i}"] for i in range(len(self._flat.values))])
        own = {k.removeprefix("optimiser."): v for k, v in tensors.items() if k.startswith("optimiser.")}
        restore_optimiser(self._optimiser, own)
        return journal


def _row(step: Step, split: str, tokens: int, **known: float) -> dict[str, Any]:
    """A row of the history, with what is not known yet left empty."""
    empty = {"loss": None, "learning_rate": None, "gradient_norm": None}
    own = {"step": step.number, "split": split, "epoch": step.epoch, "tokens": tokens, "kept": False}
    return {**empty, **own, **known}
