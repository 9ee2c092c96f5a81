"""The section `datasets`: rows of a source, of another dataset, of generations or of labels, as examples."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from candor.config.base import ID_PATTERN, Id, Section
from candor.config.origins import grader_of

Origin = Annotated[
    str,
    StringConstraints(
        pattern=rf"^((sources|datasets)/{ID_PATTERN}|generations(/{ID_PATTERN}){{3}}|labels(/{ID_PATTERN}){{2}}"
        rf"|labels/{ID_PATTERN}/verbalisations(/{ID_PATTERN}){{3}})$"
    ),
]
SplitName = Literal["train", "validation", "test"]


class Split(Section):
    """How groups are dealt out to splits; a group is never torn apart."""

    test: float = Field(0.0, ge=0, le=1, description="Share of the groups that go to the split test.")
    validation: float = Field(0.0, ge=0, lt=1, description="Share of the groups that go to the split validation.")
    seed: int = Field(0, description="Seed of the draw.")

    @model_validator(mode="after")
    def _within_one(self) -> "Split":
        if self.test + self.validation > 1:
            raise ValueError(f"deals out {self.test:g} + {self.validation:g} of the groups, more than all of them")
        return self


class Step(Section):
    """One transform of a recipe."""

    transform: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="Name of a module in scripts/candor/data/transforms/."
    )
    options: dict[str, Any] = Field({}, description="Options of the transform; each names its own.")


class Recipe(Step):
    """How examples are made from rows."""

    origin: Origin = Field(
        description=(
            "Where rows come from: sources/ID; datasets/ID, generations/SAMPLING/SUBJECT/DATASET, "
            "labels/JUDGE/DATASET or labels/JUDGE/verbalisations/VERBALISER/CAPTURE/DATASET for a derived dataset."
        )
    )
    then: list[Step] = Field([], description="Further transforms, each of the examples that the one before it gave.")
    also: list[Id] = Field(
        [], description="Datasets whose examples are added, as they are, after the last step; ids must differ."
    )
    exclude: list[Id] = Field(
        [],
        description="Datasets of which no example is met again: those with the id, the group or the user's words of "
        "one of theirs, case and spacing aside, or nearly these words, are left out and counted.",
    )
    exclude_similarity: float | None = Field(
        0.8,
        gt=0,
        le=1,
        description="With exclude: Jaccard similarity of word 3-grams of user text from which words are nearly the "
        "same, as for the leakage gates; null: only the very same words count.",
    )
    split: Split | SplitName | None = Field(
        None,
        description="Shares by group, or one split for all rows; without it each row keeps the split its origin gave.",
    )
    duplicates: Literal["drop", "keep", "fail"] = Field(
        "drop",
        description="What to do with a text that repeats within a split; the first one stays, drops are counted. A "
        "dataset that was only graded keeps all.",
    )
    limit: int | None = Field(
        None, gt=0, description="Keep at most this many groups, drawn with the seed of the split."
    )

    def steps(self) -> list[Step]:
        """All transforms, in order."""
        return [self, *self.then]

    @property
    def relabels(self) -> str | None:
        """Id of the dataset whose examples these are, all and in its order, with a grader's labels; None for others.

        Activations of that dataset are theirs too. Splits dealt out anew, further steps and other datasets' examples
        make it a dataset of its own.
        """
        own = self.split is None and self.limit is None and not (self.then or self.also or self.exclude)
        graded = self.transform == "graded" and grader_of(self.origin) is not None
        return self.origin.rsplit("/", 1)[1] if own and graded else None


class Dataset(Recipe):
    """Examples in the dataset contract, and what the leakage gates let pass."""

    allow_near: list[tuple[str, str]] = Field(
        [], description="Pairs of example ids, of this dataset or of this and a training set, that may be alike."
    )
    similarity: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of word 3-grams of user text from which two texts are near-duplicates.",
    )
