"""Markdown of the cards: tables, code and numbers, the same text for the same results."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; None is a dash."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def code(text: str, language: str = "python") -> str:
    """A block of code."""
    return f"```{language}\n{text.strip()}\n```"


def settings(value: Mapping[str, Any]) -> str:
    """A part of the config, as JSON."""
    return code(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False), "json")


def measured(
    header: Sequence[str], rows: Sequence[Mapping[str, Any]], cells: Callable[[Mapping[str, Any]], Sequence[object]]
) -> str:
    """A table of measured rows, with what they remark in a last column where any does."""
    remarked = any(row["remark"] for row in rows)
    return table([*header, *["remark"] * remarked], [[*cells(row), *[row["remark"]] * remarked] for row in rows])


def interval(row: Mapping[str, Any]) -> str:
    """The value of a row with its interval, to three digits."""
    if row["value"] is None:
        return "–"
    if row["low"] is None or row["high"] is None:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def made_by(made: Mapping[str, Any]) -> str:
    """What made a file: script and code, device, dtype, versions."""
    where = [f"{name} {made[name]}" for name in ("device", "dtype") if made.get(name)]
    versions = [f"{name} {version}" for name, version in made["versions"].items()]
    return f"Made by `{made['script']}`, code `{made['code']}`; {', '.join(where + versions)}."


def _cell(value: object) -> str:
    return "–" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
