"""Chat clients against a service that fails three requests in ten, and jobs that are killed: nothing is lost or asked
twice, and no key is written down.

The jobs are processes of their own; what the service counted is its own account of the promises.
"""

import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.chat_job import requests_of
from tests.chat_jobs import CONCURRENCY, KEY, PROVIDERS, ROWS, Job, client_of, paid_again
from tests.chat_server import MIXED, Answer, Asked, ChatServer, content_of, scripted

REFUSED = "row 7"
"""What the service will never answer."""
SEED = 137
"""With it, 40 rows are enough to meet every fault."""


def stubborn(asked: Asked) -> Answer | str:
    """Answers drawn from the content, but for one request that is always refused."""
    return "400" if asked.text == REFUSED else scripted(asked)


def without_attempts(rows: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    assert rows is not None
    return [{key: value for key, value in row.items() if key != "attempts"} for row in rows]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_of_a_service_that_fails_three_in_ten_every_row_gets_its_reply_once_and_in_order(
    provider: str, tmp_path: Path
) -> None:
    with ChatServer(stubborn, faults=MIXED, key=KEY, seed=SEED) as server:
        ended = Job(tmp_path / "job", client_of(server, provider)).run()

    assert {each.fault for each in server.received} >= set(MIXED), "the service did fail, in every way"
    assert ended.code == 0, ended.said
    assert ended.rows is not None and [row["row"] for row in ended.rows] == list(range(ROWS))
    bodies = {Asked(provider, each.body, 0).text: each.body for each in server.received}
    outcomes = {text: server._fault(content_of(body), 0) for text, body in bodies.items()}
    for row, request in zip(ended.rows, requests_of(ROWS), strict=True):
        text = request.messages[-1].content
        assert row["status"] in ("ok", "refused", "error")
        assert (row["status"] == "error") == (text == REFUSED), row
        if row["status"] == "ok":
            empty = outcomes[text] == "empty"
            assert row["text"] == ("" if empty else scripted(Asked(provider, bodies[text], 0)).text)
        else:
            assert row["remark"] and KEY not in row["text"]
    assert paid_again(server.counts) == 0
    assert (
        sum(row["attempts"] for row in ended.rows)
        == len(server.received)
        == sum(count.asked for count in server.counts.values())
    )
    assert server.most_at_once <= CONCURRENCY


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_job_killed_ten_times_gives_the_table_of_one_that_was_not_and_repeats_what_was_under_way(
    provider: str, tmp_path: Path
) -> None:
    with ChatServer(stubborn, faults=MIXED, key=KEY, seed=SEED, latency=0.03) as server:
        undisturbed = Job(tmp_path / "undisturbed", client_of(server, provider)).run()
    kills, rng = 0, random.Random(3)
    with ChatServer(stubborn, faults=MIXED, key=KEY, seed=SEED, latency=0.03) as server:
        job = Job(tmp_path / "killed", client_of(server, provider))
        while kills < 10:
            process = job.start()
            moment = sum(count.asked for count in server.counts.values()) + rng.randint(1, ROWS // 8)

            def kill(came_in: int, process: Any = process, moment: int = moment, wait: float = rng.random()) -> None:
                if came_in == moment:
                    threading.Timer(wait * 0.04, process.send_signal, (signal.SIGKILL,)).start()

            server.on_request = kill
            assert job.end(process).code == -signal.SIGKILL, "the job ended before it was killed ten times"
            kills += 1
        server.on_request = None
        ended = job.run()

    assert ended.code == 0, ended.said
    assert without_attempts(ended.rows) == without_attempts(undisturbed.rows)
    assert paid_again(server.counts) <= kills * CONCURRENCY
    sent, asked = sum(row["attempts"] for row in ended.rows or []), sum(count.asked for count in server.counts.values())
    assert asked <= sent <= asked + kills * CONCURRENCY, "a sending is counted before it is made"
    assert list(job.output.parent.iterdir()) == [job.output]


def echo(asked: Asked) -> Answer | str:
    """A reply that gives its reader's key away."""
    return Answer(f"your key is {KEY}, and you said {asked.text}")


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_is_in_no_file_whatever_goes_wrong(provider: str, tmp_path: Path) -> None:
    debugging = {"OPENAI_LOG": "debug", "ANTHROPIC_LOG": "debug", "PYTHONDEVMODE": "1"}
    ways: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
        "faults": ({"faults": MIXED}, ()),
        "echoed": ({"reply": echo}, ()),
        "refused": ({"reply": lambda _: "401"}, ()),
        "forbidden": ({"reply": lambda _: "403"}, ()),
        "poor": ({"quota": 3}, ()),
        "traced": ({}, ("--raise",)),
        "dear": ({}, ("--budget", "0.0005")),
    }
    ended = {}
    for way, (keys, options) in ways.items():
        with ChatServer(**{"key": KEY, **keys}) as server:
            job = Job(tmp_path / way, client_of(server, provider), *options, environment=debugging)
            ended[way] = job.run()

    codes = {way: end.code for way, end in ended.items()}
    assert codes == {way: 0 if way in ("faults", "echoed") else 1 for way in ways}, ended
    assert "Traceback" in ended["traced"].said
    assert "HTTP 401" in ended["refused"].said and "Traceback" not in ended["refused"].said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > len(ways) * 3
    assert [path for path in files if KEY in path.read_text(errors="replace")] == []
    assert [path for path in tmp_path.rglob("*") if KEY in path.name] == []


@pytest.mark.parametrize(("provider", "kind"), [("anthropic", "402"), ("anthropic", "credit"), ("openai", "quota")])
def test_a_job_whose_credit_is_used_up_stops_and_goes_on_later(provider: str, kind: str, tmp_path: Path) -> None:
    half = ROWS // 2

    def paid_for(asked: Asked) -> Answer | str:
        return scripted(asked) if sum(count.answered for count in server.counts.values()) < half else kind

    with ChatServer(paid_for, key=KEY) as server:
        job = Job(tmp_path / "job", client_of(server, provider))
        stopped = job.run()
        kept = sum(count.answered for count in server.counts.values())
        server.reply = scripted
        ended = job.run()

    assert stopped.code == 1 and stopped.rows is None and "credit" in stopped.said, stopped.said
    assert half <= kept < len(server.counts)
    assert ended.code == 0 and ended.rows is not None and {row["status"] for row in ended.rows} == {"ok"}
    assert paid_again(server.counts) == 0, "what was answered before the stop was kept"
