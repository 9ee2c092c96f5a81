"""The section `sources`: raw rows, before any transform."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from candor.config.base import Section

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Source(Section):
    licence: str = Field("unknown", description="Licence of the data.")


class ResourceSource(_Source):
    """Files that ship with this project."""

    kind: Literal["resources"] = Field(description="Rows ship with this project.")
    files: list[str] = Field(min_length=1, description="Paths below resources/, read one after the other.")


class LocalSource(_Source):
    """Files on this machine."""

    kind: Literal["local"] = Field(description="Rows lie on this machine.")
    files: list[str] = Field(
        min_length=1,
        description=(
            "Paths (parquet, jsonl, json, csv, txt; .gz too), read one after the other; $NAME is the environment's. A "
            "line of a txt file is a row with the fields text and file, the file's name without its ending."
        ),
    )


class UrlSource(_Source):
    """Files on the web."""

    kind: Literal["url"] = Field(description="Rows are downloaded.")
    urls: list[str] = Field(min_length=1, description="http(s) addresses, read one after the other; no credentials.")
    sha256: list[Sha256] | None = Field(
        None, description="Digest of each file; without it the digests of the first download are recorded."
    )

    @model_validator(mode="after")
    def _no_credentials(self) -> "UrlSource":
        from urllib.parse import urlsplit

        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https"):
                raise ValueError(f"{url!r} is not an http or https address")
            if "@" in parts.netloc:
                raise ValueError(f"the address of {parts.hostname} holds credentials; put them in the environment")
        if self.sha256 is not None and len(self.sha256) != len(self.urls):
            raise ValueError(f"has {len(self.urls)} urls and {len(self.sha256)} digests; give one digest per url")
        return self


class HubSource(_Source):
    """A dataset on the Hugging Face hub."""

    kind: Literal["hub"] = Field(description="Rows come from the Hugging Face hub.")
    id: str = Field(description="Dataset on the hub, owner/name.")
    revision: str | None = Field(
        None, description="Commit, tag or branch; without it the current commit is resolved once and recorded."
    )
    config: str | None = Field(None, description="Name of the dataset's configuration.")
    split: str = Field("train", description="Split of the dataset.")
    files: list[str] | None = Field(
        None, description="Files of the repository to read instead of the dataset's own configuration."
    )


Source = Annotated[ResourceSource | LocalSource | UrlSource | HubSource, Field(discriminator="kind")]
