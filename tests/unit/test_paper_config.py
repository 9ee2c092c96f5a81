"""config.paper.yaml, laid over config.yaml as Snakemake does: a study with the paper's models, layers and sizes."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from candor.config.experiments import FinetunedEfficiency
from candor.config.figures import drawn_from
from candor.config.files import refuse_duplicate_keys
from candor.config.study import Study
from candor.config.tasks import dataset_of
from candor.models import chat_template

FILES = [Path("config.yaml"), Path("config.paper.yaml")]
ROOT = Path(__file__).parents[2]
MAIN = "high-stakes-llama-70b"
SUBJECTS = {
    # task: model and block whose normed input the paper's code reads
    MAIN: ("llama-3.3-70b", 31),
    "high-stakes-llama-8b": ("llama-3.1-8b", 10),
    "high-stakes-llama-1b": ("llama-3.2-1b", 11),
    "high-stakes-gemma-12b": ("gemma-3-12b", 16),
    "high-stakes-gemma-27b": ("gemma-3-27b", 30),
}
SIX = ("anthropic", "mt", "mts", "toolace", "mental-health", "aya")
SIZES = [4, 8, 16, 32, 64, 128, 256, 512, 1024, 1910]
FLOPS = {"llama-3.1-8b": 1.6e10, "llama-3.3-70b": 1.4e11, "gemma-3-12b": 2.43e10, "gemma-3-27b": 5.46e10}
"""What the paper counts for a token; of the 1B model it leaves out a fifth."""


def rendered(template: str, *turns: tuple[str, str]) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = [{"role": role, "content": content} for role, content in turns]
    texts, _ = render_jinja_template(
        conversations=[messages],
        chat_template=chat_template(ROOT / "resources/chat_templates" / template),
        bos_token="<bos>",
    )
    return str(texts[0])


def merged() -> dict[str, Any]:
    config: dict[str, Any] = {}
    for path in FILES:
        update_config(config, yaml.safe_load((ROOT / path).read_text(encoding="utf-8")))
    return config


@pytest.fixture(scope="module")
def paper() -> Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # templates are named from the project's root
        return Study.parse(merged())


@pytest.fixture(scope="module")
def drawn(paper: Study) -> dict[str, set[str]]:
    """The tasks and experiments that the figures of results/figures/all are drawn from, experiments' tasks included."""
    found: dict[str, set[str]] = {"tasks": set(), "experiments": set()}
    for figure in (paper.figures[id] for id in paper.run.figures):
        key = drawn_from(figure.plot)
        if key == "task":
            found["tasks"].add(figure.task or "")
        if key in ("experiment", "experiments"):
            found["experiments"].update(filter(None, [figure.experiment, *figure.experiments]))
    on_tasks = (getattr(paper.experiments[id], "task", None) for id in found["experiments"])
    found["tasks"].update(filter(None, on_tasks))
    return found


def llama(width: int, blocks: int, inner: int, keys: int, embeddings: int) -> int:
    """Parameters from the public config; `keys`: width of the keys, `embeddings`: matrices of the vocabulary."""
    block = 2 * width * width + 2 * width * keys + 3 * width * inner + 2 * width
    return embeddings * 128_256 * width + blocks * block + width


def test_it_is_a_study_without_a_key_given_twice(paper: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    refuse_duplicate_keys(FILES)
    assert set(SUBJECTS) <= set(paper.tasks)


def test_models_have_the_parameters_that_their_public_configs_give(paper: Study) -> None:
    parameters = {id: model.parameters for id, model in paper.models.items()}
    assert parameters["llama-3.3-70b"] == llama(8192, 80, 28_672, 1024, embeddings=2)
    assert parameters["llama-3.1-8b"] == llama(4096, 32, 14_336, 1024, embeddings=2)
    assert parameters["llama-3.2-1b"] == llama(2048, 16, 8192, 512, embeddings=1)
    for id, flops in FLOPS.items():
        assert 2 * parameters[id] == pytest.approx(flops, rel=0.01), id


@pytest.mark.parametrize("task", SUBJECTS)
def test_every_subject_is_read_where_the_paper_reads_it(task: str, paper: Study) -> None:
    model, layer = SUBJECTS[task]
    capture = paper.captures[paper.tasks[task].capture]
    assert (capture.subject, capture.hook, capture.layers) == (model, "input_layernorm", [layer])
    assert (capture.store, capture.max_tokens, capture.drop_first) == ("tokens", 8192, 1)
    assert not capture.generation_prompt


def test_a_llama_s_text_is_the_same_every_day() -> None:
    assert rendered("llama.jinja", ("system", "Be brief."), ("user", " Hello ")) == (
        "<bos><|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
    )
    assert "26 Jul 2024\n\n<|eot_id|>" in rendered("llama.jinja", ("user", "Hello"))


def test_a_gemma_reads_a_dialogue_that_the_assistant_begins() -> None:
    assert rendered("gemma.jinja", ("system", "A visit."), ("assistant", "Any pain?"), ("user", "No.")) == (
        "<bos><start_of_turn>model\nA visit.\n\nAny pain?<end_of_turn>\n<start_of_turn>user\nNo.<end_of_turn>\n"
    )


def test_stock_templates_that_would_not_do_are_replaced(paper: Study) -> None:
    replaced = {id: Path(paper.models[id].chat_template or "").stem for id, _ in SUBJECTS.values()}
    assert all(template == id.split("-")[0] for id, template in replaced.items())


@pytest.mark.parametrize("task", SUBJECTS)
def test_every_subject_is_measured_on_the_six_published_sets(task: str, paper: Study) -> None:
    found = paper.tasks[task]
    outside = [part for part in found.evaluation if part not in found.in_distribution]
    assert outside == [f"release-{name}-test@test" for name in SIX]
    assert found.train == "release-synthetic@train"
    assert found.in_distribution == ["release-synthetic-test@test"]
    assert found.seeds == [0, 1, 2]


def test_only_the_main_capture_stores_means_of_all_layers(paper: Study) -> None:
    """Tokens of all layers would be terabytes; the sweep and the control of layer 0 read means."""
    stored = {model: paper.captures[model].mean_layers for model, _ in SUBJECTS.values()}
    assert stored.pop("llama-3.3-70b") == "all"
    assert not any(stored.values())


def test_probes_are_trained_as_published(paper: Study) -> None:
    for id in paper.tasks[MAIN].probes:
        probe = paper.probes[id].model_dump()
        if "epochs" not in probe:
            continue
        attends = probe["family"] in ("attention", "rolling_attention", "gated_attention")
        assert probe["epochs"] == 200, id
        assert probe["patience"] == (10 if probe["family"] == "softmax" else 50), id
        assert probe["batch_size"] == 64, id
        assert (probe["learning_rate"], probe["weight_decay"], probe["clip"]) == (5e-3, 1e-3, 1.0), id
        assert probe["final_learning_rate"] == (5e-4 if attends else 1e-4), id


def test_every_model_is_prompted_with_four_templates(paper: Study) -> None:
    prompted = [each for id in paper.tasks[MAIN].baselines if (each := paper.baselines[id]).kind == "prompted"]
    assert {each.subject for each in prompted} == {model for model, _ in SUBJECTS.values()}
    assert all(len(each.templates) == 4 and each.max_tokens == 8192 for each in prompted)


def test_models_are_finetuned_as_published(paper: Study) -> None:
    small = paper.baselines["finetuned-llama-1b"]
    assert (small.lora, small.learning_rate, small.weight_decay, small.epochs) == (None, 1e-5, 0.01, 3)
    for id in ("finetuned-llama-8b", "finetuned-gemma-12b"):
        tuned = paper.baselines[id]
        assert (tuned.lora.r, tuned.lora.alpha, tuned.lora.dropout) == (16, 32, 0.1)
        assert (tuned.learning_rate, tuned.epochs, tuned.max_tokens) == (2e-4, 3, 8192)


def test_the_judge_that_is_a_monitor_has_a_budget_and_a_price(paper: Study) -> None:
    judge = paper.judges[paper.baselines["asked-claude"].judge]
    assert judge.budget_usd is not None and judge.budget_usd > 0
    assert paper.clients[judge.client].price.output > 0
    bands = judge.bands
    assert (bands.low.at_most, bands.high.at_least, bands.min_confidence) == (3, 8, 7)


def test_experiments_have_the_papers_sizes(paper: Study) -> None:
    found = paper.experiments
    assert found["data-efficiency"].sizes == found["finetuned-efficiency"].sizes == SIZES
    split = found["dev-split-llama-70b"]
    assert (split.sizes, split.runs, split.epochs, split.repeat) == ([2, 4, 8, 16, 32, 64, 128, 256], 5, 20, 5)
    assert split.usages == ["fine-tune", "only", "combine"]
    assert found["cascade"].shares == pytest.approx([0.1 * i for i in range(11)])
    assert found["length-bins"].edges == [0, 50, 100, 200, 300, 400, 500, 1000, 2000]
    assert found["calibration"].bins == 10


def test_a_finetuned_model_is_measured_on_whole_sets(paper: Study) -> None:
    assert [each.limit for each in paper.experiments.values() if isinstance(each, FinetunedEfficiency)] == [None]


def test_development_examples_are_of_their_own_set_and_kept_out_of_its_test(paper: Study) -> None:
    development = paper.experiments["dev-split-llama-70b"].development
    assert len(development) == 4
    for test, dev in development.items():
        assert dev == test.replace("-test@", "-dev@")
        assert paper.datasets[dataset_of(test)].exclude == [dataset_of(dev)]
        assert dev not in paper.tasks[MAIN].evaluation


def test_cascades_lead_from_the_probe_to_8b_and_from_8b_to_70b(paper: Study) -> None:
    stages = [(each.cheap, each.expensive) for each in paper.experiments["cascade"].cascades.values()]
    assert stages == [
        ("selected", "prompted-llama-8b"),
        ("selected", "finetuned-llama-8b"),
        ("prompted-llama-8b", "prompted-llama-70b"),
    ]


def test_inner_states_are_read_where_the_released_verbaliser_reads_them(paper: Study) -> None:
    capture, nla = paper.captures["inner-state"], paper.verbalisers["nla"]
    assert (capture.subject, capture.hook, capture.layers) == ("qwen2.5-7b", "residual", [20])
    assert (nla.subject, nla.layer) == (capture.subject, 20)
    assert (capture.k, paper.samplings["inner-state"].max_new_tokens) == (5, 96)
    assert paper.tasks["inner-state"].capture == "inner-state"


def test_the_matrix_between_tasks_is_of_one_subject_hook_and_layer(paper: Study) -> None:
    captures = [paper.captures[paper.tasks[task].capture] for task in paper.experiments["transfer"].tasks]
    assert len({(each.subject, each.hook, tuple(each.layers)) for each in captures}) == 1


def test_the_figures_reach_every_subject_and_every_kind_of_experiment(paper: Study, drawn: dict[str, set[str]]) -> None:
    assert set(SUBJECTS) <= drawn["tasks"]
    kinds = {paper.experiments[id].kind for id in drawn["experiments"]}
    assert kinds == {each.kind for each in paper.experiments.values()}


def test_no_figure_of_it_is_of_a_laptop_s_model_or_needs_sets_made_anew(
    paper: Study, drawn: dict[str, set[str]]
) -> None:
    for task in drawn["tasks"]:
        assert paper.models[paper.base(paper.captures[paper.tasks[task].capture].subject)].source == "hub"
        # no one has published prompts in three framings
        published = (part for part in paper.tasks[task].evaluation if part != "inner-state@test")
        assert all(dataset_of(part).startswith("release-") for part in published)


def test_it_draws_all_that_the_laptop_draws(paper: Study) -> None:
    laptop = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert set(laptop["run"]["figures"]) <= set(paper.run.figures)


def test_published_values_stand_beside_the_sets_that_they_are_of(paper: Study) -> None:
    said = [figure for figure in paper.figures.values() if figure.published]
    assert len(said) >= len(SUBJECTS)
    for figure in said:
        columns = ["mean", *paper.tasks[figure.task or ""].evaluation]
        assert set(figure.published) <= set(columns)
        assert figure.published["mean"] == "six_test_sets"


def test_sets_made_anew_are_labelled_by_the_judge_and_keep_development_out_of_test(paper: Study) -> None:
    for name in SIX:
        assert paper.datasets[f"{name}-test"].origin == f"labels/stakes/{name}-test-prompts"
    for name in ("anthropic", "mt", "mts", "toolace"):
        assert paper.datasets[f"{name}-test-prompts"].exclude == [f"{name}-dev-prompts"]
    assert paper.datasets["deployment"].also == ["software", "chatbot"]
    assert paper.tasks["high-stakes-relabelled"].evaluation[-1] == "deployment@test"


def test_sizes_of_all_that_a_gpu_reads_are_estimated(paper: Study) -> None:
    estimated = paper.run.estimates.examples
    task = paper.tasks[MAIN]
    development = filter(None, paper.experiments["dev-split-llama-70b"].development.values())
    for part in [task.train, task.control, *task.evaluation, *development]:
        assert dataset_of(part) in estimated
    assert (estimated["release-synthetic"], estimated["release-anthropic-test"]) == (10_000, 2984)


def test_the_table_of_costs_in_the_docs_is_what_the_command_prints(tmp_path: Path) -> None:
    made = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # in a copy without results, which would be counted in place of estimates
    for name in filter(None, made.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    told = subprocess.run(
        [sys.executable, "scripts/cost.py", "--configfile", "config.paper.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    table = told.stdout[told.stdout.index("stage  ") : told.stdout.index("\nGPU-hours:")].strip()
    assert f"```text\n{table}\n```" in (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
