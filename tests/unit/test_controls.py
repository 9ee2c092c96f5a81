"""Controls find what they are meant to find and nothing else; and what a probe reads: its layers, and whose words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from candor.activations.files import ActivationsError
from candor.chat_text import ROLE_CODES
from candor.config.probes import Probe
from candor.config.tasks import Training
from candor.probes.features import Part, read_features
from candor.probes.scoring import score_part
from candor.probes.training_job import Trained, train_probe
from tests.small_parts import BLOCKS, CLASSES, SUBJECT, pair_rows, planted, row, write_part

WIDTH = 8
PAIRS = pair_rows(60)
BENIGN = [row(f"c{i}", f"c{i}", None, "test") for i in range(20)]
TASK = Training(classes=CLASSES, capture="c", train="pairs@train", control="calm@test", folds=3, seeds=[0, 1])
CHANCE = 0.5, 4 * ((len(PAIRS) + 1) / (3 * len(PAIRS) ** 2)) ** 0.5
"""AUROC of noise, and four of its standard errors."""
USER, ASSISTANT = ROLE_CODES["user"], ROLE_CODES["assistant"]


def probe_of(family: str, **options: Any) -> Any:
    return TypeAdapter(Probe).validate_python({"family": family, **options})


def trained(train: Part, control: Part, family: str, **options: Any) -> Trained:
    return train_probe(train, control, TASK, "stakes", "probe", probe_of(family, **options), descriptor=-1)


def auroc(found: Trained, layer: int) -> float:
    return found.probe.header.metrics[str(layer)]["cross_validated_auroc"]


def parts_of(folder: Path, x: Sequence[Tensor], **header: Any) -> tuple[Part, Part]:
    """A training part with activations x at layer 1, and a control part of noise."""
    return write_part(folder, "pairs@train", PAIRS, {1: x}, **header), write_part(
        folder, "calm@test", BENIGN, {1: planted(BENIGN, WIDTH, 0.0, 1)}
    )


def along(direction: Tensor, strength: float) -> list[Tensor]:
    """Noise, with the direction added to every token where the label is high."""
    noise = planted(PAIRS, WIDTH, 0.0, 3)
    return [x + strength * direction * (each["label"] == "high") for x, each in zip(noise, PAIRS, strict=True)]


# --- random direction and principal components


@pytest.mark.parametrize("family", ["random_direction", "pca"])
def test_a_control_finds_nothing_in_noise(tmp_path: Path, family: str) -> None:
    found = trained(*parts_of(tmp_path, planted(PAIRS, WIDTH, 0.0, 0)), family)
    assert auroc(found, 1) == pytest.approx(CHANCE[0], abs=CHANCE[1])


@pytest.mark.parametrize("family", ["random_direction", "pca"])
def test_where_activations_vary_with_the_class_alone_every_direction_tells(tmp_path: Path, family: str) -> None:
    found = trained(*parts_of(tmp_path, along(torch.ones(WIDTH), 100.0)), family)
    assert auroc(found, 1) > 0.95


def test_a_random_direction_is_the_seeds_own_and_its_sign_is_the_labels(tmp_path: Path) -> None:
    train, control = parts_of(tmp_path, along(torch.ones(WIDTH), 5.0))
    probe = trained(train, control, "random_direction").probe
    again = trained(train, control, "random_direction").probe
    one, other = (probe.at(1, seed)[0][0, :, 0] for seed in (0, 1))
    assert torch.equal(probe.weight, again.weight)
    assert abs(torch.nn.functional.cosine_similarity(one, other, dim=0)) < 0.95
    scores = trained(train, control, "random_direction").scores.to_pandas()
    assert set(scores[scores["dataset"] == "calm"]["seed"]) == {0, 1}


def test_the_first_component_is_blind_to_what_varies_little(tmp_path: Path) -> None:
    x = planted(PAIRS, WIDTH, 3.0, 0)  # the class is in feature 0 alone
    generator = torch.Generator().manual_seed(1)
    common = [20 * torch.randn(1, 1, generator=generator) for _ in x]
    x = [torch.cat([each[:, :1], each[:, 1:] + shift], 1) for each, shift in zip(x, common, strict=True)]
    train, control = parts_of(tmp_path, x)
    one, two = (auroc(trained(train, control, "pca", components=k), 1) for k in (1, 2))
    assert one == pytest.approx(CHANCE[0], abs=CHANCE[1]) and two > 0.9
    assert auroc(trained(train, control, "logistic", c=1.0), 1) > 0.9


# --- perplexity


def surprised(high: float, low: float, lengths: Sequence[int]) -> list[list[float]]:
    """Log-probabilities of the tokens of each of PAIRS, around what its label gets."""
    generator = torch.Generator().manual_seed(0)
    means = {"high": high, "low": low}
    return [
        (means[each["label"]] + torch.randn(n, generator=generator)).tolist()
        for each, n in zip(PAIRS, lengths, strict=True)
    ]


@pytest.mark.parametrize(("high", "finds"), [(-5.0, True), (-2.0, False)])
def test_perplexity_is_found_where_it_is_the_signal(tmp_path: Path, high: float, finds: bool) -> None:
    x = planted(PAIRS, WIDTH, 4.0, 0)  # activations tell the class, and are not read
    train = write_part(tmp_path, "pairs@train", PAIRS, {1: x}, log_probs=surprised(high, -2.0, [len(e) for e in x]))
    calm = planted(BENIGN, WIDTH, 0.0, 1)
    control = write_part(tmp_path, "calm@test", BENIGN, {1: calm}, log_probs=[[-2.0] * len(each) for each in calm])
    found = trained(train, control, "perplexity")
    top = BLOCKS - 1
    assert found.probe.header.layers == [top] and found.probe.weight.shape == (1, 2, 1, 1, 1)
    assert auroc(found, top) > 0.95 if finds else auroc(found, top) == pytest.approx(CHANCE[0], abs=CHANCE[1])
    scored = score_part(train, found.probe, "perplexity", SUBJECT).to_pandas()
    assert set(scored["layer"]) == {top} and scored["probability"].notna().all()
    tokens = scored["n_tokens"]
    assert (scored["flops_monitor"] == 2 * tokens).all()
    assert (scored["flops_total"] - scored["flops_monitor"] == 2 * (1000 + 500) * tokens).all()  # blocks and head


def test_perplexity_needs_log_probabilities(tmp_path: Path) -> None:
    with pytest.raises(ActivationsError, match="holds no log-probabilities of tokens; set `log_probs: true`"):
        trained(*parts_of(tmp_path, planted(PAIRS, WIDTH, 0.0, 0)), "perplexity")


# --- layers


def layered(folder: Path) -> tuple[Part, Part]:
    """Tokens of layers 1 and 2, and of layer 0 the mean, which tells the class."""
    found = []
    for name, rows in (("pairs@train", PAIRS), ("calm@test", BENIGN)):
        layers = {k: planted(rows, WIDTH, 0.0, k) for k in (1, 2)}
        means = torch.stack([x.mean(0) for x in planted(rows, WIDTH, 3.0, 0)])
        found.append(write_part(folder, name, rows, layers, {0: means}))
    return found[0], found[1]


def test_a_probe_is_trained_and_scored_on_the_layers_that_it_names(tmp_path: Path) -> None:
    train, control = layered(tmp_path)
    found = trained(train, control, "logistic", layers=[0])
    assert found.probe.header.layers == [0] and auroc(found, 0) > 0.9
    assert set(found.scores.to_pandas()["layer"]) == {0}
    assert set(score_part(train, found.probe, "layer-0", SUBJECT).to_pandas()["layer"]) == {0}
    assert trained(train, control, "logistic", layers=[2, 0]).probe.header.layers == [0, 2]
    assert trained(train, control, "logistic").probe.header.layers == [1, 2]
    assert trained(train, control, "max", layers=[2], epochs=1).probe.header.layers == [2]


def test_a_layer_that_is_not_stored_as_the_family_reads_it_is_a_sentence(tmp_path: Path) -> None:
    train, control = layered(tmp_path)
    with pytest.raises(ActivationsError, match=r"holds the tokens of layers \[1, 2\], not \[0\]; add them to `layers`"):
        trained(train, control, "max", layers=[0])
    with pytest.raises(ActivationsError, match=r"holds the mean of layers \[0, 1, 2\], not \[3\].*`mean_layers`"):
        trained(train, control, "logistic", layers=[3])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layers": []}, "give each block once"),
        ({"layers": [1, 1]}, "give each block once"),
        ({"layers": [-1]}, "give each block once"),
        ({"roles": []}, "name each once"),
        ({"roles": ["user", "user"]}, "name each once"),
    ],
)
def test_layers_and_roles_are_named_once(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        probe_of("mean", **options)


# --- roles


def spoken(folder: Path) -> Part:
    """Two user's tokens, then the assistant's; the class is in the assistant's. The last text is the user's alone."""
    rows = [*PAIRS, row("alone", "alone", "high")]
    x = [each + 0.0 for each in planted(rows, WIDTH, 0.0, 0, lengths=(5, 9))]
    for i, each in enumerate(rows[:-1]):
        x[i][2:, 0] += 4.0 * (each["label"] == "high")
    roles = [[USER, USER, *[ASSISTANT] * (len(each) - 2)] for each in x]
    roles[-1] = [USER] * len(x[-1])
    log_probs = [[-1.0 if role == USER else -3.0 for role in own] for own in roles]
    return write_part(folder, "pairs@train", rows, {1: x}, roles=roles, log_probs=log_probs)


def control_of(folder: Path) -> Part:
    calm = planted(BENIGN, WIDTH, 0.0, 1)
    return write_part(folder, "calm@test", BENIGN, {1: calm}, roles=[[USER, *[ASSISTANT] * (len(x) - 1)] for x in calm])


@pytest.mark.parametrize("kind", ["tokens", "last", "mean", "log_loss"])
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_features_of_a_role_are_those_of_its_tokens(tmp_path: Path, kind: str, role: str) -> None:
    part = spoken(tmp_path)
    rows = part.activations.layer(1).split(part.activations.lengths().tolist())
    own = [x[:2] if role == "user" else x[2:] for x in rows[:3]]
    found = read_features(part.of_roles([role]), 1, kind, [2, 0, 1])
    expected = {
        "tokens": lambda x: x,
        "last": lambda x: x[-1:],
        "mean": lambda x: x.mean(0, keepdim=True),
        "log_loss": lambda _: torch.tensor([[1.0 if role == "user" else 3.0]]),
    }[kind]
    torch.testing.assert_close(found.x, torch.cat([expected(own[i]) for i in (2, 0, 1)]))
    assert found.lengths.tolist() == [len(expected(own[i])) for i in (2, 0, 1)]


@pytest.mark.parametrize("family", ["logistic", "mean_then_linear", "max"])
def test_a_probe_reads_the_words_of_its_roles_alone(tmp_path: Path, family: str) -> None:
    train, control = spoken(tmp_path), control_of(tmp_path)
    options = {} if family == "logistic" else {"epochs": 30, "learning_rate": 0.05}
    answers, requests = (trained(train, control, family, roles=[role], **options) for role in ("assistant", "user"))
    assert auroc(answers, 1) > 0.9
    assert auroc(requests, 1) == pytest.approx(CHANCE[0], abs=CHANCE[1])


def test_a_text_without_a_token_of_the_roles_is_empty(tmp_path: Path) -> None:
    train, control = spoken(tmp_path), control_of(tmp_path)
    found = trained(train, control, "logistic", roles=["assistant"])
    assert found.n_skipped == 1 and found.probe.header.n_train == len(PAIRS)
    scored = score_part(train, found.probe, "answers", SUBJECT).to_pandas()
    alone = scored[scored["example_id"] == "alone"]
    assert set(alone["status"]) == {"empty"} and alone["score"].isna().all()
    others = scored[scored["example_id"] != "alone"]
    assert set(others["status"]) == {"ok"}
    # the subject reads the whole text, the probe two tokens less
    assert (others["flops_monitor"] == 2 * WIDTH * (others["n_tokens"] - 2)).all()
    assert (others["flops_total"] - others["flops_monitor"] == 2 * 1000 * 2 / BLOCKS * others["n_tokens"]).all()
    assert len(train.of_roles(["user"]).scored()) == len(PAIRS) + 1


def test_roles_need_every_token(tmp_path: Path) -> None:
    part = parts_of(tmp_path, [x.mean(0, keepdim=True) for x in planted(PAIRS, WIDTH, 0.0, 0)], store="mean")[0]
    with pytest.raises(ActivationsError, match="stores mean; a probe that reads the tokens of user alone needs"):
        part.of_roles(["user"])
