"""The cache of replies: found by content, whole or absent, without keys."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from candor.chat.messages import ChatRequest, ChatSampling, Message, canonical, digest, identity
from candor.chat.replies import Replies, Reply

REPLY = Reply("ok", "Größe: 4", "stop", 12, 5, "served-1", usd=0.25)
CLIENT = {"provider": "openai", "service": "s", "model": "m"}
ASKED = ChatRequest((Message("system", "be brief"), Message("user", "Größe?")), ChatSampling())


def test_a_reply_is_found_by_its_request_in_a_later_run(tmp_path: Path) -> None:
    Replies(tmp_path).keep(identity(ASKED, CLIENT), canonical(ASKED, CLIENT), REPLY)
    assert Replies(tmp_path).find(identity(ASKED, CLIENT)) == REPLY


def test_a_file_holds_the_request_as_it_was_asked(tmp_path: Path) -> None:
    name = identity(ASKED, CLIENT)
    Replies(tmp_path).keep(name, canonical(ASKED, CLIENT), REPLY)
    content = json.loads((tmp_path / name[:2] / f"{name}.json").read_text(encoding="utf-8"))
    assert content["request"]["messages"] == [["system", "be brief"], ["user", "Größe?"]]
    assert content["request"]["client"] == CLIENT
    assert content["reply"]["text"] == "Größe: 4"


def test_nothing_is_found_of_a_request_that_was_never_answered(tmp_path: Path) -> None:
    assert Replies(tmp_path).find("0" * 64) is None


@pytest.mark.parametrize(
    "content", ["", '{"reply": {"text": "cu', "[]", '{"reply": {"text": "x"}}', '{"reply": null}', "\udcff"]
)
def test_a_damaged_file_counts_as_absent_and_is_spoken_of_once(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replies = Replies(tmp_path)
    for name in ("a" * 64, "b" * 64):
        replies.keep(name, "{}", REPLY)
        (tmp_path / name[:2] / f"{name}.json").write_text(content, encoding="utf-8", errors="surrogateescape")
        assert replies.find(name) is None
    assert capsys.readouterr().err.count("is damaged and counts as absent") == 1


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    replies = Replies(tmp_path)
    replies.keep("a" * 64, "{}", REPLY)
    (tmp_path / "aa" / f"{'a' * 64}.json").write_text("{", encoding="utf-8")
    replies.keep("a" * 64, "{}", REPLY)
    assert replies.find("a" * 64) == REPLY


def test_sendings_are_counted_over_all_runs(tmp_path: Path) -> None:
    assert Replies(tmp_path).attempts("a" * 64) == 0
    for _ in range(3):
        Replies(tmp_path).sending("a" * 64)
    assert Replies(tmp_path).attempts("a" * 64) == 3


def test_a_key_stays_out_of_the_file(tmp_path: Path) -> None:
    key = "sk-planted/0123456789"
    request = ChatRequest((Message("user", f"my key is {key}"),), ChatSampling())
    reply = REPLY._replace(text=f"you said {key}")
    Replies(tmp_path).keep("a" * 64, canonical(request, CLIENT), reply, [key])
    content = (tmp_path / "aa" / f"{'a' * 64}.json").read_text(encoding="utf-8")
    assert key not in content
    assert "sk-planted" not in content
    assert Replies(tmp_path).find("a" * 64) == reply._replace(text="you said [key]")


def test_many_writers_leave_one_whole_file_and_no_drafts(tmp_path: Path) -> None:
    replies = [REPLY._replace(text=str(i) * 5000) for i in range(10)]

    def write(reply: Reply) -> None:
        Replies(tmp_path).keep("a" * 64, "{}", reply)
        assert Replies(tmp_path).find("a" * 64) in replies

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, replies * 5))
    assert [path.name for path in (tmp_path / "aa").iterdir()] == [f"{'a' * 64}.json"]


def test_an_identity_tells_apart_whatever_changes_a_reply() -> None:
    turns, sampling = ASKED.messages, ASKED.sampling
    requests = [
        ASKED,
        ChatRequest(turns[1:], sampling),
        ChatRequest(turns, sampling._replace(temperature=None)),
        ChatRequest(turns, sampling._replace(max_tokens=9)),
        ChatRequest(turns, sampling._replace(stop=("x",))),
        ChatRequest(turns, sampling, sample_index=1),
        ChatRequest(turns, sampling, schema={"type": "object"}),
        ChatRequest((*turns, Message("assistant", "{")), sampling),
    ]
    names = {identity(request, CLIENT) for request in requests} | {identity(ASKED, {**CLIENT, "model": "n"})}
    assert len(names) == len(requests) + 1
    assert all(len(name) == 64 for name in names)


def test_an_identity_does_not_depend_on_the_order_of_keys() -> None:
    one = ChatRequest(ASKED.messages, ASKED.sampling, schema={"type": "object", "required": ["a"]})
    other = ChatRequest(ASKED.messages, ASKED.sampling, schema={"required": ["a"], "type": "object"})
    assert identity(one, CLIENT) == identity(other, dict(reversed(CLIENT.items())))


def test_the_identities_of_paid_replies_stay_what_they_are() -> None:
    """Whoever changes the canonical form lets everybody pay for everything again."""
    assert canonical(ASKED, CLIENT) == (
        '{"client":{"model":"m","provider":"openai","service":"s"},'
        '"messages":[["system","be brief"],["user","Größe?"]],"sample_index":0,'
        '"sampling":{"max_tokens":512,"seed":null,"stop":[],"temperature":0.0,"top_p":null},"schema":null}'
    )
    assert identity(ASKED, CLIENT) == digest(canonical(ASKED, CLIENT))
