"""The training loop: steps, learning rates, validations, and what is kept."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from candor.adapters import training
from candor.adapters.checkpoints import Checkpoints, Journal
from candor.adapters.examples import Example
from candor.adapters.job import accelerator_of, prepared
from candor.adapters.loss import row_of, summed_loss
from candor.adapters.training import Trainer, learning_rate, plan
from candor.config.adapters import Adapter
from candor.errors import CandorError

if TYPE_CHECKING:
    from candor.models import Subject

Maker = Callable[..., "Subject"]
CPU = torch.device("cpu")
torch_rng = torch.Generator().manual_seed(0)
EXAMPLES = [
    Example(torch.randint(3, 280, (n,), generator=torch_rng).tolist(), n // 3 + 1)
    for n in (5, 9, 14, 7, 22, 11, 6, 17, 8, 30, 12)
]


def config(**changes: Any) -> Adapter:
    own = {"subject": "tiny", "train": "d@train", "validation": "d@validation", "lora": {"r": 4, "alpha": 8}}
    return Adapter.model_validate({**own, "learning_rate": 0.01, "max_tokens": 64, **changes})


def trainer(subject: "Subject", adapter: Adapter, accelerator: Accelerator | None = None) -> Trainer:
    accelerator = accelerator or Accelerator(cpu=True)
    return prepared(subject, adapter, "tiny", accelerator, EXAMPLES, EXAMPLES[:4]).trainer


def run(subject: "Subject", adapter: Adapter, folder: Path) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    return trainer(subject, adapter).run(Checkpoints(folder), -1, "test").rows


def of(split: str, rows: list[dict[str, Any]], column: str) -> list[Any]:
    return [row[column] for row in rows if row["split"] == split]


def test_rates_rise_over_the_warmup_and_then_stay_or_fall() -> None:
    constant = [learning_rate(n, 10, config(warmup=0.4)) for n in range(1, 11)]
    assert constant == pytest.approx([0.0025, 0.005, 0.0075, *[0.01] * 7])
    cosine = [learning_rate(n, 10, config(warmup=0.2, schedule="cosine")) for n in range(1, 11)]
    assert cosine[:3] == pytest.approx([0.005, 0.01, 0.01])
    assert all(a > b for a, b in itertools.pairwise(cosine[2:]))
    assert 0 < cosine[-1] == pytest.approx(0.005 * (1 + math.cos(math.pi * 7 / 8)))


def test_an_accumulation_longer_than_the_epoch_is_one_step_an_epoch() -> None:
    steps = plan([10] * 11, config(batch_size=4, gradient_accumulation=8, epochs=3))
    assert [len(step.batches) for step in steps] == [3, 3, 3]
    assert [(step.number, step.epoch, step.evaluate) for step in steps] == [(1, 1, True), (2, 2, True), (3, 3, True)]


@pytest.mark.parametrize("batching", ["length_grouped", "packed", "shuffled"])
def test_a_step_s_loss_is_the_mean_over_all_its_completion_tokens(tiny: Maker, tmp_path: Path, batching: str) -> None:
    adapter = config(batch_size=2, gradient_accumulation=4, batching=batching, learning_rate=1e-9)
    rows = run(tiny(), adapter, tmp_path / "run")
    untrained = trainer(tiny(), adapter)
    losses = [summed_loss(untrained._model, row_of([example], CPU)).item() for example in EXAMPLES]
    steps = plan([len(example.token_ids) for example in EXAMPLES], adapter)[: len(rows)]
    for step, loss in zip(steps, of("train", rows, "loss"), strict=False):
        own = [i for batch in step.batches for i in batch]
        expected = sum(losses[i] for i in own) / sum(EXAMPLES[i].n_completion for i in own)
        assert loss == pytest.approx(expected, rel=1e-4)
    tokens = sum(len(example.token_ids) for example in EXAMPLES)
    assert of("train", rows, "tokens")[-1] == 2 * tokens
    expected = sum(losses[:4]) / sum(example.n_completion for example in EXAMPLES[:4])
    assert of("validation", rows, "loss")[0] == pytest.approx(expected, rel=1e-4)


def test_the_gradient_does_not_depend_on_how_a_step_is_cut(tiny: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, found = config(batch_size=4, gradient_accumulation=2), []
    for budget in (1, 40, 10_000):
        monkeypatch.setattr(training, "CPU_TOKENS", budget)
        own = trainer(tiny(), adapter)
        steps = plan([len(example.token_ids) for example in EXAMPLES], adapter)
        row, loss, norm = own._step(steps[0], len(steps), Journal())
        found.append((row["tokens"], pytest.approx(loss.item(), rel=1e-5), pytest.approx(norm.item(), rel=1e-4)))
    assert found[0] == found[1] == found[2]


def test_training_lowers_the_loss_and_keeps_the_best_validation(tiny: Maker, tmp_path: Path) -> None:
    adapter = config(epochs=20, batch_size=4, learning_rate=0.02, evaluations=2)
    own = trainer(tiny(), adapter)
    tmp_path.joinpath("run").mkdir()
    rows, best_step = own.run(Checkpoints(tmp_path / "run"), -1, "test")
    losses = of("validation", rows, "loss")
    assert losses[-1] < 0.3 * losses[0]
    assert len(losses) == 40
    kept = [row for row in rows if row["kept"]]
    assert [(row["split"], row["step"], row["loss"]) for row in kept] == [("validation", best_step, min(losses))]
    assert own._validation_loss() == min(losses)  # of the weights it leaves behind


def test_of_equal_validations_the_earlier_is_kept(tiny: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([2.0, 1.0, 1.0, 3.0])
    monkeypatch.setattr(Trainer, "_validation_loss", lambda self: next(told))
    rows = run(tiny(), config(epochs=2, evaluations=2, batch_size=2), tmp_path / "run")
    assert of("validation", rows, "kept") == [False, True, False, False]


def test_clipping_and_weight_decay_act_on_all_weights_together(tiny: Maker) -> None:
    adapter = config(batch_size=11, clip=0.001, weight_decay=0.5, betas=(0.5, 0.5))
    own = trainer(tiny(), adapter)
    before = [value.clone() for value in own._flat.values]
    steps = plan([len(example.token_ids) for example in EXAMPLES], adapter)
    own._step(steps[0], len(steps), Journal())
    moved = own._flat.values[0] - before[0] * (1 - 0.01 * 0.5)
    assert moved.abs().max() <= 0.01 * 1.001  # AdamW's first step is the rate, or less
    assert not own._flat.gradients[0].any()


def test_a_run_that_comes_apart_says_so(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    subject.model.model.layers[2].mlp.down_proj.weight.data.fill_(math.nan)
    with pytest.raises(CandorError, match=r"training has come apart: loss nan, gradient norm nan at step 1; lower"):
        run(subject, config(), tmp_path / "run")


def test_a_run_that_was_stopped_goes_on_where_it_was(
    tiny: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = config(epochs=3, batch_size=4, lora={"r": 4, "alpha": 8, "dropout": 0.1}, batching="shuffled")
    undisturbed = trainer(tiny(), adapter)
    (tmp_path / "one").mkdir()
    expected = undisturbed.run(Checkpoints(tmp_path / "one"), -1, "test")
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    (tmp_path / "two").mkdir()
    for stop in (2, 5, None):
        own = trainer(tiny(), adapter)
        if stop is not None:
            _stop_in_step(own, stop, monkeypatch)
            with pytest.raises(KeyboardInterrupt):
                own.run(Checkpoints(tmp_path / "two"), -1, "test")
        else:
            monkeypatch.undo()
            found = own.run(Checkpoints(tmp_path / "two"), -1, "test")
    assert found == expected
    assert all(map(torch.equal, own._flat.values, undisturbed._flat.values))


def _stop_in_step(own: Trainer, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step = own._step

    def stopping(each: Any, *rest: Any) -> Any:
        if each.number == number:
            raise KeyboardInterrupt
        return step(each, *rest)

    monkeypatch.setattr(own, "_step", stopping)


class FakeTracker(GeneralTracker):
    """Keeps what it is told."""

    name = "fake"
    requires_logging_directory = False
    tracker = None

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, dict[str, Any]]] = []

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.told.append((int(step or 0), values))


def test_a_tracker_is_told_every_row_of_the_history(tiny: Maker, tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True, log_with=(tracker := FakeTracker()))
    accelerator.init_trackers("candor", config={"a": 1})
    own = trainer(tiny(), config(epochs=2), accelerator)
    rows = own.run(Checkpoints(tmp_path), -1, "test").rows
    assert [(row["step"], row["loss"]) for row in rows] == [
        (step, values.get("train/loss", values.get("validation/loss"))) for step, values in tracker.told
    ]
    assert {"train/learning_rate", "train/gradient_norm", "epoch", "tokens"} < tracker.told[0][1].keys()


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(CandorError, match="tracker wandb is not installed"):
        accelerator_of(config(tracker="wandb"), "cpu", tmp_path)
