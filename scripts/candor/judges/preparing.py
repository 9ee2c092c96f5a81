"""A judge that is ready for a job's texts, whatever its kind."""

import importlib
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from candor.config.judges import Judge
from candor.judges.texts import Judged, Verdict

Judging = Callable[[Sequence[Judged], Callable[[int], None]], list[Verdict]]
"""Gives the verdicts on texts, and tells how many texts are through."""


class Prepared(NamedTuple):
    """What of a judge belongs into the record of its table, and how it is opened.

    `opened` is given that record, and kept open until the table is written: unfinished work is kept so long.
    """

    opened: Callable[[Mapping[str, Any]], AbstractContextManager[Judging]]
    inputs: Sequence[Path] = ()
    packages: tuple[str, ...] = ()
    facts: Mapping[str, Any] = {}


def prepare(args: Namespace, config: Judge) -> Prepared:
    """Prepare a judge: as its module's own `prepare` does, for a kind that needs more than texts, or by its `judge`."""
    module = importlib.import_module(f"candor.judges.{config.kind}")
    if hasattr(module, "prepare"):
        prepared: Prepared = module.prepare(args, config)
        return prepared

    def judging(texts: Sequence[Judged], _: Callable[[int], None]) -> list[Verdict]:
        verdicts: list[Verdict] = module.judge(texts, config)
        return verdicts

    return Prepared(lambda _: nullcontext(judging), packages=module.PACKAGES)
