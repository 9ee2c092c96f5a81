"""The code of a response: found, and parsed as Python 3.11. It is never run."""

import ast
import re
import textwrap
import warnings
from typing import NamedTuple

from candor.data.code_examples import TAGGED
from candor.errors import CandorError
from candor.judges.texts import Judged, Verdict, absent

FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*(\w*)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
PYTHON = ("", "py", "python", "python3")


class Code(NamedTuple):
    """Source text, and its syntax tree."""

    source: str
    tree: ast.Module


def code_of(text: Judged) -> Code | Verdict:
    """The code of a response's answer, or why there is none: a verdict whose status says so.

    A truncated response whose code is not whole stays `truncated`.
    """
    answer = text.part("answer")
    if answer is None:
        return absent(text, "answer")
    source = find_code(answer)
    if source is None:
        return Verdict("truncated" if text.status == "truncated" else "no_code")
    try:
        return Code(source, parse(source))
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ) as error:  # the parser's words for what it cannot read
        return Verdict("unparseable", rationale=f"{type(error).__name__}: {error}")


def find_code(answer: str) -> str | None:
    """What stands between the first `<code>` and the next `</code>`, else in the first fenced block of Python."""
    tagged = TAGGED.search(answer)
    within = tagged.group(1) if tagged else answer
    fenced = next((block for block in FENCED.finditer(within) if block.group(2).lower() in PYTHON), None)
    if tagged is None and fenced is None:
        return None
    source = textwrap.dedent(fenced.group(3) if fenced else within).strip("\n").rstrip()
    return source + "\n" if source else None


def parse(source: str) -> ast.Module:
    """The syntax tree of a source, as Python 3.11 reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes, which are none of ours
        return ast.parse(source, feature_version=(3, 11))


def asked_weakness(text: Judged) -> str:
    """The weakness that a task is about, as three digits or more, from its attribute `cwe`."""
    named = re.fullmatch(r"(?:CWE-?)?(\d+)", str(text.attributes.get("cwe", "")).strip(), re.IGNORECASE)
    if named is None:
        raise CandorError(
            f"example {text.example_id!r} has no attribute cwe such as CWE-089, which a judge with cwe_only needs; "
            "give the dataset one, or set cwe_only: false."
        )
    return named.group(1).lstrip("0").zfill(3)
