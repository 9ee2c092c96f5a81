"""Examples with the label that a grader gave what was put into words of them, in place of their own."""

from collections import Counter
from collections.abc import Iterable

from pydantic import Field

from candor.config.base import Section
from candor.data.examples import Example, RawRow, Reported, RowError
from candor.judges.grades import Grade, of_example

READS = "labels of verbalisations"


class Options(Section):
    """Options of graded."""

    verdicts: list[str] | None = Field(
        None,
        min_length=1,
        description="Verdicts that count, say without `none`; all without it. Another one is no grade of its place.",
    )


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """One example per example: its label is the verdict of most of its graded places, and null where there is none.

    Examples without a label stay, so that the activations of the dataset that was graded are theirs too; a task skips
    and counts them. The rating is the mean score of the places that have the label. Attributes tell of the grader, of
    the places, and what the label replaces.
    """
    examples, grades = [], []
    for row in rows:
        example = row.fields["example"]
        places = row.fields["grades"]
        grade = of_example(places, options.verdicts)
        told = {
            "judge": places[0]["judge"] if places else None,
            "places": grade.places,
            "places_graded": grade.graded,
            "places_agreeing": grade.agreeing,
            "confidence": grade.confidence,
            "given_label": example["label"],
            "given_rating": example["rating"],
        }
        attributes = example["attributes"] | {key: value for key, value in told.items() if value is not None}
        examples.append(Example(**{**example, "label": grade.label, "rating": grade.score, "attributes": attributes}))
        grades.append(grade)
    facts = _facts(grades)
    if not facts["labels"]:
        counts = ", ".join(f"{name.replace('_', ' ')} {facts[name]}" for name in ("tied", "ungraded", "not_verbalised"))
        raise RowError(f"none of {len(grades)} examples has a grade ({counts}); look at the statuses of the labels.")
    return Reported(examples, facts)


def _facts(grades: list[Grade]) -> dict[str, object]:
    """How many examples have which label, and why others have none."""
    return {
        "labels": dict(sorted(Counter(grade.label for grade in grades if grade.label is not None).items())),
        "tied": sum(grade.tied for grade in grades),
        "ungraded": sum(grade.label is None and not grade.tied and grade.places > 0 for grade in grades),
        "not_verbalised": sum(grade.places == 0 for grade in grades),
    }
