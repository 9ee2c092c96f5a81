"""Each break of the code or the data, made on purpose, turns a check red that is green without it."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from candor.activations import extraction, hooks
from candor.chat_text import Encoded, encode
from candor.data import building
from candor.probes import scoring
from tests.planted import subject
from tests.planted.chain import ROWS, Chain
from tests.planted.checks import check_pooled, check_recovered, check_selected, check_stored
from tests.planted.subject import CLEAN

POOLS = ("mean", "last", "max", "rolling_mean_max", "softmax", "attention")


@pytest.fixture
def fresh(tmp_path: Path) -> Chain:
    """The clean task's data, nothing extracted, and of its probes the quickest."""
    chain = Chain(tmp_path)
    chain.config["tasks"]["clean"]["probes"] = ["difference_of_means"]
    for dataset in ("clean", "everyday"):
        chain.lay(dataset, ROWS[dataset]())
    return chain


def read_and_select(chain: Chain) -> None:
    """From activations to the selection of the clean task."""
    for dataset in ("clean", "everyday"):
        chain.extract(dataset)
    chain.train("clean")


def test_without_sabotage_all_checks_pass(fresh: Chain) -> None:
    read_and_select(fresh)
    check_stored(fresh, "clean")
    check_selected(fresh, "clean")


@pytest.mark.parametrize("shift", [1, -1])
def test_a_hook_on_the_block_beside_is_noticed(fresh: Chain, monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    real = hooks.blocks_of

    def beside(model: nn.Module) -> nn.ModuleList:
        blocks = list(real(model))
        return nn.ModuleList(blocks[shift:] + blocks[:shift])

    monkeypatch.setattr(hooks, "blocks_of", beside)
    read_and_select(fresh)
    with pytest.raises(AssertionError):
        check_stored(fresh, "clean")
    with pytest.raises(AssertionError):
        check_selected(fresh, "clean")
    assert fresh.selection("clean")["layer"] == subject.PLANTED - shift


def test_padding_on_the_left_that_the_reader_does_not_expect_is_noticed(
    fresh: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_the_left(batch: list[int], planned: extraction.Plan) -> torch.Tensor:
        ids = [planned.encoded[i].token_ids for i in batch]
        length = max(map(len, ids))
        return torch.tensor([each[-1:] * (length - len(each)) + each for each in ids])

    monkeypatch.setattr(extraction, "_padded", on_the_left)
    fresh.extract("clean")
    with pytest.raises(AssertionError):
        check_stored(fresh, "clean")


def test_padding_that_is_stored_is_noticed(fresh: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    length = 2 * subject.WORDS + 1

    def padded(*arguments: Any) -> Encoded:
        encoded = encode(*arguments)
        missing = length - len(encoded.token_ids)
        return encoded._replace(
            token_ids=encoded.token_ids + [1] * missing, roles=encoded.roles + encoded.roles[-1:] * missing
        )

    monkeypatch.setattr(extraction, "encode", padded)
    fresh.extract("clean")
    with pytest.raises(AssertionError):
        check_stored(fresh, "clean")


@pytest.mark.parametrize("pool", POOLS)
def test_padding_that_a_pooling_sees_is_noticed(extracted: Chain, monkeypatch: pytest.MonkeyPatch, pool: str) -> None:
    check_pooled(extracted, "clean", pool)
    family = importlib.import_module(f"candor.probes.families.{pool}")
    real = family.pool

    def unmasked(z: torch.Tensor, mask: torch.Tensor, probe: Any, width: int) -> torch.Tensor:
        pooled: torch.Tensor = real(z, torch.ones_like(mask), probe, width)
        return pooled

    monkeypatch.setattr(family, "pool", unmasked)
    with pytest.raises(AssertionError):
        check_pooled(extracted, "clean", pool)


def copied(chain: Chain, source: str, target: str) -> tuple[list[dict[str, Any]], str]:
    """The rows of `target` with a training text of `source` in the first, and the id of that training example."""
    example = next(row for row in chain.rows(source) if row["split"] == "train")
    rows = ROWS[target]()
    rows[0] = {**rows[0], "high": example["messages"][0]["content"]}
    return rows, example["example_id"]


def test_a_training_text_in_an_evaluation_set_stops_the_gate_which_names_both(fresh: Chain) -> None:
    fresh.lay("reversed", ROWS["reversed"]())
    fresh.check_apart("clean@train", "reversed@test")
    rows, leaked = copied(fresh, "clean", "reversed")
    fresh.lay("reversed", rows)
    with pytest.raises(SystemExit, match=rf"error: .*{leaked} ~ {rows[0]['pair_id']}\.high \(1\.00\)"):
        fresh.check_apart("clean@train", "reversed@test")


def test_a_training_text_told_again_in_other_case_behind_a_greeting_stops_the_gate(fresh: Chain) -> None:
    rows, leaked = copied(fresh, "clean", "reversed")
    words = rows[0]["high"].lower().split()
    rows[0]["high"] = " ".join(["please", "hello", *words])
    fresh.lay("reversed", rows)
    with pytest.raises(SystemExit, match=f"{leaked} ~ "):
        fresh.check_apart("clean@train", "reversed@test")


def test_a_group_torn_between_splits_stops_the_gate_which_names_it(
    fresh: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.check("clean")

    def by_example(examples: list[Any], split: Any) -> None:
        for i, example in enumerate(examples):
            example.split = "test" if i % 3 == 0 else "train"

    monkeypatch.setattr(building, "_deal", by_example)
    fresh.lay("clean", ROWS["clean"]())
    with pytest.raises(SystemExit, match=r"error: dataset clean: groups stand in more than one split.*s1-000 \(test, "):
        fresh.check("clean")


def test_one_row_of_a_group_in_the_other_split_stops_the_gate(fresh: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    real, moved = building._deal, "s1-007"

    def torn(examples: list[Any], split: Any) -> None:
        real(examples, split)
        own = next(example for example in examples if example.group_id == moved)
        own.split = "train" if own.split == "test" else "test"

    monkeypatch.setattr(building, "_deal", torn)
    fresh.lay("clean", ROWS["clean"]())
    with pytest.raises(SystemExit, match=rf"1 in all: {moved} \(test, train\)"):
        fresh.check("clean")


def test_activations_of_another_version_of_a_dataset_are_refused(fresh: Chain) -> None:
    """A reader that took rows by their place would pair each text with another's label."""
    read_and_select(fresh)
    fresh.lay("clean", list(reversed(ROWS["clean"]())))
    with pytest.raises(SystemExit, match="read from another version of dataset clean"):
        fresh.train("clean")


def test_scores_with_the_wrong_sign_miss_the_best_auroc(
    study: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scoring.class_scores
    check_recovered(study, "clean", "clean@test", CLEAN, ["logistic"])
    monkeypatch.setattr(scoring, "class_scores", lambda logits, family: real(-logits, family))
    broken = study.copy(tmp_path / "broken")
    broken.evaluate("clean")
    with pytest.raises(AssertionError):
        check_recovered(broken, "clean", "clean@test", CLEAN, ["logistic"])
