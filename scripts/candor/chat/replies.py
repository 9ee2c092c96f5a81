"""The cache of raw replies, by the identity of the request: below CANDOR_CACHE, apart from results/.

`ab/<identity>.json` holds the request in canonical form and the raw reply, no key and no header. It is written whole or
not at all, so any number of processes may read and write at once, on a shared file system too. Beside it
`ab/<identity>.attempts` grows by a byte before each sending, so that a sending that a kill cut short is counted.
"""

import json
import os
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from candor.cache import cache_folder
from candor.chat.keys import scrub


class Reply(NamedTuple):
    """A reply as it came: `finish` is the provider's word for its end, `model` the one that the service says it ran.

    `tokens_in` and `tokens_out` are the service's count, or an estimate from the text where `counted` is false. `batch`
    says that it came by a batch endpoint, `usd` what it cost at the client's price of that day. `reasoning` is what the
    service gives apart from the text.
    """

    status: Literal["ok", "truncated", "refused"]
    text: str
    finish: str | None
    tokens_in: int
    tokens_out: int
    model: str | None
    counted: bool = True
    batch: bool = False
    usd: float = 0.0
    reasoning: str | None = None


class Replies:
    """The replies below a folder; the default is the one that all studies share."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder("replies")
        self._damaged = False

    def find(self, identity: str) -> Reply | None:
        """The reply to a request; None where there is none, or only a damaged file."""
        try:
            content = self._path(identity, "json").read_bytes()
        except FileNotFoundError:
            return None
        try:
            reply = Reply(**json.loads(content)["reply"])
            _check(reply)
        except (ValueError, TypeError, KeyError):
            if not self._damaged:
                self._damaged = True
                print(
                    f"the cached reply {self._path(identity, 'json')} is damaged and counts as absent; others may be.",
                    file=sys.stderr,
                )
            return None
        return reply

    def keep(self, identity: str, request: str, reply: Reply, keys: Sequence[str] = ()) -> None:
        """Write a reply and its canonical request, whole or not at all; keys that either holds are left out."""
        path = self._path(identity, "json")
        answer = json.dumps(reply._asdict(), ensure_ascii=False, separators=(",", ":"))
        content = scrub(f'{{"request":{request},"reply":{answer}}}\n', keys).encode("utf-8", "replace")
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            descriptor = _open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(draft, path)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise

    def sending(self, identity: str) -> None:
        """Count one sending of a request; called before it."""
        descriptor = _open(self._path(identity, "attempts"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(descriptor, b".")
        finally:
            os.close(descriptor)

    def attempts(self, identity: str) -> int:
        """How often a request was ever sent, over all runs."""
        try:
            return self._path(identity, "attempts").stat().st_size
        except FileNotFoundError:
            return 0

    def _path(self, identity: str, kind: str) -> Path:
        return self.folder / identity[:2] / f"{identity}.{kind}"


def _check(reply: Reply) -> None:
    numbers = (reply.tokens_in, reply.tokens_out, reply.usd)
    if not isinstance(reply.text, str) or not isinstance(reply.reasoning, str | None):
        raise ValueError
    if reply.status not in ("ok", "truncated", "refused"):
        raise ValueError
    if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
        raise ValueError


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)
