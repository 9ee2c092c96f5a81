"""The code of a response: found in any language, and parsed where it is Python 3.11. It is never run."""

import ast
import re
import textwrap
import warnings
from collections.abc import Collection
from typing import NamedTuple

from candor.data.code_examples import TAGGED
from candor.errors import CandorError
from candor.judges.texts import Judged, Verdict, absent

FENCED = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*(\w*(?:\+\+|#)?)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE
)
UNNAMED = ""
"""The language of a fence that names none, or of code without a fence."""
PYTHON = (UNNAMED, "py", "python", "python3")


class Snippet(NamedTuple):
    """Source text, and the language that its fence names, in lower case."""

    source: str
    language: str


class Code(NamedTuple):
    """Source text, and its syntax tree."""

    source: str
    tree: ast.Module


def code_of(text: Judged) -> Code | Verdict:
    """The Python code of a response's answer, or why there is none: a verdict whose status says so."""
    found = snippet_of(text, PYTHON)
    if isinstance(found, Verdict):
        return found
    try:
        return Code(found.source, parse(found.source))
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ) as error:  # the parser's words for what it cannot read
        return Verdict("unparseable", rationale=f"{type(error).__name__}: {error}")


def snippet_of(text: Judged, languages: Collection[str]) -> Snippet | Verdict:
    """The code of a response's answer in one of some languages, or a verdict whose status says why there is none.

    A truncated response whose code is not whole stays `truncated`.
    """
    answer = text.part("answer")
    if answer is None:
        return absent(text, "answer")
    return find_snippet(answer, languages) or Verdict("truncated" if text.status == "truncated" else "no_code")


def find_code(answer: str, languages: Collection[str] | None = PYTHON) -> str | None:
    """The source that `find_snippet` finds."""
    found = find_snippet(answer, languages)
    return None if found is None else found.source


def find_snippet(answer: str, languages: Collection[str] | None) -> Snippet | None:
    """What stands between the first `<code>` and the next `</code>`, else in the first fence of one of the languages.

    A fence within the tags is taken off. `languages` are names as fences have them; None takes a fence of any.
    """
    tagged = TAGGED.search(answer)
    within = tagged.group(1) if tagged else answer
    fences = ((block.group(2).lower(), block.group(3)) for block in FENCED.finditer(within))
    fenced = next((each for each in fences if languages is None or each[0] in languages), None)
    if tagged is None and fenced is None:
        return None
    language, source = fenced or (UNNAMED, within)
    source = textwrap.dedent(source).strip("\n").rstrip()
    return Snippet(source + "\n", language) if source else None


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
