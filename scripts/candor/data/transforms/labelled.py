"""Examples with the labels that a judge gave them."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow
from candor.schemas.status import SCORED

READS = "labels"


class Options(Section):
    """Options of labelled."""

    verdicts: list[str] | None = Field(
        None, description="Verdicts that are kept, say without `ambiguous`; all without it. No verdict is never kept."
    )


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per verdict: its label is the verdict, its rating the score; attributes keep what it replaces."""
    for row in rows:
        example, judged = row.fields["example"], row.fields["verdict"]
        verdict = judged["verdict"]
        if verdict is None or judged["status"] not in SCORED:
            continue
        if options.verdicts is not None and verdict not in options.verdicts:
            continue
        told = {
            "judge": judged["judge"],
            "confidence": judged["confidence"],
            "given_label": example["label"],
            "given_rating": example["rating"],
        }
        attributes = example["attributes"] | {key: value for key, value in told.items() if value is not None}
        yield Example(**{**example, "label": verdict, "rating": judged["score"], "attributes": attributes})
