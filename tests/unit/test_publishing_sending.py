"""Files are sent to a hub on loopback: whole or not at all, once, privately, and its refusals are sentences."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from candor.config.publishing import Publication
from candor.publishing.chosen import PublishingError
from candor.publishing.sending import Content, Sent, send
from tests.hub_server import Hub, Repository

SCRIPTS = Path(__file__).parents[2] / "scripts"
TOKEN, READER = "hf_NobodyMayEverReadThis", "hf_OfSomebodyElse"
CARD = b"---\nlicense: mit\n---\n\n# results\n"
SENDER = """
import json, sys
from pathlib import Path
from candor.config.publishing import Publication
from candor.publishing.sending import send
told = json.load(sys.stdin)
files = {place: Path(path) for place, path in told["files"].items()}
send(Publication.model_validate(told["publication"]), files, told["token"])
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub where TOKEN may write what is `own`; huggingface_hub asks it and nobody else."""
    with Hub(tokens={TOKEN: ["own"], READER: []}) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield hub


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Content]:
    """A card, and two large files."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.parquet").write_bytes(b"PAR1\0" + name.encode() * 1000)
    return {"README.md": CARD} | {f"data/{name}.parquet": tmp_path / f"{name}.parquet" for name in ("one", "two")}


def publication(**changes: object) -> Publication:
    told = {"kind": "dataset", "repository": "own/results", "what": ["data/one", "data/two"]}
    return Publication.model_validate({**told, **changes})


def held(hub: Hub, kind: str = "dataset", id: str = "own/results") -> dict[str, bytes]:
    """What is on the main branch of a repository."""
    repository = hub.repositories[kind, id]
    return dict(repository.commits[repository.branches["main"]])


def content(files: dict[str, Content]) -> dict[str, bytes]:
    return {place: file if isinstance(file, bytes) else file.read_bytes() for place, file in files.items()}


def sent_to_store(hub: Hub) -> int:
    return sum(request.startswith("PUT /store/") for request in hub.requests)


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_a_repository_is_made_private_and_holds_the_files(hub: Hub, files: dict[str, Content], kind: str) -> None:
    what = ["data/one"] if kind == "dataset" else ["adapters/one"]
    sent = send(publication(kind=kind, what=what), files, TOKEN)
    repository = hub.repositories[kind, "own/results"]
    assert repository.private
    assert held(hub, kind) == content(files)
    assert repository.messages == [f"Publish {what[0]}"]
    assert (sent.new, sent.there) == (list(files), [])
    assert sent.url.startswith(hub.url)


def test_what_is_there_is_not_sent_again(hub: Hub, files: dict[str, Content]) -> None:
    send(publication(), files, TOKEN)
    before = len(hub.requests)
    again = send(publication(), files, TOKEN)
    assert (again.new, again.there) == ([], list(files))
    assert not any("commit" in request or "PUT" in request for request in hub.requests[before:])
    assert len(hub.repositories["dataset", "own/results"].messages) == 1


def test_only_what_changed_is_sent_and_nothing_else_is_touched(hub: Hub, files: dict[str, Content]) -> None:
    there = Repository(
        "dataset", "own/results", {"a" * 40: {"notes.txt": b"by hand"}}, {"main": "a" * 40}, private=True
    )
    hub.repositories["dataset", "own/results"] = there
    send(publication(), files, TOKEN)
    one = files["data/one.parquet"]
    assert isinstance(one, Path)
    one.write_bytes(b"PAR1\0changed")
    sent = send(publication(), files, TOKEN)
    assert sent == Sent(["data/one.parquet"], ["README.md", "data/two.parquet"], sent.url)
    assert held(hub) == {"notes.txt": b"by hand", **content(files)}
    assert sent_to_store(hub) == 3


def test_a_public_repository_is_made_only_where_the_config_says_so(hub: Hub, files: dict[str, Content]) -> None:
    send(publication(private=False), files, TOKEN)
    assert not hub.repositories["dataset", "own/results"].private
    before = len(hub.requests)
    with pytest.raises(PublishingError, match=r"is public, and publishing says private: true; .*Nothing was sent"):
        send(publication(), {**files, "README.md": CARD + b"more"}, TOKEN)
    assert all(request.startswith("GET") for request in hub.requests[before:])


@pytest.mark.parametrize(
    ("token", "repository", "sentence"),
    [
        ("hf_NotKnown", "own/results", "the hub does not know the token, or does not show it this repository; check"),
        (READER, "own/results", "the token may not write there; give HF_TOKEN write access to it"),
        (TOKEN, "others/results", "the token may not write there; give HF_TOKEN write access to it"),
    ],
)
def test_a_token_that_may_not_write_is_one_sentence(
    hub: Hub, files: dict[str, Content], token: str, repository: str, sentence: str
) -> None:
    with pytest.raises(PublishingError) as refused:
        send(publication(repository=repository), files, token)
    assert str(refused.value).startswith(f"dataset {repository}: {sentence}")
    assert "\n" not in str(refused.value)
    assert token not in str(refused.value)
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ("POST /api/repos/create", 500, "the hub is not ready (500); run the same command again later"),
        ("/paths-info/", 429, "the hub is not ready (429); run the same command again later"),
        ("PUT /store/", 400, "the hub refuses ("),
        ("/commit/", 413, "the hub refuses ("),
        ("/commit/", 403, "the token may not write there"),
    ],
)
def test_a_server_s_refusal_is_one_sentence_and_the_next_run_goes_on(
    hub: Hub, files: dict[str, Content], request_: str, status: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fails = lambda request: status if request_ in request else None
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(PublishingError) as refused:
        send(publication(), files, TOKEN)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert TOKEN not in str(refused.value)
    hub.fails = lambda request: None
    send(publication(), files, TOKEN)
    assert held(hub) == content(files)


def test_a_hub_out_of_reach_is_one_sentence(files: dict[str, Content], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(PublishingError, match=r"^dataset own/results: the hub cannot be reached \(ConnectError\)"):
        send(publication(), files, TOKEN)


def test_a_hub_that_is_switched_off_is_one_sentence(files: dict[str, Content], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PublishingError, match="HF_HUB_OFFLINE is set; unset it to publish"):
        send(publication(), files, TOKEN)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["PUT /store/", "POST .*/commit/"], ids=["a large file", "the commit"])
def test_a_sender_that_was_killed_goes_on_to_the_same_repository(
    hub: Hub, files: dict[str, Content], tmp_path: Path, moment: str
) -> None:
    (tmp_path / "README.md").write_bytes(CARD)
    (tmp_path / "two.parquet").write_bytes(bytes(2**25))  # more than fits between the two
    paths = {place: str(tmp_path / Path(place).name) for place in files}
    told = json.dumps({"publication": publication().model_dump(), "files": paths, "token": TOKEN})
    own = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(SCRIPTS)}
    with hub.holding(moment) as came:
        sender = subprocess.Popen([sys.executable, "-c", SENDER], stdin=subprocess.PIPE, env={**os.environ, **own})
        assert sender.stdin is not None
        sender.stdin.write(told.encode())
        sender.stdin.close()
        assert came.wait(300)
        sender.kill()
        sender.wait()
        assert held(hub) == {}
        stored = set(hub.store)
    before = len(hub.requests)
    send(publication(), files, TOKEN)
    assert held(hub) == content(files)
    assert len(hub.repositories["dataset", "own/results"].messages) == 1
    assert len(stored) == (2 if "commit" in moment else 0)
    assert not any(oid in request for oid in stored for request in hub.requests[before:])
