"""The section `publishing`: which results go to which repositories of the hub."""

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from candor.config.base import ID_PATTERN, Section

Result = Annotated[
    str, StringConstraints(pattern=rf"^(data/{ID_PATTERN}|adapters/{ID_PATTERN}|probes/{ID_PATTERN}/{ID_PATTERN})$")
]
"""A result by its place in results/, without ending: data/DATASET, adapters/ADAPTER or probes/TASK/PROBE."""
STAGES = {"dataset": ("data",), "model": ("adapters", "probes")}
"""Kind of repository -> stages whose results it takes."""
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Publication(Section):
    """One repository of the hub, and what goes there. Nothing of it is part of a job."""

    kind: Literal["dataset", "model"] = Field(
        description="Kind of the repository: dataset takes data, model takes adapters and probes."
    )
    repository: str = Field(description="The repository on the hub, owner/name; made where it is not there yet.")
    private: bool = Field(
        True, description="Whether only its owners see it. Nothing is sent to a public repository while this is true."
    )
    what: list[Result] = Field(
        min_length=1, description="Results that go there: data/DATASET, adapters/ADAPTER, probes/TASK/PROBE."
    )
    licence: str | None = Field(
        None,
        min_length=1,
        description="Licence of what goes there, e.g. MIT; null: that of all sources and models it rests on, if they "
        "have one and the same.",
    )
    about: str = Field("", description="What the card says first, in Markdown.")

    @model_validator(mode="after")
    def _fits_the_hub(self) -> "Publication":
        if not REPOSITORY.fullmatch(self.repository) or re.search(r"--|\.\.", self.repository):
            raise ValueError(f"goes to {self.repository!r}, which is no repository's name of the form owner/name")
        for result in self.what:
            if self.what.count(result) > 1:
                raise ValueError(f"names {result} twice")
            if result.split("/")[0] not in STAGES[self.kind]:
                takes = " and ".join(STAGES[self.kind])
                raise ValueError(f"is of kind {self.kind}, which takes {takes}, and names {result}")
        return self
