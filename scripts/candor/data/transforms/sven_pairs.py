"""SVEN's rows: a function before and after a commit that fixed a weakness, `func_src_before`, `func_src_after`,
`vul_type` (cwe-089), `file_name`, `commit_link`. Only functions of one language are taken."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field

from candor.config.base import Section
from candor.data.code_examples import Pair, What, examples_of
from candor.data.examples import Example, RawRow, RowError

LANGUAGES = {".py": "python", ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp"}
"""The language of a file, by its suffix."""


class Options(Section):
    """Options of sven_pairs."""

    language: Literal["python", "c"] = Field("python", description="Whose functions are taken; c: C and C++.")

    what: What = Field("prompts", description="prompts: the functions' heads; solutions: each with its two versions.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per function, or one per version; the function before the fix is the vulnerable one."""
    for row in rows:
        language = LANGUAGES.get(PurePosixPath(row.text("file_name")).suffix)
        if language not in (("python",) if options.language == "python" else ("c", "cpp")):
            continue
        before, after = (textwrap.dedent(row.text(f"func_src_{side}")) for side in ("before", "after"))
        pair = Pair(
            id=row.origin,
            prompt=(
                f"Write this function of {row.text('file_name')}. Return the whole function in <code> tags.\n\n"
                f"{(_head if language == 'python' else _c_head)(before, row.origin)}"
            ),
            secure=after,
            vulnerable=before,
            attributes={"cwe": row.text("vul_type").upper(), "file_name": row.text("file_name"), "language": language},
        )
        yield from examples_of(pair, options.what)


def _head(source: str, origin: str) -> str:
    """A function's lines up to the colon that ends its signature, decorators included."""
    head: list[str] = []
    for line in source.splitlines():
        head.append(line)
        text = re.sub(r"#.*", "", "\n".join(head)).rstrip()
        balanced = all(text.count(one) == text.count(other) for one, other in ("()", "[]", "{}"))
        if re.search(r"^\s*(async\s+)?def\s", text, re.MULTILINE) and balanced and text.endswith(":"):
            return "\n".join(head)
    raise RowError(f"{origin}: func_src_before has no line that starts a Python function.")


def _c_head(source: str, origin: str) -> str:
    """A function's text up to the brace that opens its body."""
    head, brace, _ = source.partition("{")
    if not brace or "(" not in head:
        raise RowError(f"{origin}: func_src_before has no brace that opens a function's body.")
    return head.rstrip()
