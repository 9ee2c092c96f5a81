"""Pairs whose two sides a judge labelled differently, neither of them as ambiguous (docs/high_stakes.md)."""

from collections.abc import Iterable

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow, Reported, RowError

READS = "examples"


class Options(Section):
    """Options of consistent_pairs."""

    labels: tuple[str, str] = Field(
        ("high-stakes", "low-stakes"), description="The two labels of a pair, of the side meant as high and as low."
    )
    pair: str | None = Field("pair", description="Attribute that names the pair; null: the group is the pair.")
    as_intended: bool = Field(False, description="Drop pairs, too, whose labels are the other way round than meant.")


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """The examples of the pairs that are kept; the others are counted by why they are not."""
    pairs: dict[str, list[Example]] = {}
    examples = [Example(**row.fields) for row in rows]
    for example in examples:
        pairs.setdefault(_name(example, options.pair), []).append(example)
    reasons = {name: _reason(pair, options) for name, pair in pairs.items()}
    kept = [example for example in examples if reasons[_name(example, options.pair)] is None]
    counts = dict.fromkeys(("incomplete", "ambiguous", "same_label", "reversed"), 0)
    for reason in filter(None, reasons.values()):
        counts[reason] += 1
    return Reported(kept, {"pairs": len(pairs), "pairs_dropped": counts})


def _name(example: Example, attribute: str | None) -> str:
    if attribute is None:
        return example.group_id
    if attribute not in example.attributes:
        raise RowError(
            f"{example.example_id}: has no attribute {attribute}; set `pair` to the one that names the pair."
        )
    return str(example.attributes[attribute])


def _reason(pair: list[Example], options: Options) -> str | None:
    """Why a pair is not kept; None where it is."""
    labels = [example.label for example in pair]
    if len(pair) != 2 or None in labels:
        return "incomplete"
    if not set(labels) <= set(options.labels):
        return "ambiguous"
    if labels[0] == labels[1]:
        return "same_label"
    meant = dict(zip(("high", "low"), options.labels, strict=True))
    turned = any(meant.get(str(example.attributes.get("intended")), example.label) != example.label for example in pair)
    return "reversed" if turned and options.as_intended else None
