"""What a text baseline reads of a task whose capture is made while its subject answers.

A probe of such a task reads activations at the response, which have met the whole prompt: beside it stand a baseline on
the text that was answered, one on the response alone, and one on both.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from candor import tables
from candor.baselines.text import TextError
from candor.schemas.generation import GENERATION
from candor.schemas.status import SCORED

Reads = Literal["text", "response", "both"]


def as_read(rows: Sequence[Mapping[str, Any]], reads: Reads, responses: Sequence[Path]) -> list[dict[str, Any]]:
    """Dataset rows with the messages that a baseline reads; `responses` are the shards of the subject's generations.

    Where the response was lost there is nothing to read, so that the example is `empty` and gets no score.
    """
    if reads == "text":
        return [dict(row) for row in rows]
    if not responses:
        raise TextError(f"a baseline that reads {reads!r} needs the subject's responses; give their files.")
    table = pa.concat_tables([tables.read(path, GENERATION) for path in responses])
    answered = {
        row["example_id"]: row["text"] if row["status"] in SCORED else None
        for row in table.select(["example_id", "sample_index", "text", "status"]).to_pylist()
        if row["sample_index"] == 0
    }
    if lacking := [row["example_id"] for row in rows if row["example_id"] not in answered]:
        raise TextError(
            f"{responses[0]}: has no response to {len(lacking)} examples, as {lacking[0]!r}; "
            "it answers another version of the dataset: make it again."
        )
    return [{**row, "messages": _messages(row["messages"], answered[row["example_id"]], reads)} for row in rows]


def _messages(asked: list[dict[str, str]], text: str | None, reads: Reads) -> list[dict[str, str]]:
    response = [] if text is None else [{"role": "assistant", "content": text}]
    return [*asked, *response] if reads == "both" and response else response
