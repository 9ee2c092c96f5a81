"""A chat service as a judge and a teacher: what it is asked and paid for, where its key goes, and jobs that are killed.

The service's own count of requests bears witness.
"""

import os
import shutil
import signal
import threading
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from tests.chat_server import Answer, Asked, ChatServer, content_of
from tests.tiny.service import answered
from tests.tiny.study import KEY, Project

pytestmark = pytest.mark.slow  # the first test builds the study

CONFIG = "config.yaml"
STAKES = "results/labels/stakes/dialogues/000-of-001.parquet"
REVIEWS = "results/labels/review/code-gold/000-of-001.parquet"
REVIEWS_OF_SERVICE = "results/verdicts/review/code/service/code-arms/000-of-001.parquet"
WRITTEN = "results/generations/code/service/code-arms/000-of-001.parquet"
QUESTION = "resources/judges/vulnerable_code.txt"
CONCURRENCY = 4
NEEDS_KEY = (
    "error: the client of 'small-1' (openai) needs a key: set TINY_KEY in the environment or in the file .env of this "
    "folder, or give the client another key_variable (null for a server without keys)."
)


@pytest.fixture
def paid(built: Project, project: Project) -> Project:
    """A built copy that a test may change, with the replies that its build paid for."""
    shutil.copytree(built.cache, project.cache)
    return project


def rows(project: Project, file: str) -> list[dict[str, Any]]:
    """A table's rows."""
    found: list[dict[str, Any]] = pq.read_table(project.folder / file).to_pylist()
    return found


def without_attempts(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows less the one thing that a kill may change."""
    return [{name: value for name, value in row.items() if name != "attempts"} for row in table]


def forget(project: Project, *files: str) -> None:
    """Delete results."""
    for file in files:
        (project.folder / file).unlink()


def errors(said: str) -> set[str]:
    """The sentences of jobs that failed."""
    assert "Traceback" not in said, said
    return {line for line in said.splitlines() if line.startswith("error: ")}


def times_asked(server: ChatServer) -> int:
    """Requests that came in, the same one twice counting as two."""
    return sum(count.asked for count in server.counts.values())


class TestWhatIsAsked:
    def test_a_build_asks_each_request_once(self, built: Project) -> None:
        for file in (STAKES, REVIEWS, REVIEWS_OF_SERVICE):
            assert {row["attempts"] for row in rows(built, file)} <= {0, 1}, "0: the same text was asked about before"
        assert {row["status"] for row in rows(built, STAKES)} == {"ok", "invalid", "refused"}

    def test_other_bands_are_read_from_the_replies_that_are_there(self, paid: Project) -> None:
        before = rows(paid, STAKES)
        paid.replace(CONFIG, "min_confidence: 5", "min_confidence: 1")
        with paid.served() as server:
            paid.build()
        assert server.received == []
        after = rows(paid, STAKES)
        assert [(row["raw"], row["attempts"], row["usd"]) for row in after] == [
            (row["raw"], row["attempts"], row["usd"]) for row in before
        ]
        changed = [(old, new) for old, new in zip(before, after, strict=True) if old["verdict"] != new["verdict"]]
        assert changed
        assert {(old["verdict"], old["confidence"]) for old, _ in changed} == {("ambiguous", 2.0)}
        assert paid.jobs() == set()

    def test_another_question_is_asked_for_its_own_judge_alone(self, paid: Project) -> None:
        paid.replace(QUESTION, "You review", "You look at")
        with paid.served() as server:
            paid.build()
        assert {each.body["messages"][0]["content"].split(" code")[0] for each in server.received} == {"You look at"}
        assert {count.asked for count in server.counts.values()} == {1}, (
            "solutions that both tables hold are asked once"
        )
        assert paid.jobs() == set()

    def test_another_address_asks_for_nothing_and_another_service_for_everything(self, paid: Project) -> None:
        with paid.served() as server:
            assert paid.jobs(REVIEWS) == set()
            forget(paid, REVIEWS)
            paid.build(REVIEWS)
            assert server.received == []
            paid.replace(CONFIG, "service: test", "service: another")
            paid.build(REVIEWS)
            assert len(server.received) == len(rows(paid, REVIEWS))

    def test_results_that_were_deleted_cost_nothing(self, paid: Project) -> None:
        files = (STAKES, REVIEWS, WRITTEN)
        before = {file: (paid.folder / file).read_bytes() for file in files}
        shutil.rmtree(paid.folder / "results")
        with paid.served() as server:
            paid.build(*files)
        assert server.received == []
        assert {file: (paid.folder / file).read_bytes() for file in files} == before

    def test_a_teacher_s_responses_make_a_dataset(self, paid: Project) -> None:
        paid.build("results/data/written.parquet")
        written = rows(paid, "results/data/written.parquet")
        assert [row["messages"][-1]["content"] for row in written] == [row["text"] for row in rows(paid, WRITTEN)]
        assert {row["label"] for row in written} == {"trigger", "control"}

    def test_labels_make_a_dataset_whose_labels_they_are(self, built: Project) -> None:
        given = {row["example_id"]: row["verdict"] for row in rows(built, STAKES)}
        rated = rows(built, "results/data/rated.parquet")
        labels = [row["label"] for row in rated]
        assert labels == [given[row["example_id"]] for row in rated]
        assert labels.count("high-stakes") == labels.count("low-stakes") == len(labels) / 2 > 0

    def test_a_budget_stops_before_it_is_passed_and_goes_on_when_it_is_raised(self, project: Project) -> None:
        forget(project, STAKES)
        shutil.rmtree(project.folder / "results/.spent")
        project.replace(CONFIG, "budget_usd: 1", "budget_usd: 0.01")
        with project.served() as server:
            run = project.snakemake(STAKES)
            assert run.returncode == 1
            (said,) = errors(run.stdout)
            assert said.startswith("error: client 'service' stops: of 0.01 US dollars 0.0")
            assert said.endswith(
                "raise budget_usd, then run again. The replies so far are kept and will not be paid again."
            )
            asked = times_asked(server)
            assert 0 < asked < 60
            project.replace(CONFIG, "budget_usd: 0.01", "budget_usd: 1")
            project.build(STAKES)
            assert times_asked(server) == 60
        assert float(project.read("results/.spent/stakes.json")) == pytest.approx(
            sum(row["usd"] for row in rows(project, STAKES))
        )


class TestKeys:
    def test_without_a_key_figures_are_made_of_labels_and_replies_that_are_there(self, paid: Project) -> None:
        del paid.environment["TINY_KEY"]
        forget(paid, STAKES, "results/metrics/right.parquet", "results/figures/judges.pdf")
        paid.build("results/figures/all", STAKES)
        assert all((paid.folder / file).exists() for file in (STAKES, "results/figures/judges.pdf"))
        assert paid.jobs() == set()

    def test_without_a_key_only_jobs_that_have_something_to_ask_fail(self, paid: Project) -> None:
        key = paid.environment.pop("TINY_KEY")
        paid.replace(QUESTION, "You review", "You look at")
        forget(paid, "results/figures/roc.pdf", STAKES)  # the replies behind these labels are there
        run = paid.snakemake("--keep-going", "results/figures/all", STAKES)
        assert run.returncode == 1
        assert errors(run.stdout) == {NEEDS_KEY}
        made = ("results/figures/roc.pdf", STAKES, REVIEWS, REVIEWS_OF_SERVICE)
        assert [(paid.folder / file).exists() for file in made] == [True, True, False, False]
        paid.write(".env", f"TINY_KEY={key}\n")
        with paid.served():
            paid.build()
        assert paid.jobs() == set()

    def test_a_key_is_in_no_file_whatever_goes_wrong(self, project: Project) -> None:
        forget(project, STAKES, REVIEWS)
        with project.served(lambda asked: "401"):  # its words hold the key that was sent
            refused = project.snakemake("-p", REVIEWS)
        assert refused.returncode == 1
        (said,) = errors(refused.stdout)
        assert said.startswith(
            "error: client 'service' stops: HTTP 401: Incorrect API key provided: [key]. What to do: "
        )
        with project.served(babbling) as server:
            project.build("-p", REVIEWS)
        assert {each.fault for each in server.received} == {None, "400", "malformed", "cut-within"}
        reviews = rows(project, REVIEWS)
        assert {row["status"] for row in reviews} == {"error", "invalid"}
        assert {row["raw"] for row in reviews} == {'{"verdict": "[key]"}', None}
        with project.served():
            unknown = project.snakemake(STAKES, TINY_KEY=f"{KEY}-no-more")
        assert unknown.returncode == 1
        assert KEY not in refused.stdout + unknown.stdout

        places = [project.folder / "results", project.folder / ".snakemake", project.cache]
        files = [path for place in places for path in place.rglob("*") if path.is_file()]
        assert len(files) > 100
        assert [path for path in files if any(form in path.read_bytes() for form in FORMS)] == []


FORMS = (KEY.encode(), quote(KEY, safe="").encode())


def babbling(asked: Asked) -> Answer | str:
    """A service that repeats the key in its replies, and fails in some way now and then."""
    draw = int(content_of(asked.text)[:8], 16) % 4
    if draw == 0:
        return "400"
    if draw in (1, 2) and not asked.seen:
        return ("malformed", "cut-within")[draw - 1]
    return Answer(f'{{"verdict": "{KEY}"}}')


class TestKilled:
    def test_labelling_goes_on_by_the_same_command_and_repeats_what_was_under_way(self, project: Project) -> None:
        before = rows(project, STAKES)
        forget(project, STAKES)
        reached = {count: threading.Event() for count in (7, 31)}

        def asked(count: int) -> None:
            if count in reached:
                reached[count].set()

        with project.served(answered, latency=0.05, on_request=asked) as server:
            for event in reached.values():
                run = project.start(STAKES)
                assert event.wait(timeout=120)
                os.killpg(run.pid, signal.SIGKILL)
                assert run.wait() == -signal.SIGKILL
                assert not (project.folder / STAKES).exists()
            project.build(STAKES)
            asked_in_all, distinct = times_asked(server), len(server.counts)
        assert distinct == 60
        assert asked_in_all - distinct <= CONCURRENCY * len(reached)
        after = rows(project, STAKES)
        assert without_attempts(after) == without_attempts(before)
        assert sum(row["attempts"] for row in after) >= asked_in_all
        assert project.jobs(STAKES) == set()
