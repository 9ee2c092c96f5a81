"""GPU-hours of a graph's jobs: FLOPs from parameters and tokens, over a stated share of the peak rate."""

from pathlib import Path
from typing import Any

import pytest

from candor import tables
from candor.config.selection import Estimates
from candor.gpu_hours import Planner, Work, lines
from candor.schemas.dataset import DATASET

PARAMETERS = 1_000_000
BLOCKS = 10


def config(**estimates: Any) -> dict[str, Any]:
    """A study with one dataset of each origin, and one of each kind of work."""
    dataset = {"limit": None, "split": None}
    capture = {"max_tokens": 1000, "log_probs": False, "sampling": None}
    rounding = {"part": "raw@test", "limit": 20, "controls": ["rerounded", "random_weights"]}
    return {
        "models": {"small": {"parameters": PARAMETERS, "blocks": BLOCKS}},
        "adapters": {
            "tuned": {
                "subject": "small",
                "train": "raw@train",
                "validation": "raw@validation",
                "epochs": 3,
                "evaluations": 2,
            }
        },
        "ablations": {},
        "datasets": {
            "raw": {**dataset, "origin": "sources/s", "split": {"test": 0.25, "validation": 0.25}},
            "some": {**dataset, "origin": "datasets/raw", "limit": 40},
            "said": {**dataset, "origin": "generations/brief/small/some"},
        },
        "samplings": {
            "brief": {"n": 2, "max_new_tokens": 50, "reasoning": "native", "max_reasoning_tokens": 1},
            "thoughtful": {"n": 1, "max_new_tokens": 50, "reasoning": "prompted", "max_reasoning_tokens": 30},
        },
        "clients": {"own": {"provider": "local", "subject": "tuned"}, "far": {"provider": "openai"}},
        "judges": {
            "asked": {"client": "own", "max_tokens": 7},
            "bought": {"client": "far", "max_tokens": 7},
            "ruled": {},
        },
        "captures": {
            "means": {**capture, "subject": "tuned", "layers": [1], "mean_layers": [4]},
            "all": {**capture, "subject": "small", "layers": "all", "mean_layers": [], "max_tokens": 10},
            "answers": {**capture, "subject": "small", "layers": [1], "mean_layers": [], "sampling": "brief"},
        },
        "baselines": {
            "prompted": {"subject": "small", "templates": ["a", "b"], "limit": 10},
            "finetuned": {"subject": "small", "lora": None, "limit": None, "epochs": 2, "seeds": [0, 1]},
            "adapted": {"subject": "small", "lora": {}, "limit": 10, "epochs": 2, "seeds": [0]},
        },
        "tasks": {
            "task": {"capture": "means", "train": "raw@train", "control": "some@test", "evaluation": ["raw@test"]},
            "answered": {"capture": "answers"},
        },
        "experiments": {
            "fewer": {"task": "task", "baseline": "adapted", "sizes": [4, 8, 5000], "runs": 3, "limit": 20},
            "rounded": {**rounding, "task": "task"},
            "answered": {**rounding, "task": "answered", "controls": []},
        },
        "run": {"shards": {"said": 2}, "estimates": {"examples": {"raw": 200}, "tokens": 100, **estimates}},
    }


def planner(tmp_path: Path, **estimates: Any) -> Planner:
    return Planner(config(**estimates), tmp_path)


READ = 2 * PARAMETERS


@pytest.mark.parametrize(
    ("rule", "names", "stage", "flops", "decode_flops"),
    [
        # half of the blocks, 100 tokens of 200 examples
        ("extract_activations", {"capture": "means", "dataset": "raw"}, "activations", READ / 2 * 20_000, 0),
        ("extract_activations", {"capture": "all", "dataset": "raw"}, "activations", READ * 2_000, 0),
        # two samples of each of 40 prompts; and, of the answers, one of two shards
        ("generate", {"sampling": "brief", "subject": "small", "dataset": "some"}, "generations", 8e3, 4e3),
        ("generate", {"sampling": "brief", "subject": "tuned", "dataset": "said"}, "generations", 8e3, 4e3),
        ("generate", {"sampling": "thoughtful", "subject": "small", "dataset": "some"}, "generations", 8e3, 3.2e3),
        ("finetune", {"adapter": "tuned"}, "adapters", 2 * 3 * 10_000 + 3 * 2 * 5_000, 0),
        ("choose_prompt", {"task": "task", "baseline": "prompted"}, "baselines", 2 * 1_000 + 4_000, 0),
        ("finetune_classifier", {"task": "task", "baseline": "finetuned"}, "baselines", 2 * (3 * 20_000 + 4_000), 0),
        ("finetune_classifier", {"task": "task", "baseline": "adapted"}, "baselines", 2 * 2_000 + 4_000, 0),
        ("score_prompted", {"task": "task", "baseline": "prompted", "part": "raw@test"}, "scores", 5_000, 0),
        ("score_finetuned", {"task": "task", "baseline": "finetuned", "part": "raw@test"}, "scores", 10_000, 0),
        # 4, 8, and twice all 100 of them; 20 examples are measured for each of four sizes
        ("run_finetuned_experiment", {"experiment": "fewer"}, "experiments", 3 * (2 * 2 * 21_200 + 4 * 2_000), 0),
        # five sets of weights, half of the blocks; and two of a fifth, on prompts and responses
        ("run_quantisation", {"experiment": "rounded"}, "experiments", 5 * 20 * 100 / 2, 0),
        ("run_quantisation", {"experiment": "answered"}, "experiments", 2 * 20 * 150 / 5, 0),
        ("label", {"judge": "asked", "dataset": "raw"}, "verdicts", 20_000, 1_400),
    ],
)
def test_the_work_of_a_job(
    tmp_path: Path, rule: str, names: dict[str, str], stage: str, flops: float, decode_flops: float
) -> None:
    work = planner(tmp_path).work(rule, names)
    assert work is not None
    scale = 1 if rule == "extract_activations" else READ
    assert work.stage == stage
    assert work.subject == "small"
    assert work.flops == pytest.approx(flops * scale)
    assert work.decode_flops == pytest.approx(decode_flops * scale)
    assert work.guessed


def test_weights_are_loaded_anew_for_each_rounding(tmp_path: Path) -> None:
    found = [planner(tmp_path).work("run_quantisation", {"experiment": id}) for id in ("rounded", "answered")]
    assert [work.loads for work in found if work] == [5, 2]


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("train_probe", {"task": "task", "probe": "mean"}),
        ("label", {"judge": "bought", "dataset": "raw"}),
        ("judge", {"judge": "ruled", "dataset": "raw"}),
    ],
)
def test_a_job_without_a_model_is_no_work(tmp_path: Path, rule: str, names: dict[str, str]) -> None:
    assert planner(tmp_path).work(rule, names) is None


def test_a_dataset_that_is_made_is_counted_instead_of_guessed(tmp_path: Path) -> None:
    row = {"group_id": "g", "label": "a", "rating": None, "attributes": "{}", "truncated": False}
    rows = [
        {**row, "example_id": str(i), "split": split, "messages": [{"role": "user", "content": "four" * length}]}
        for i, (split, length) in enumerate([("train", 10), ("train", 30), ("test", 5)])
    ]
    tables.write(tmp_path / "raw.parquet", rows, DATASET, {})
    found = planner(tmp_path)
    assert found.size("raw", "train") == (2, 20.0, False)
    work = found.work("extract_activations", {"capture": "means", "dataset": "raw"})
    assert work == Work("activations", "small", READ / 2 * 45, guessed=False)


def test_hours_take_the_stated_shares_of_the_peak(tmp_path: Path) -> None:
    found = planner(tmp_path, tflops=1.0, mfu=0.5, decode_mfu=0.1)
    works = [Work("a", "m", 1.8e15, 0.36e15), Work("a", "m", 1.8e15, guessed=True), Work("b", "m", 3.6e15)]
    first, second = found.hours(works)
    assert (first.jobs, first.guessed, first.hours) == (2, 1, pytest.approx(1 + 1 + 1))
    assert (second.stage, second.hours) == ("b", pytest.approx(2))
    assert (first.gpus, first.longest) == (1, pytest.approx(2))
    text = "\n".join(lines([first, second], found.estimates))
    assert "5.00" in text
    assert "50% of 1 TFLOP/s" in text
    assert "1 jobs are about datasets that are not made yet" in text


def test_the_defaults_are_an_a100() -> None:
    assert Estimates().tflops == 312


def test_gpus_that_hold_a_model_together_are_all_taken_while_it_computes(tmp_path: Path) -> None:
    found = planner(tmp_path, tflops=1.0, mfu=0.5)
    (hours,) = found.hours([Work("a", "m", 1.8e15, gpus=2), Work("a", "m", 1.8e15)])
    assert (hours.gpus, hours.hours, hours.longest) == (2, pytest.approx(3), pytest.approx(1))
