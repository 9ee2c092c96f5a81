"""Results that lie in a bucket of a server that speaks S3: the files of one folder of results/.

A file is known by its path wherever it lies: jobs, provenance, Snakemake's records and every message say
`results/data/pairs.parquet`, a job finds it there, and the object in the bucket has that name. So a study moves between
disk and bucket without a rerun. Needs snakemake-storage-plugin-s3; only rules import this, and only where a bucket is
named.
"""

import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import floor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from snakemake_interface_storage_plugins.io import Mtime
from snakemake_interface_storage_plugins.storage_object import StorageObjectTouch
from snakemake_interface_storage_plugins.storage_provider import StorageQueryValidationResult
from snakemake_storage_plugin_s3 import DEFAULT_REGION, StorageObject

from candor.errors import CandorError

SETTINGS = {
    "endpoint_url": "endpoint_url",
    "region": "region_name",
    "access_key": "aws_access_key_id",
    "secret_key": "aws_secret_access_key",
    "token": "aws_session_token",
}
"""The plugin's names -> the client's."""
VARIABLE = "SNAKEMAKE_STORAGE_S3_{}"
RETRIES = 10
"""Of a request that fails, with growing pauses: an upload that fails for good costs its job, GPU-hours and all."""
AT_ONCE = 16
"""Requests for facts of objects that are under way at one time."""


class StorageError(CandorError):
    """A bucket cannot be used; the message says why and what to do."""


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The server's address and the credentials, by the plugin's names, as the environment has them."""
    named = {name: environment.get(VARIABLE.format(name.upper())) for name in SETTINGS}
    return {name: value for name, value in named.items() if value}


class InBucket(StorageObject, StorageObjectTouch):  # type: ignore[misc]
    """A file of results/ in a bucket, named by its path. Subclasses, from `within`, say in which."""

    bucket: str
    prefix: str
    here_alone: set[str]
    """Files that lie on this disk and not in the bucket, as far as anybody looked."""

    @classmethod
    def within(cls, url: str) -> "type[InBucket]":
        """The files that lie in a bucket, below a prefix: s3://BUCKET/PREFIX."""
        bucket, _, prefix = url.removeprefix("s3://").rstrip("/").partition("/")
        return type(
            cls.__name__, (cls,), {"bucket": bucket, "prefix": f"{prefix}/" if prefix else "", "here_alone": set()}
        )

    @classmethod
    def check(cls, named: Mapping[str, str]) -> None:
        """Refuse a bucket that the server does not show, for Snakemake would take its files for missing.

        `named` are the plugin's settings. Asks twice at most, for somebody waits for the answer.
        """
        given = {"region_name": DEFAULT_REGION} | {SETTINGS[name]: value for name, value in named.items()}
        client = boto3.client("s3", **given, config=Config(retries={"max_attempts": 1}, connect_timeout=10))
        try:
            client.list_objects_v2(Bucket=cls.bucket, Prefix=cls.prefix, MaxKeys=1)
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 404:
                raise StorageError(
                    f"There is no bucket {cls.bucket} at {client.meta.endpoint_url}: create it, or correct run.storage."
                ) from None
            raise StorageError(
                f"{client.meta.endpoint_url} refuses to list the bucket {cls.bucket} ({code}): check "
                f"{VARIABLE.format('ACCESS_KEY')}, {VARIABLE.format('SECRET_KEY')} and what they may do there."
            ) from None
        except BotoCoreError as error:
            told = str(error).rstrip(".")
            raise StorageError(
                f"The bucket {cls.bucket} cannot be reached ({told}): check {VARIABLE.format('ENDPOINT_URL')} and the "
                "credentials; docs/storage.md says what must be set."
            ) from None

    def __post_init__(self) -> None:
        self.key = f"{self.prefix}{self.query}"
        self.print_query = f"s3://{self.bucket}/{self.key}"
        self.client = self.provider.s3c.meta.client

    @property
    def keep_local(self) -> bool:
        """Whether the file stays on this disk: also where it lies nowhere else, as before it was copied to a bucket."""
        return self._keep_local or self.query in self.here_alone

    @keep_local.setter
    def keep_local(self, keep: bool) -> None:
        self._keep_local = keep

    def is_valid_query(self) -> StorageQueryValidationResult:
        return StorageQueryValidationResult(self.query, True)

    def local_path(self) -> Path:
        return Path(self.query)

    def local_suffix(self) -> str:
        return str(self.query)

    def cache_key(self, local_suffix: str | None = None) -> str:
        return local_suffix or str(self.query)

    def get_inventory_parent(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}{self._folder}"

    async def inventory(self, cache: Any) -> None:
        """Tell what lies in the whole folder: one list, and the times of all objects."""
        if self.get_inventory_parent() in cache.exists_in_storage.has_inventory:
            return
        cache.exists_in_storage.has_inventory.add(self.get_inventory_parent())
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}{self._folder}/"
        )
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        there = set()
        for key, head in zip(keys, self._heads(keys), strict=True):
            path = key.removeprefix(self.prefix)
            # an object that is older than the file here is of an earlier config or code: it counts as not there
            cache.exists_in_storage[path] = current = head is not None and not _newer(path, head)
            if head is not None and current:
                cache.mtime[path] = Mtime(storage=_modified(head))
                cache.size[path] = head["ContentLength"]
                there.add(path)
        self._tell_of_files_here_alone(there)

    def _tell_of_files_here_alone(self, there: Iterable[str]) -> None:
        here = [str(path) for path in Path(self._folder).rglob("[!.]*") if path.is_file()]
        alone = set(here).difference(there)
        self.here_alone.update(alone)
        if alone:
            self.provider.logger.warning(
                f"On this disk and not, or older, in {self.get_inventory_parent()}: {len(alone)} of {self._folder}, "
                f"such as {min(alone)}. A job that needs one makes it again, unless you copy it there first "
                "(docs/storage.md)."
            )

    def exists(self) -> bool:
        return self._head(self.key) is not None

    def mtime(self) -> float:
        return _modified(self._head(self.key) or {})

    def size(self) -> int:
        return int((self._head(self.key) or {})["ContentLength"])

    def retrieve_object(self) -> None:
        # under another name first, which takes the file's place when it is whole
        self.client.download_file(self.bucket, self.key, str(self.local_path()))
        # as old as the object, also for who goes back to the disk alone
        os.utime(self.local_path(), (self.mtime(),) * 2)

    def store_object(self) -> None:
        """Upload the file, which shows in the bucket when it is whole.

        A cluster's job uploads what it made, and the main process asks for it once more: that one is left out.
        """
        file = self.local_path().stat()
        head = self._head(self.key)
        if not head or (head["ContentLength"], _modified(head)) != (file.st_size, _rounded(file.st_mtime)):
            told = {"Metadata": _metadata(file.st_mtime)}
            self.client.upload_file(str(self.local_path()), self.bucket, self.key, ExtraArgs=told)
        self.here_alone.discard(self.query)

    def remove(self) -> None:
        # the plugin's own deletes a bucket with its last object, and with it the bucket's rights and rules
        self.client.delete_object(Bucket=self.bucket, Key=self.key)

    def touch(self) -> None:
        """Make the object new, which only a copy of it over itself does."""
        self.client.copy(
            {"Bucket": self.bucket, "Key": self.key},
            self.bucket,
            self.key,
            ExtraArgs={"Metadata": _metadata(time.time()), "MetadataDirective": "REPLACE"},
        )

    @property
    def _folder(self) -> str:
        """Of results/: results/data or results/activations."""
        return "/".join(str(self.query).split("/")[:2])

    def _heads(self, keys: Iterable[str]) -> Iterable[dict[str, Any] | None]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._head, keys))

    def _head(self, key: str) -> dict[str, Any] | None:
        """The facts of an object, or None where there is none."""
        try:
            found: dict[str, Any] = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return found


def _metadata(modified: float) -> dict[str, str]:
    """The time of a file, kept with its object, under the name and in the form of rclone, which moves such files."""
    return {"mtime": f"{_rounded(modified):.9f}"}


def _modified(head: Mapping[str, Any]) -> float:
    """When the file of an object was made: by the clock of the machine that made it, not by the server's."""
    told = head["Metadata"].get("mtime")
    return _rounded(float(told) if told else head["LastModified"].timestamp())


def _newer(path: str, head: Mapping[str, Any]) -> bool:
    """Whether a file lies here that was made after its object: by a run without the bucket."""
    file = Path(path)
    return file.is_file() and _rounded(file.stat().st_mtime) > _modified(head)


def _rounded(seconds: float) -> float:
    """A time that a file system, a float and a decimal text all hold: copies must not look older than their objects."""
    return floor(seconds * 512) / 512
