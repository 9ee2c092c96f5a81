"""What every section of the config shares."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

ID_PATTERN = r"[a-z0-9][a-z0-9_.-]*"
Id = Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN}$")]
"""An id: lower-case letters, digits, `_`, `.`, `-`; it becomes part of a path in results/."""


class Section(BaseModel):
    """A section that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
