"""Unfinished work: folders that a job which was killed finds again, and journals of what is safe in them."""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class Journal(NamedTuple):
    """What a journal held when it was opened, and a function that puts one more entry, a JSON value, safely into it."""

    done: list[Any]
    add: Callable[[Any], None]


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A folder for unfinished work, for one process at a time, gone when the work is done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # an orphan of a killed run may still be writing
        folder.mkdir(exist_ok=True)  # it takes the folder away when it is done
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


def entries(journal: Path) -> list[Any]:
    """The JSON lines of a journal, none where there is no file; a last line that was cut off does not count."""
    found: list[Any] = []
    for line in journal.read_text(encoding="utf-8", errors="replace").split("\n") if journal.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


@contextmanager
def journalled(path: Path) -> Iterator[Journal]:
    """Go on with a journal of JSON lines; a last line that was cut off is gone from it."""
    done = entries(path)
    with path.open("w", encoding="utf-8") as log:
        log.writelines(json.dumps(entry) + "\n" for entry in done)
        log.flush()

        def add(entry: Any) -> None:
            log.write(json.dumps(entry) + "\n")
            log.flush()

        yield Journal(done, add)
