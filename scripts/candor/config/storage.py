"""The section `run.storage`: which results lie in buckets."""

import re

from pydantic import Field, field_validator

from candor.config.base import Section

BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_.-]+)*/?")


class Storage(Section):
    """Buckets that keep results, by folder of results/; a folder without one is kept on the disk alone."""

    datasets: str | None = Field(None, description="Bucket of results/data/, as s3://BUCKET or s3://BUCKET/PREFIX.")
    activations: str | None = Field(None, description="Bucket of results/activations/, written likewise.")

    @field_validator("datasets", "activations")
    @classmethod
    def _names_a_bucket(cls, url: str | None) -> str | None:
        # a URL with credentials is not repeated
        if url is not None and not BUCKET.fullmatch(url):
            raise ValueError(
                "is not s3://BUCKET or s3://BUCKET/PREFIX (lower-case bucket names); the server's address and the "
                "credentials belong in the environment: docs/storage.md"
            )
        return url
