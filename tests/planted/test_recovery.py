"""From texts to metrics, on a subject of which everything is known: is what was planted found, and no more?

subject.py says what is planted, and gives the closed forms.
"""

import numpy as np
import pytest
from scipy.stats import binom

from candor.metrics.points import auroc
from tests.planted import subject
from tests.planted.chain import PROBES, Chain
from tests.planted.checks import check_recovered, check_selected, check_stored
from tests.planted.subject import CLEAN, CONFOUNDED, PLANTED, REVERSED, Law

TEXTS = 200_000
"""Simulated texts of each class; the standard error of their AUROC is below .001."""
LINEAR = list(PROBES)


def simulated(direction: subject.Array, law: Law, layer: int) -> float:
    rng = np.random.default_rng(0)
    score_of_word = subject.residual(layer) @ direction
    scores = [score_of_word[subject.drawn(law, label, TEXTS, rng)].mean(1) for label in (0, 1)]
    return auroc(np.concatenate(scores), np.repeat([False, True], TEXTS))


@pytest.mark.parametrize("law", [CLEAN, CONFOUNDED, REVERSED])
def test_the_closed_form_is_that_of_texts_drawn_by_the_same_law(law: Law) -> None:
    direction = subject.best_direction(law, PLANTED)
    assert simulated(direction, law, PLANTED) == pytest.approx(subject.bayes_auroc(law), abs=0.005)


def test_the_closed_form_holds_for_a_direction_that_was_learned_under_another_law() -> None:
    direction = subject.best_direction(CONFOUNDED, PLANTED)
    for law in (CLEAN, REVERSED):
        expected = subject.auroc_of(direction, law, PLANTED)
        assert simulated(direction, law, PLANTED) == pytest.approx(expected, abs=0.005)


def test_no_direction_tells_the_classes_apart_before_the_planted_layer() -> None:
    direction = np.random.default_rng(0).normal(size=subject.WIDTH)
    for law in (CLEAN, CONFOUNDED):
        assert subject.bayes_auroc(law, PLANTED - 1) == 0.5
        assert simulated(direction, law, PLANTED - 1) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("dataset", ["clean", "confounded", "everyday"])
def test_what_is_stored_is_what_was_planted(extracted: Chain, dataset: str) -> None:
    check_stored(extracted, dataset)
    lengths = set(extracted.activations(dataset).n_tokens)
    assert lengths == {subject.WORDS, 2 * subject.WORDS}  # so that batches are padded


@pytest.mark.parametrize("task", ["clean", "confounded"])
def test_selection_takes_the_shallowest_layer_that_knows(study: Chain, task: str) -> None:
    check_selected(study, task)


def test_probes_reach_the_auroc_that_none_exceeds(study: Chain) -> None:
    check_recovered(study, "clean", "clean@test", CLEAN, LINEAR)


def test_the_best_linear_fit_reaches_it_with_the_confound_as_well(study: Chain) -> None:
    check_recovered(study, "confounded", "confounded@test", CONFOUNDED, ["logistic"])


@pytest.mark.parametrize(
    ("task", "part", "law"),
    [
        ("clean", "clean@test", CLEAN),
        ("clean", "reversed@test", REVERSED),
        ("confounded", "confounded@test", CONFOUNDED),
        ("confounded", "clean@test", CLEAN),
        ("confounded", "reversed@test", REVERSED),
    ],
)
def test_each_interval_covers_the_closed_form_of_the_direction_that_was_learned(
    study: Chain, task: str, part: str, law: Law
) -> None:
    """In at least all but one of the probes: a 95 % interval is allowed to miss."""
    found, covered = study.auroc(task, part), 0
    for monitor in LINEAR:
        weight, _ = study.probe(task, monitor).at(PLANTED, 0)
        truth = subject.auroc_of(weight[0, :, 0].double().numpy(), law, PLANTED)
        assert truth <= subject.bayes_auroc(law) + 1e-9
        covered += found[monitor]["low"] <= truth <= found[monitor]["high"]
    assert covered >= len(LINEAR) - 1


def test_a_probe_that_learns_the_confound_fails_where_it_is_gone_or_reversed(study: Chain) -> None:
    for monitor in LINEAR:
        own, gone, reversed_ = (
            study.auroc("confounded", part)[monitor] for part in ("confounded@test", "clean@test", "reversed@test")
        )
        assert own["low"] > gone["high"]
        assert gone["high"] < subject.bayes_auroc(CLEAN)
        assert reversed_["high"] < 0.5
        assert study.auroc("clean", "reversed@test")[monitor]["low"] > 0.5


def test_the_text_baseline_is_at_chance_where_classes_have_the_same_words(study: Chain) -> None:
    """Which words are in capitals it does not see, and nothing else differs."""
    for task in ("clean", "confounded"):
        row = study.auroc(task, "clean@test")["tfidf"]
        assert row["low"] <= 0.5 <= row["high"], task
    assert abs(study.selection("clean")["baselines"]["tfidf"]["auroc"] - 0.5) < 0.08


def test_the_text_baseline_reads_a_confound_that_is_in_the_words(study: Chain) -> None:
    """A text has a binomial number of words of the second topic, of which counting them is the best use."""
    own, reversed_ = (study.auroc("confounded", part)["tfidf"] for part in ("confounded@test", "reversed@test"))
    best = counting_auroc(*CONFOUNDED.topic)
    assert own["low"] <= best
    assert own["value"] > 0.95
    assert reversed_["value"] < 0.05


def counting_auroc(negative: float, positive: float) -> float:
    """AUROC of the number of successes of WORDS trials, with either chance of success."""
    counts = np.arange(subject.WORDS + 1)
    low, high = (binom.pmf(counts, subject.WORDS, chance) for chance in (negative, positive))
    return float(high @ (np.cumsum(low) - low / 2))


def test_with_shuffled_labels_no_monitor_finds_anything(study: Chain) -> None:
    found = study.auroc("shuffled", "shuffled@test")
    assert set(found) == {*PROBES, "tfidf"}
    for monitor, row in found.items():
        assert row["low"] <= 0.5 <= row["high"], monitor
