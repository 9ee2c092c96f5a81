"""What a job's parts give one another: a chat verbaliser's client, and a verbaliser that is ready for its texts."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from candor.chat.messages import Client

Row = dict[str, Any]
"""A row of the verbalisation table."""


class Opened(NamedTuple):
    """A client: how it is opened, given the record of the job's table, and what of it belongs into that record."""

    opened: Callable[[Mapping[str, Any]], AbstractContextManager[Client]]
    inputs: Sequence[Path] = ()
    packages: tuple[str, ...] = ()
    facts: Mapping[str, Any] = {}


class Prepared(NamedTuple):
    """A verbaliser: how its rows are made, given the record of the job's table, and what of it belongs there.

    Unfinished work is kept until `opened` is left, which is when the table is written. It gives the rows, and what
    else the record is to say when they are there.
    """

    opened: Callable[[Mapping[str, Any]], AbstractContextManager[tuple[list[Row], Mapping[str, Any]]]]
    inputs: Sequence[Path]
    packages: tuple[str, ...]
    facts: Mapping[str, Any]
