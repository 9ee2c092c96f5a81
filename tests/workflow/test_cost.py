"""cost.py: what would be asked of servers, and at what price, told before anything is spent."""

import re
import shutil
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from tests.tiny.study import Project

pytestmark = pytest.mark.slow  # the first test builds the study

WRITTEN = "results/generations/code/service/code-arms"


class Line(NamedTuple):
    """What is told of a judge or a teacher."""

    requests: int
    missing: int
    tokens_in: int
    tokens_out: int
    usd: float


class Said:
    """What cost.py printed: a line for each judge and teacher, and one for all; and its notes."""

    def __init__(self, project: Project, *arguments: str) -> None:
        before = project.results()
        done = project.python("scripts/cost.py", *arguments)
        assert done.returncode == 0, done.stdout
        assert project.results() == before
        self.text = done.stdout
        self.lines: dict[str, Line] = {}
        for line in done.stdout.splitlines():
            found = re.fullmatch(r"(\S+) +(?:service +)?([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,.]+)", line)
            if found:
                who, asked, missing, tokens_in, tokens_out, usd = (text.replace(",", "") for text in found.groups())
                self.lines[who] = Line(int(asked), int(missing), int(tokens_in), int(tokens_out), float(usd))


@pytest.fixture
def unjudged(project: Project) -> Project:
    """A built copy without judgements and replies."""
    for stage in ("labels", "verdicts"):
        shutil.rmtree(project.folder / "results" / stage)
    return project


def rows(project: Project, file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(project.folder / file).to_pylist()
    return found


def test_before_anything_is_asked_it_tells_requests_and_dollars_of_each(built: Project, unjudged: Project) -> None:
    said = Said(unjudged)
    assert list(said.lines)[-1] == "all" and set(said.lines) == {"stakes", "follows", "review", "code", "all"}
    assert said.lines["stakes"].requests == len(rows(built, "results/labels/stakes/dialogues/000-of-001.parquet")) == 60
    assert said.lines["code"].requests == len(rows(built, f"{WRITTEN}/000-of-001.parquet")) == 8
    for who, line in said.lines.items():
        assert line.missing == line.requests > 0
        assert line.usd == pytest.approx((line.tokens_in * 1 + line.tokens_out * 4) / 1e6, abs=0.006), who
    assert said.lines["stakes"].tokens_out == 60 * 512
    for number in range(4):
        assert said.lines["all"][number] == sum(line[number] for who, line in said.lines.items() if who != "all")
    assert "estimated, a quarter of the bytes" in said.text
    assert "not made yet" not in said.text
    assert not (unjudged.cache / "replies").exists()


def test_it_tells_about_as_much_as_was_then_asked(built: Project, unjudged: Project) -> None:
    """The service counts a quarter of the letters as tokens, and knows no limit of replies."""
    label = rows(built, "results/labels/stakes/dialogues/000-of-001.parquet")
    asked = sum(row["tokens_in"] for row in label)
    assert asked < Said(unjudged).lines["stakes"].tokens_in < 2 * asked


def test_afterwards_nothing_is_left_to_ask(built: Project, unjudged: Project) -> None:
    before = Said(unjudged)
    shutil.copytree(built.cache, unjudged.cache, dirs_exist_ok=True)
    after = Said(unjudged)
    assert {who: line.requests for who, line in after.lines.items()} == {
        who: line.requests for who, line in before.lines.items()
    }
    assert {line[1:] for line in after.lines.values()} == {(0, 0, 0, 0.0)}


def test_another_question_is_to_be_asked_anew(built: Project, unjudged: Project) -> None:
    shutil.copytree(built.cache, unjudged.cache, dirs_exist_ok=True)
    unjudged.replace("resources/judges/stakes.txt", "Rate the stakes", "Tell the stakes")
    assert {who: line.missing for who, line in Said(unjudged).lines.items()} == {
        "stakes": 60,
        "follows": 0,
        "review": 0,
        "code": 0,
        "all": 60,
    }


def test_generations_that_are_not_made_are_guessed_and_said_to_be(built: Project, unjudged: Project) -> None:
    shutil.rmtree(unjudged.folder / WRITTEN)
    said = Said(unjudged)
    # eight solutions, which are there, and eight answers that may all differ
    assert said.lines["review"].requests == 16
    note = "8 of them are about texts that are not made yet, taken to be as long as they can be."
    assert note in said.text.splitlines()


def test_of_data_that_are_not_made_nothing_is_told_and_that_is_said(unjudged: Project) -> None:
    (unjudged.folder / "results/data/dialogues.parquet").unlink()
    said = Said(unjudged)
    assert said.lines["stakes"] == (0, 0, 0, 0, 0.0)
    assert "stakes: 1 of its jobs read a dataset that is not made yet, not counted." in said.text.splitlines()


def test_a_target_names_what_is_told_of(unjudged: Project) -> None:
    said = Said(unjudged, "--target", "results/labels/stakes/dialogues/000-of-001.parquet")
    assert set(said.lines) == {"stakes", "all"}


def test_where_no_server_is_asked_it_says_so(built: Project) -> None:
    said = Said(built, "--target", "results/figures/roc.pdf")
    assert said.text.startswith("No job of results/figures/roc.pdf asks a server: it costs nothing.\n")


def test_a_wrong_config_is_one_sentence(project: Project) -> None:
    project.replace("config.yaml", "    price: {input: 1, output: 4}\n", "")
    done = project.python("scripts/cost.py")
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["config: clients.service.price is missing."]
