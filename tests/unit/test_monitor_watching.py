"""A probe on tokens as they come: it says what it says of whole texts, in whatever pieces they come, or refuses."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candor.config.captures import Capture
from candor.monitor.engine import Source
from candor.monitor.watching import RUNNING, Watcher
from candor.probes.features import Features
from candor.probes.files import Header, ProbeError, SavedProbe
from candor.probes.scoring import class_scores, score_part
from tests.small_parts import CLASSES, pair_rows, planted, write_part

WIDTH = 6
LAYER = 2
THREE = ["normal", "eval_aware", "deceptive"]
FAMILIES: list[tuple[dict[str, Any], int]] = [
    ({"family": "mean"}, 1),
    ({"family": "mean_then_linear"}, 1),
    ({"family": "difference_of_means"}, 1),
    ({"family": "logistic"}, 1),
    ({"family": "pca"}, 1),
    ({"family": "random_direction"}, 1),
    ({"family": "last"}, 1),
    ({"family": "max"}, 1),
    ({"family": "multimax", "heads": 3}, 3),
    ({"family": "softmax"}, 1),
    ({"family": "attention"}, 2),
    ({"family": "rolling_mean_max", "window": 3}, 1),
    ({"family": "rolling_attention", "window": 4}, 2),
    ({"family": "gated_attention"}, 3),
    ({"family": "gated_bipolar"}, 2),
    ({"family": "mlp", "hidden": 4}, 4),
]
SUBJECT = {"block_parameters": 1000, "head_parameters": 500}
SOURCE = Source("tiny", "a" * 40, WIDTH, 4)


def probe_of(config: dict[str, Any], projections: int, classes: list[str] = CLASSES, scale: float = 1.0) -> SavedProbe:
    """Random weights at layers 1 and 2 and seeds 0 and 7."""
    outputs = 1 if len(classes) == 2 else len(classes)
    generator = torch.Generator().manual_seed(0)
    rows = WIDTH + 2 if config["family"] == "mlp" else WIDTH
    weight = scale * torch.randn(2, 2, projections, rows, outputs, generator=generator)
    if config["family"] == "mlp":  # the classes share the hidden layer
        weight[..., :-1, :] = weight[..., :-1, :1]
    scored = classes[1:] if outputs == 1 else classes
    return SavedProbe(
        weight,
        torch.randn(2, 2, outputs, generator=generator),
        Header(
            family=config["family"],
            probe=config,
            task="stakes",
            classes=classes,
            layers=[1, LAYER],
            seeds=[0, 7],
            subject="tiny",
            revision="a" * 40,
            hook="residual",
            width=WIDTH,
            standardisation="",
            train="pairs@train",
            train_sha256="",
            n_train=10,
            control="calm@test",
            target_fpr=0.01,
            thresholds={str(k): {s: {name: 0.5 for name in scored} for s in ("0", "7")} for k in (1, LAYER)},
            metrics={"1": {"cross_validated_auroc": 0.7}, str(LAYER): {"cross_validated_auroc": 0.9}},
            best_epochs={},
        ),
    )


def watcher_of(config: dict[str, Any], projections: int, classes: list[str] = CLASSES, **options: Any) -> Watcher:
    return Watcher(probe_of(config, projections, classes), Path("p.safetensors"), LAYER, 7, **options)


def in_pieces(watcher: Watcher, x: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Token and running scores of a text that comes in pieces; all tokens are read."""
    watching, found, start = watcher.begin(), [], 0
    for size in sizes:
        found.append(watching.take(x[start : start + size], np.ones(size, dtype=bool)))
        start += size
    return np.concatenate([each.token for each in found]), np.concatenate([each.running for each in found])


@pytest.mark.parametrize(("config", "projections"), FAMILIES, ids=lambda v: v["family"] if isinstance(v, dict) else "")
@pytest.mark.parametrize("classes", [CLASSES, THREE], ids=["two", "three"])
def test_running_scores_are_the_batch_s_own_on_every_beginning_of_a_text(
    config: dict[str, Any], projections: int, classes: list[str]
) -> None:
    watcher = watcher_of(config, projections, classes)
    x = np.random.default_rng(0).standard_normal((11, WIDTH)).astype(np.float32)
    token, running = in_pieces(watcher, x, [4, 1, 1, 1, 1, 3])
    texts = [x[:end] for end in range(1, len(x) + 1)]
    expected = batch_scores(watcher, texts)
    np.testing.assert_allclose(running, expected, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(token, batch_scores(watcher, list(x[:, None])), rtol=2e-5, atol=2e-5)


def test_a_long_piece_of_a_family_without_running_sums_is_pooled_at_a_few_tokens_and_at_its_end() -> None:
    watcher = watcher_of({"family": "gated_attention"}, 3)
    x = np.random.default_rng(0).standard_normal((70, WIDTH)).astype(np.float32)
    _, running = in_pieces(watcher, x, [5, 65])
    known = np.flatnonzero(np.isfinite(running[:, 0]))
    assert len(known) == 5 + 16 and known[-1] == 69 and np.diff(known).max() <= 5
    expected = batch_scores(watcher, [x[: end + 1] for end in known])
    np.testing.assert_allclose(running[known], expected, rtol=2e-5, atol=2e-5)


def batch_scores(watcher: Watcher, texts: list[np.ndarray]) -> np.ndarray:
    """candor's own scores of whole texts, [n, c]."""
    from candor.probes.pooling import scores_in_blocks

    features = Features(torch.from_numpy(np.concatenate(texts)), torch.tensor([len(text) for text in texts]))
    weight, bias = probe_of(watcher.header.probe, projections_of(watcher), list(watcher.header.classes)).at(LAYER, 7)
    logits = scores_in_blocks(features, weight, bias, watcher.family, watcher.probe)
    return class_scores(logits.double().numpy(), watcher.probe.family)[0]


def projections_of(watcher: Watcher) -> int:
    return next(count for config, count in FAMILIES if config["family"] == watcher.probe.family)


def test_a_probe_s_score_table_holds_what_the_monitor_says(tmp_path: Path) -> None:
    rows = pair_rows(4, "test")
    layers = {k: planted(rows, WIDTH, 1.0, k, (2, 9)) for k in (1, LAYER)}
    part = write_part(tmp_path, "set@test", rows, layers)
    for config, projections in FAMILIES:
        saved = probe_of(config, projections)
        frame = score_part(part, saved, "probe", SUBJECT).to_pandas()
        frame = frame[(frame["layer"] == LAYER) & (frame["seed"] == 7)]
        watcher = Watcher(saved, tmp_path / "p", LAYER, 7)
        for x, expected in zip(layers[LAYER], frame["score"], strict=True):
            _, running = in_pieces(watcher, x.numpy(), [1] * len(x))
            assert running[-1, 0] == pytest.approx(expected, rel=2e-5, abs=2e-5), config


def test_weights_that_would_vanish_beside_a_later_token_s_still_count_until_it_comes() -> None:
    watcher = watcher_of({"family": "attention"}, 2)
    x = np.random.default_rng(0).standard_normal((8, WIDTH)).astype(np.float32)
    x[5:] *= 5000
    _, running = in_pieces(watcher, x, [8])
    _, slowly = in_pieces(watcher, x, [1] * 8)
    assert np.isfinite(running).all()
    np.testing.assert_allclose(running, slowly, rtol=1e-5)


def test_two_texts_that_are_watched_at_once_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    texts = [rng.standard_normal((6, WIDTH)).astype(np.float32) for _ in range(2)]
    for config, projections in FAMILIES:
        watcher = watcher_of(config, projections)
        alone = [in_pieces(watcher, x, [1] * 6)[1][-1] for x in texts]
        watchings, last = [watcher.begin(), watcher.begin()], [np.zeros(0), np.zeros(0)]
        for token in range(6):
            for who in (0, 1):
                read = watchings[who].take(texts[who][token : token + 1], np.ones(1, dtype=bool))
                last[who] = read.running[-1]
        np.testing.assert_array_equal(last, alone)


def test_the_first_tokens_and_other_roles_are_not_scored() -> None:
    x = np.random.default_rng(0).standard_normal((4, WIDTH)).astype(np.float32)
    plain = watcher_of({"family": "mean"}, 1).begin().read(x, [0, 2, 2, 3])
    assert np.isnan(plain.token[0]).all() and np.isfinite(plain.token[1:]).all()
    of_user = watcher_of({"family": "mean", "roles": ["user"]}, 1)
    found = of_user.begin().read(x, [0, 2, 2, 3])
    assert np.isfinite(found.running).all(1).tolist() == [False, True, True, False]
    np.testing.assert_allclose(found.running[2], in_pieces(of_user, x[1:3], [2])[1][-1])


@pytest.mark.parametrize(
    ("capture", "prompt", "answer"),
    [
        ({"store": "tokens"}, True, True),
        ({"store": "positions", "positions": "even", "k": 3, "of": "response"}, False, True),
        ({"store": "positions", "positions": "even", "k": 3, "of": "prompt"}, True, False),
        ({"store": "positions", "positions": "all", "of": "text"}, True, True),
        ({"store": "positions", "positions": "ends"}, False, True),
        ({"store": "positions", "positions": "last_prompt"}, True, False),
    ],
)
def test_of_prompt_and_answer_it_scores_what_its_capture_stores(
    capture: dict[str, Any], prompt: bool, answer: bool
) -> None:
    given = Capture.model_validate({"subject": "tiny", "layers": [LAYER], "sampling": "s", "drop_first": 0, **capture})
    watching = watcher_of({"family": "mean"}, 1, capture=given).begin()
    x = np.random.default_rng(0).standard_normal((3, WIDTH)).astype(np.float32)
    first, second = watching.read(x, [2, 2, 0], written=False), watching.read(x, [3, 3, 3], written=True)
    assert (np.isfinite(first.token).all(), np.isfinite(second.token).all()) == (prompt, answer)
    if capture.get("positions") == "last_prompt":
        np.testing.assert_array_equal(first.running, first.token)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"subject": "other"}, r"is a probe of tiny with subject tiny, and other has subject other; choose a probe"),
        ({"revision": "b" * 40}, r"with revision a{40}, and tiny has revision b{40}"),
        ({"width": 8}, r"with width 6, and tiny has width 8"),
        ({"blocks": 2}, r"reads layer 2, but tiny has 2 blocks, from 0\."),
        ({"hooks": ("input_layernorm",)}, r"reads the hook residual, but of tiny only input_layernorm can be read"),
    ],
)
def test_a_probe_of_another_model_hook_layer_or_width_is_refused(change: dict[str, Any], sentence: str) -> None:
    watcher = watcher_of({"family": "mean"}, 1)
    watcher.refuse_other(SOURCE)
    with pytest.raises(ProbeError, match=rf"^p.safetensors: .*{sentence}"):
        watcher.refuse_other(SOURCE._replace(**change))


def test_layers_seeds_and_families_that_a_probe_lacks_are_refused() -> None:
    saved = probe_of({"family": "mean"}, 1)
    for options, sentence in (({"layer": 3}, "holds no layer 3, but 1, 2"), ({"seed": 1}, "holds no seed 1, but 0, 7")):
        with pytest.raises(ProbeError, match=sentence):
            Watcher(saved, Path("p"), **options)
    with pytest.raises(ProbeError, match="reads no activations"):
        Watcher(SavedProbe(saved.weight, saved.bias, replace(saved.header, probe={"family": "perplexity"})), Path("p"))


def test_without_a_layer_the_best_one_is_taken_and_the_thresholds_are_the_file_s() -> None:
    saved = probe_of({"family": "mean"}, 1)
    watcher = Watcher(saved, Path("p"))
    assert (watcher.layer, watcher.seed) == (LAYER, 0)
    assert watcher.thresholds == saved.header.thresholds[str(LAYER)]["0"]


def test_what_a_text_costs_to_remember_does_not_grow() -> None:
    x = np.random.default_rng(0).standard_normal((300, WIDTH)).astype(np.float32)
    for config, projections in FAMILIES:
        if config["family"] in RUNNING:
            pooling = watcher_of(config, projections).pooling()
            sizes = []
            for start in (0, 100, 200):
                z = watcher_of(config, projections).project(x[start : start + 100])
                pooling.extend(z)
                sizes.append(sum(np.size(value) for value in vars(pooling).values()))
            assert sizes[0] == sizes[2], config
