"""profiles/kubernetes: what the plugin asks a cluster for, and jobs that run as pods would, in folders of their own.

The API is a small server on loopback, and so is the bucket; no part of this is a cluster.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import kubernetes_server, plugins, s3_server
from tests.kubernetes_server import Cluster
from tests.s3_server import S3Server
from tests.tiny.study import KEY, Project

pytestmark = pytest.mark.slow  # each pod starts Snakemake twice

PROFILE = ("--envvars", "TINY_KEY", "--workflow-profile", "profiles/kubernetes", "--seconds-between-status-checks", "1")
LARGE = ("--set-resources", "finetune:machine_type=large")
BUCKET, PREFIX = "my-bucket", "my-study"
# three pods and a model in one of them, or one pod
FULL = bool(os.environ.get("CANDOR_TEST_FULL"))
MADE = "results/activations/tiny/pairs/000-of-001.safetensors" if FULL else "results/data/pairs.parquet"
IN_PODS = {"build_dataset", "fetch_model", "extract_activations"} if FULL else {"build_dataset"}
FETCHED = 2_000_000_000
ON_GPUS = {
    "choose_prompt",
    "extract_activations",
    "finetune",
    "finetune_classifier",
    "generate",
    "generate_and_capture_states",
    "label",
    "run_finetuned_experiment",
    "run_quantisation",
    "score_finetuned",
    "score_prompted",
    "verbalise",
}
"""Rules of the tiny study that run a model; labels are also given by servers and by programs."""
# the command as it stands, up to where jobs would be waited for
SUBMIT_ALL = """
import sys
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

def submit(scheduler):
    for job in scheduler.workflow.dag.jobs:
        if not job.is_norun and not job.is_local:
            scheduler._executor.run_job(job)
    sys.exit()

JobScheduler.schedule = submit
main(sys.argv[1:])
"""


class Remote:
    """A checkout of the tiny study, and what its cluster and its bucket saw."""

    def __init__(self, project: Project, cluster: Cluster, s3: S3Server) -> None:
        self.project = project
        self.cluster = cluster
        self.s3 = s3
        project.environment |= {**s3.environment, "KUBECONFIG": str(cluster.kubeconfig)}
        project.environment["PYTHONPATH"] = plugins.path_of("storage", "kubernetes")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study under version control: pods get what git knows of."""
    project = Project.create(tmp_path_factory.mktemp("pods") / "project")
    project.write(".gitignore", project.read(".gitignore").replace(".venv/", ".venv"))
    subprocess.run("git init --quiet && git add --all", shell=True, cwd=project.folder, check=True)
    return project


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server with the profile's bucket, which is not empty."""
    with s3_server.served(tmp_path_factory.mktemp("s3")) as server:
        server.create(BUCKET)
        server.client.put_object(Bucket=BUCKET, Key="keep", Body=b"")
        yield server


@pytest.fixture(scope="module")
def asked(checkout: Project, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The whole study, submitted to a cluster that runs nothing."""
    folder = tmp_path_factory.mktemp("asked")
    with kubernetes_server.served(folder / "cluster", runs=False) as cluster:
        remote = Remote(checkout.copy(folder / "project"), cluster, s3)
        said = remote.project.python("-c", SUBMIT_ALL, *PROFILE, *LARGE, "--forceall", "all")
        assert said.returncode == 0, said.stdout
        yield cluster


@pytest.fixture(scope="module")
def ran(checkout: Project, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A dataset of the tiny study, built in a pod; in the long tests also activations."""
    folder = tmp_path_factory.mktemp("ran")
    with kubernetes_server.served(folder / "cluster") as cluster:
        remote = Remote(checkout.copy(folder / "project"), cluster, s3)
        made = remote.project.snakemake(*PROFILE, MADE)
        assert made.returncode == 0, made.stdout + cluster.logs()
        yield remote


def rule_of(job: dict[str, Any]) -> str:
    """The rule that a job's command runs."""
    found = re.search(r"--allowed-rules (\S+)", container_of(job)["args"][1])
    assert found is not None
    return found[1]


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    """The one container of a job's pod."""
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def gpus_of(job: dict[str, Any]) -> int:
    """How many GPUs a job is limited to, which is what Kubernetes goes by."""
    return int(container_of(job)["resources"]["limits"].get("nvidia.com/gpu", 0))


class TestManifests:
    """What the plugin asks for, for each job of the tiny study."""

    def test_who_runs_a_model_asks_for_a_gpu_and_no_other_does(self, asked: Cluster) -> None:
        jobs = asked.jobs.values()
        assert {rule_of(job) for job in jobs if gpus_of(job)} == ON_GPUS
        assert {rule_of(job) for job in jobs if not gpus_of(job)} & ON_GPUS == {"label"}
        assert {gpus_of(job) for job in jobs} == {0, 1}

    def test_nodes_with_gpus_are_tolerated_by_who_asks_for_one(self, asked: Cluster) -> None:
        for job in asked.jobs.values():
            tolerated = job["spec"]["template"]["spec"].get("tolerations") or []
            assert [each["key"] for each in tolerated] == ["nvidia.com/gpu"] * gpus_of(job), rule_of(job)

    def test_memory_and_processors_are_the_rules_and_disk_is_nobody_s(self, asked: Cluster) -> None:
        resources = {rule_of(job): container_of(job)["resources"] for job in asked.jobs.values()}
        assert resources["build_dataset"]["limits"] == {"cpu": "1000m", "memory": "4000M"}
        assert resources["fetch_model"]["requests"] == {"cpu": "950m", "memory": "4000M"}
        assert resources["finetune"]["limits"] == {"cpu": "1000m", "memory": "3001M", "nvidia.com/gpu": "1"}
        assert not [rule for rule, each in resources.items() if "ephemeral-storage" in each["requests"]]

    def test_pods_are_of_the_profile_s_image_and_of_any_node_but_where_a_type_is_named(self, asked: Cluster) -> None:
        assert {container_of(job)["image"] for job in asked.jobs.values()} == {"candor:0.1.0"}
        chosen = {rule_of(job): job["spec"]["template"]["spec"].get("nodeSelector") for job in asked.jobs.values()}
        named = {rule: labels for rule, labels in chosen.items() if labels}
        assert named == {"finetune": {"node.kubernetes.io/instance-type": "large"}}

    def test_local_rules_are_not_submitted(self, asked: Cluster) -> None:
        rules = {rule_of(job) for job in asked.jobs.values()}
        assert not {"fetch_source", "draw_figure", "write_page", "select_probe", "manifest"} & rules

    def test_no_secret_stands_in_a_job(self, asked: Cluster) -> None:
        [secret] = asked.secrets.values()
        told = json.dumps(list(asked.jobs.values()))
        assert KEY not in told and s3_server.SECRET not in told
        assert secret["type"] == "Opaque"
        for job in asked.jobs.values():
            given = asked.environment_of(job)
            assert given["TINY_KEY"] == KEY
            assert given["SNAKEMAKE_STORAGE_S3_SECRET_KEY"] == s3_server.SECRET
            assert given["CANDOR_API_JOBS"] == "1"


class TestPods:
    """Jobs run in empty folders, with nothing but their manifest and the bucket."""

    def test_results_are_those_of_a_run_on_this_machine(self, ran: Remote, checkout: Project, tmp_path: Path) -> None:
        here = checkout.copy(tmp_path / "project")
        here.build(MADE)
        there = ran.s3.objects(BUCKET)
        assert {rule_of(job) for job in ran.cluster.jobs.values()} == IN_PODS
        for name, content in here.results().items():
            assert there[f"{PREFIX}/results/{name}"] == content, name

    def test_a_second_run_has_nothing_to_do_nor_has_one_here_that_fetched_the_results(
        self, ran: Remote, tmp_path: Path
    ) -> None:
        assert ran.project.jobs(*PROFILE, MADE) == set()
        here = ran.project.copy(tmp_path / "project")
        for key, content in ran.s3.objects(BUCKET).items():
            if "/results/" in key:
                path = here.folder / key.removeprefix(f"{PREFIX}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                # all of one age; a tool that fetches them keeps the bucket's order
                os.utime(path, (FETCHED, FETCHED))
        assert here.jobs(MADE) == set()

    def test_nothing_is_left_in_the_cluster_and_no_archive_in_the_bucket(self, ran: Remote) -> None:
        assert ran.cluster.deleted >= set(ran.cluster.secrets)
        assert not [key for key in ran.s3.objects(BUCKET) if "sources" in key and key.endswith(".xz")]

    def test_no_file_holds_a_secret(self, ran: Remote) -> None:
        folders = [ran.project.folder, ran.cluster.folder / "pods"]
        secrets = [KEY.encode(), s3_server.SECRET.encode()]
        files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
        for path in files:
            if "tests" in path.parts:  # where the planted ones come from
                continue
            assert not any(secret in path.read_bytes() for secret in secrets), path
        assert not any(secret in content for content in ran.s3.objects(BUCKET).values() for secret in secrets)
