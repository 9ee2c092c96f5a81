"""The section `panels`: judges of the same texts, held against each other and against a dataset's labels."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, StringConstraints, model_validator

from candor.config.base import ID_PATTERN, Id, Section
from candor.config.origins import Verbalised, verbalised_in

Texts = Annotated[
    str, StringConstraints(pattern=rf"^(datasets/{ID_PATTERN}|(generations|verbalisations)(/{ID_PATTERN}){{3}})$")
]


class Panel(Section):
    """Judges that gave verdicts on the same texts."""

    title: str = Field(description="What is judged, as figures print it.")
    texts: Texts = Field(
        description="The texts: generations/SAMPLING/SUBJECT/DATASET for a subject's responses, datasets/DATASET for "
        "the dataset's own answers, verbalisations/VERBALISER/CAPTURE/DATASET for what was put into words of it."
    )
    by: Literal["place", "example"] = Field(
        "place",
        description="Of verbalisations: place: each one is a text; example: what most of an example's places get, as "
        "transform `graded` has it.",
    )
    judges: list[Id] = Field(min_length=1, description="Ids of the judges.")
    gold: bool | dict[str, str] = Field(
        False,
        description="Hold the judges against the dataset's labels: true where labels are verdicts, or the verdict that "
        "is right by label; labels left out have none. Not on generations.",
    )
    positive: str | None = Field(
        None,
        description="Where gold has two verdicts, the one whose sensitivity and specificity are told; without it, "
        "those of both.",
    )
    bootstrap: PositiveInt = Field(2000, description="Draws of the bootstrap, where an interval needs one.")
    seed: int = Field(0, description="Seed of the bootstrap.")

    @model_validator(mode="after")
    def _has_something_to_compare(self) -> "Panel":
        for id in self.judges:
            if self.judges.count(id) > 1:
                raise ValueError(f"names {id!r} twice among its judges")
        if self.gold is False and len(self.judges) == 1:
            raise ValueError("names one judge and no `gold`, so there is nothing to compare it with")
        if self.gold == {}:
            raise ValueError("has an empty `gold`; name the verdict that is right by label, or leave it out")
        if self.gold is not False and self.generations is not None:
            raise ValueError(f"names `gold`, but {self.texts} are responses, which have no labels; take a dataset")
        if self.by == "example" and self.verbalised is None:
            raise ValueError(f"has `by: example`, but {self.texts} have no places; leave it out")
        if self.positive is not None and self.gold is False:
            raise ValueError("names `positive`, but no `gold`")
        if isinstance(self.gold, dict) and self.positive not in (None, *self.gold.values()):
            raise ValueError(f"names {self.positive!r} as `positive`, which is none of the verdicts of its `gold`")
        return self

    @property
    def dataset(self) -> str:
        """Id of the dataset that the texts belong to, or answer."""
        return self.texts.rsplit("/", 1)[1]

    @property
    def generations(self) -> tuple[str, str] | None:
        """Ids of the sampling and the subject; None where no responses are judged."""
        if not self.texts.startswith("generations/"):
            return None
        _, sampling, subject, _ = self.texts.split("/")
        return sampling, subject

    @property
    def verbalised(self) -> Verbalised | None:
        """Ids of the verbaliser, the capture and the dataset; None where no verbalisations are judged."""
        return verbalised_in(self.texts)

    def right(self, label: str | None) -> str | None:
        """The verdict that is right on a text with this label; None where there is none."""
        if isinstance(self.gold, dict):
            return None if label is None else self.gold.get(label)
        return label if self.gold else None
