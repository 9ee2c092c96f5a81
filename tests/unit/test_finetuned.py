"""The finetuned classifier: what it reads, how it is trained, and which weights it ends with."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from candor.baselines.finetuned import training
from candor.baselines.finetuned.network import Classifier
from candor.baselines.finetuned.scoring import read_logits, score_rows
from candor.baselines.finetuned.texts import Texts, divided, drawn, labelled, read_texts, usable_rows
from candor.baselines.finetuned.training import Trained, Trainer, log_odds, plan
from candor.chat_text import encode
from candor.config.baselines import Finetuned
from candor.errors import CandorError
from candor.metrics.points import auroc

if TYPE_CHECKING:
    from candor.models import Subject

Maker = Callable[..., "Subject"]
CLASSES = ["low", "high", "other"]
WORDS = {"low": "the quick brown fox", "high": "the reactor pressure", "other": "a lazy dog"}
KINDS: list[dict[str, Any]] = [{"lora": {"r": 8, "alpha": 16}}, {"lora": None, "learning_rate": 0.003}]


def rows_of(n: int, classes: int = 2) -> list[dict[str, Any]]:
    """Pairs, or triples, whose class is told by two words somewhere in the text."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        label, filler = CLASSES[i % classes], " ".join(["is", "so"] * int(rng.integers(0, 5)))
        text = f"{filler} {WORDS[label]} {'jumps ' * int(rng.integers(1, 4))}over it"
        group = f"g{i // classes}"
        messages = [{"role": "user", "content": text}]
        rows.append({"example_id": f"e{i}", "group_id": group, "label": label, "messages": messages})
    return rows


def options(**changes: Any) -> Finetuned:
    own = {"kind": "finetuned", "subject": "tiny", "lora": {"r": 8, "alpha": 16}, "learning_rate": 0.01}
    return Finetuned.model_validate({**own, "batch_size": 8, "epochs": 6, "max_tokens": 64, **changes})


def classifier(subject: "Subject", own: Finetuned, classes: int = 2) -> Classifier:
    return Classifier(subject, own.lora, classes, "tiny", own.gradient_checkpointing)


class Job:
    """Rows as a subject reads them, divided, and a classifier to finetune on them."""

    def __init__(self, subject: "Subject", own: Finetuned, n: int = 48, classes: int = 2) -> None:
        self.options, self.classes = own, CLASSES[:classes]
        self.rows = rows_of(n, classes)
        self.texts = read_texts(self.rows, subject.tokenizer, own, "d@train")
        which = usable_rows(self.rows, self.texts, self.classes)
        division = divided(self.rows, which, own.held_out, 0)
        self.train, self.held_out = (labelled(self.rows, self.texts, self.classes, side) for side in division)
        self.classifier = classifier(subject, own, classes)

    def trainer(self, seed: int = 0) -> Trainer:
        return Trainer(self.classifier, self.options, self.train, self.held_out, seed)

    def run(self, folder: Path, seed: int = 0) -> Trained:
        self.classifier.begin(seed)
        return self.trainer(seed).run(folder, -1, "test")

    def logits(self) -> np.ndarray:
        return read_logits(self.classifier, self.texts, self.options)


# what it reads


def test_it_reads_the_tokens_that_captures_read_and_counts_what_is_cut(tiny: Maker) -> None:
    tokenizer, rows = tiny().tokenizer, rows_of(4)
    own = options(max_tokens=20)
    found = read_texts(rows, tokenizer, own, "d@train")
    for row, ids, status in zip(rows, found.token_ids, found.statuses, strict=True):
        expected = encode(row["messages"], tokenizer, 20, "left", generation_prompt=False)
        assert (ids, status) == (expected.token_ids, "truncated" if expected.truncated else "ok")
    assert max(found.n_tokens) == 20


def test_rows_of_no_class_are_not_learnt_from(tiny: Maker) -> None:
    rows = rows_of(6)
    rows[1]["label"], rows[2]["label"] = None, "ambiguous"
    texts = read_texts(rows, tiny().tokenizer, options(), "d@train")
    assert usable_rows(rows, texts, CLASSES[:2]) == [0, 3, 4, 5]


def test_draws_hold_whole_groups_in_balance_and_a_smaller_one_is_part_of_a_larger_one() -> None:
    rows = rows_of(60)
    for i, row in enumerate(rows[:30]):  # pairs beside single examples of one class
        row["group_id"] = f"single-{i}"
    sizes = [drawn(rows, range(60), limit, 3) for limit in (4, 9, 20, 60)]
    assert [len(each) for each in sizes][::3] == [4, 60]
    for smaller, larger in itertools.pairwise(sizes):
        assert set(smaller) < set(larger)
    for which in sizes:
        labels = [rows[i]["label"] for i in which]
        assert abs(labels.count("low") - labels.count("high")) <= 1
        groups = {rows[i]["group_id"] for i in which}
        assert [i for i in range(60) if rows[i]["group_id"] in groups] == which
    assert drawn(rows, range(60), 20, 4) != sizes[2]


def test_held_out_groups_are_apart_from_training_and_hold_every_class() -> None:
    rows = rows_of(60, classes=3)
    train, held_out = divided(rows, range(60), 0.15, 0)
    assert sorted(train + held_out) == list(range(60))
    assert len(held_out) == 9
    assert not {rows[i]["group_id"] for i in train} & {rows[i]["group_id"] for i in held_out}
    assert {rows[i]["label"] for i in held_out} == set(CLASSES)
    assert divided(rows, range(3), 0.15, 0) == ([0, 1, 2], [])  # one group: nothing can be held out


# what it computes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_the_last_token_is_the_last_real_one_of_ragged_texts(tiny: Maker, family: str, kind: dict[str, Any]) -> None:
    """As AutoModelForSequenceClassification has it: the state after the final norm, at each text's own last token."""
    expected = []
    model = tiny(family).model
    texts = [[5, 9, 17, 33, 65, 129, 12], [8, 8, 31], [64], [201, 14, 3, 7, 77]]
    found = classifier(tiny(family), options(**kind))
    found.begin(3)
    for ids in texts:
        state = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
        expected.append(float((state @ found.head[0]).detach()))
    torch.testing.assert_close(found.logits(texts)[:, 0], torch.tensor(expected), rtol=1e-4, atol=1e-4)
    alone = torch.cat([found.logits([ids]) for ids in texts])
    torch.testing.assert_close(found.logits(texts), alone, rtol=1e-4, atol=1e-4)


def test_scores_are_log_odds_with_their_probabilities(tiny: Maker) -> None:
    for classes in (2, 3):
        job = Job(tiny(), options(), 12, classes)
        job.classifier.begin(0)
        rows = [*job.rows, {**job.rows[0], "example_id": "blank"}]
        texts = Texts([*job.texts.token_ids, []], [*job.texts.statuses, "empty"])
        table = score_rows(job.classifier, rows, texts, "d@test", job.classes, "ft", 5, job.options).to_pandas()
        n = 1 if classes == 2 else 3
        assert len(table) == 13 * n
        assert set(table["seed"]) == {5}
        assert table["fold"].isna().all()
        blank = table[table["example_id"] == "blank"]
        assert blank["score"].isna().all() and blank["probability"].isna().all() and (blank["flops_total"] == 0).all()
        whole = table[table["example_id"] != "blank"]
        assert np.allclose(whole["probability"], 1 / (1 + np.exp(-whole["score"])))
        if classes == 3:
            assert np.allclose(whole.groupby("example_id")["probability"].sum(), 1)


def test_log_odds_of_several_classes_are_of_each_against_the_others() -> None:
    logits = np.array([[1.0, 2.0, -1.0]])
    p = np.exp(logits) / np.exp(logits).sum()
    assert np.allclose(log_odds(logits), np.log(p / (1 - p)))


def test_flops_count_the_weights_that_multiply_each_token_that_was_read(tiny: Maker) -> None:
    model = tiny().model
    blocks = sum(p.numel() for p in model.model.parameters()) - model.model.embed_tokens.weight.numel()
    head = model.config.hidden_size
    whole, adapted = (classifier(tiny(), options(**kind)) for kind in KINDS[::-1])
    assert whole.flops([7, 0]) == [2 * blocks * 7 + 2 * head, 0]
    assert adapted.flops([7])[0] > whole.flops([7])[0]


# how it is trained


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_it_learns_a_planted_rule(tiny: Maker, tmp_path: Path, kind: dict[str, Any], classes: int) -> None:
    job = Job(tiny(), options(**kind), 48, classes)
    trained = job.run(tmp_path)
    assert trained.auroc is not None and trained.auroc > 0.95
    scores = log_odds(
        read_logits(job.classifier, Texts(job.held_out.token_ids, ["ok"] * len(job.held_out.y)), job.options)
    )
    y = np.array(job.held_out.y)
    found = [auroc(scores[:, k], y == (k if classes == 3 else 1)) for k in range(scores.shape[1])]
    assert np.mean(found) == pytest.approx(trained.auroc, abs=0.05)  # of the weights it leaves behind
    validations = [row for row in trained.rows if row["split"] == "validation"]
    assert [row["epoch"] for row in validations] == [1, 2, 3, 4, 5, 6]


def test_two_samples_learn_even_with_more_accumulation_than_there_are_batches(tiny: Maker, tmp_path: Path) -> None:
    own = options(gradient_accumulation=64, epochs=2, batch_size=4)
    job = Job(tiny(), own, 2)
    job.classifier.begin(0)
    before = job.logits()
    trained = job.run(tmp_path)
    assert [(row["split"], row["step"], row["kept"]) for row in trained.rows] == [
        ("train", 1, False),
        ("train", 2, True),  # nothing could be held out: the last step is kept
    ]
    assert not np.allclose(job.logits(), before)


def test_an_epoch_s_last_step_takes_the_batches_that_are_left() -> None:
    groups = [f"g{i // 2}" for i in range(44)]
    steps = plan(groups, options(batch_size=8, gradient_accumulation=4, epochs=2), seed=0)
    assert [sum(map(len, step.batches)) for step in steps] == [32, 12, 32, 12]
    assert [step.evaluate for step in steps] == [False, True, False, True]
    assert sorted(i for step in steps[:2] for batch in step.batches for i in batch) == list(range(44))
    assert steps[0].batches != steps[2].batches


def test_a_group_stays_in_one_batch_where_it_fits() -> None:
    groups = [f"g{i // 3}" for i in range(30)] + ["large"] * 20
    for step in plan(groups, options(batch_size=8, epochs=1), seed=1):
        (batch,) = step.batches
        assert len(batch) <= 8
        for group in {groups[i] for i in batch} - {"large"}:
            assert [groups[i] for i in batch].count(group) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_epoch_s_weights_are_restored(
    tiny: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: dict[str, Any]
) -> None:
    """A snapshot that shared memory with the weights would give back the last ones."""
    job = Job(tiny(), options(epochs=4, **kind))
    told, seen = iter([(0.5, 1.0), (0.9, 1.0), (0.9, 0.8), (0.7, 0.1)]), []

    def validation(self: Trainer) -> tuple[float, float]:
        seen.append(job.logits())
        return next(told)

    monkeypatch.setattr(Trainer, "_validation", validation)
    trained = job.run(tmp_path)
    assert not np.array_equal(seen[2], seen[3])
    assert np.array_equal(job.logits(), seen[2])  # of equal AUROCs the lower loss
    assert [row["kept"] for row in trained.rows if row["split"] == "validation"] == [False, False, True, False]
    assert trained.auroc == 0.9


@pytest.mark.parametrize("kind", [*KINDS, {"lora": {"r": 4, "alpha": 8, "init": "pissa"}}])
def test_every_finetuning_starts_from_exactly_the_same_weights(
    tiny: Maker, tmp_path: Path, kind: dict[str, Any]
) -> None:
    job = Job(tiny(), options(epochs=1, **kind))
    job.classifier.begin(0)
    start, logits = job.classifier.snapshot(), job.logits()
    first = job.run(tmp_path / "a")
    assert not np.array_equal(job.logits(), logits)
    trained = job.logits()
    job.run(tmp_path / "b", seed=1)
    assert not np.array_equal(job.logits(), trained)
    job.classifier.begin(0)
    assert all(map(torch.equal, job.classifier.snapshot(), start))
    assert np.array_equal(job.logits(), logits)
    assert job.run(tmp_path / "c") == first
    assert np.array_equal(job.logits(), trained)


@pytest.mark.parametrize("kind", [{**KINDS[0], "lora": {"r": 8, "alpha": 16, "dropout": 0.1}}, KINDS[1]])
def test_a_run_that_was_stopped_goes_on_where_it_was(
    tiny: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: dict[str, Any]
) -> None:
    own = options(epochs=3, **kind)
    undisturbed = Job(tiny(), own)
    expected = undisturbed.run(tmp_path / "one")
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "CHECKPOINT_SHARE", math.inf)
    step = Trainer._step
    for stop in (2, 7, None):
        job = Job(tiny(), own)

        def stopping(self: Trainer, each: Any, *rest: Any, stop: int | None = stop) -> Any:
            if each.number == stop:
                raise KeyboardInterrupt
            return step(self, each, *rest)

        monkeypatch.setattr(Trainer, "_step", stopping)
        if stop is None:
            assert job.run(tmp_path / "two") == expected
        else:
            with pytest.raises(KeyboardInterrupt):
                job.run(tmp_path / "two")
    assert np.array_equal(job.logits(), undisturbed.logits())


@pytest.mark.parametrize("kind", KINDS)
def test_in_half_precision_what_is_trained_is_float32(tiny: Maker, tmp_path: Path, kind: dict[str, Any]) -> None:
    subject = tiny(dtype="bfloat16")
    job = Job(subject, options(epochs=2, **kind))
    assert {p.dtype for p in job.classifier.trained} == {torch.float32}
    assert subject.model.model.embed_tokens.weight.dtype == torch.bfloat16
    job.classifier.begin(0)
    before = job.logits()
    job.run(tmp_path)
    assert not np.array_equal(job.logits(), before)
    if kind["lora"] is None:
        own = list(subject.model.model.parameters())
        assert all(torch.equal(p, v.bfloat16()) for p, v in zip(own, job.classifier.weights.values, strict=True))


@pytest.mark.parametrize(
    "kind",
    [*KINDS, {"lora": {"r": 4, "alpha": 8, "init": "pissa"}}, {"lora": {"r": 4, "alpha": 8, "rslora": True}}],
)
def test_what_is_stored_gives_the_same_scores_in_another_process(
    tiny: Maker, tmp_path: Path, kind: dict[str, Any]
) -> None:
    job = Job(tiny(), options(epochs=2, **kind))
    job.run(tmp_path)
    stored = job.classifier.stored_lora()
    other = Classifier(tiny(), stored, 2, "tiny", False)
    other.load(job.classifier.state())
    found = read_logits(other, job.texts, job.options)
    if stored == job.options.lora:
        assert np.array_equal(found, job.logits())
    else:  # the same sums in another order
        assert np.allclose(found, job.logits(), atol=1e-4)


def test_weights_of_another_network_are_refused(tiny: Maker) -> None:
    one, other = classifier(tiny(), options()), classifier(tiny(), options(lora={"r": 2, "alpha": 4}))
    with pytest.raises(CandorError, match="do not fit LlamaForCausalLM"):
        other.load(one.state())


def test_a_run_that_comes_apart_says_so(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    subject.model.model.layers[2].mlp.down_proj.weight.data.fill_(math.nan)
    with pytest.raises(CandorError, match=r"training has come apart: loss nan, gradient norm nan at step 1; lower"):
        Job(subject, options()).run(tmp_path)
