"""Keys of services: from the environment or .env, and out of every text that is kept, printed or raised."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from candor.config.clients import RemoteClient
from candor.errors import CandorError

HIDDEN = "[key]"
SHORTEST = 6
"""Shorter strings are no keys, and would be found in any text."""


class MissingKey(CandorError):
    """A client's key is not there, or cannot be one; the message names the variable, never the key."""


def key_of(config: RemoteClient) -> str | None:
    """The key of a client; None for a server without keys. What is set in the environment goes before .env."""
    name = config.key_variable
    if name is None:
        return None
    read_dotenv()
    key = os.environ.get(name, "").strip()
    if not key:
        raise MissingKey(
            f"the client of {config.model!r} ({config.provider}) needs a key: set {name} in the environment or in the "
            "file .env of this folder, or give the client another key_variable (null for a server without keys)."
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise MissingKey(f"{name} holds characters that no key has, such as spaces; set it again.")
    return key


def read_dotenv(folder: Path | None = None) -> None:
    """Set what the working folder's .env has and the environment has not."""
    path = (folder or Path.cwd()) / ".env"
    if path.is_file():
        from dotenv import load_dotenv

        load_dotenv(path, override=False)


def scrub(text: str, keys: Sequence[str]) -> str:
    """A text without the keys, in whichever form they may stand in it."""
    for key in keys:
        if len(key) >= SHORTEST:
            for form in {key, quote(key, safe=""), json.dumps(key)[1:-1]}:
                text = text.replace(form, HIDDEN)
    return text
