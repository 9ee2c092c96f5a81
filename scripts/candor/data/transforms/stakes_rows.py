"""Rows of the Models Under Pressure release: `inputs` (text, or messages as a list or as JSON), `ids`, `labels`,
`scale_labels`, and for the synthetic set `pair_id`, `split` and the attributes of the variations."""

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow, RowError, messages_of, split_of

LABELS = ("high-stakes", "low-stakes", "ambiguous")


class Options(Section):
    """Options of stakes_rows."""

    system: str | None = Field(None, description="System prompt put before dialogues that have none.")
    use_split: bool = Field(True, description="Take the rows' own split where they have one.")
    labels: Literal["required", "where given", "dropped"] = Field(
        "required",
        description="required: each row has one; where given: rows without one, as raw sets have, get none; dropped: "
        "labels and ratings are left out, say to label anew.",
    )
    attributes: list[str] = Field(
        ["topic", "role_of_user", "impact_factor", "prompt_style", "tone", "language", "length"],
        description="Fields kept as attributes, where a row has them.",
    )


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per row; the pair is the group, or the row itself where there are no pairs."""
    for row in rows:
        label = _label(row, options.labels)
        messages = messages_of(row.get("inputs"), row.origin)
        if options.system is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": options.system})
        example_id = row.id("ids")
        split = row.fields.get("split") if options.use_split else None
        yield Example(
            example_id=example_id,
            group_id=example_id if row.fields.get("pair_id") in (None, "") else row.id("pair_id"),
            messages=messages,
            label=label,
            rating=None if options.labels == "dropped" else row.number("scale_labels"),
            split=None if split is None else split_of(split, row.origin),
            attributes={name: row.fields[name] for name in options.attributes if row.fields.get(name) is not None},
        )


def _label(row: RawRow, rule: str) -> str | None:
    if rule == "dropped" or (rule == "where given" and row.fields.get("labels") in (None, "")):
        return None
    label = row.text("labels")
    if label not in LABELS:
        raise RowError(f"{row.origin}: labels is {label!r}, which is not one of {', '.join(LABELS)}.")
    return label
