"""Sending files to a repository of the hub, by huggingface_hub's own uploads.

What the repository holds with the same content is not sent. Everything else goes in one commit at the end, so that a
repository is as it was or as it should be, whenever the sender dies; large files that were sent before the commit are
found again by their digest.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from candor import provenance
from candor.config.publishing import Publication
from candor.hub import refusals
from candor.publishing.chosen import PublishingError
from candor.publishing.credentials import TOKEN

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

Content = Path | bytes
"""A file of this machine, or one that is written for the repository: its card."""


class Sent(NamedTuple):
    """What was sent, what was there with the same content, and where to see it."""

    new: list[str]
    there: list[str]
    url: str


def size(content: Content) -> int:
    """Bytes of a file."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def send(publication: Publication, files: Mapping[str, Content], token: str) -> Sent:
    """Make a repository hold files (place -> content), beside what it holds elsewhere."""
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(token=token, library_name="candor")
    with _sentences(publication, token):
        url = _repository(api, publication)
        found = api.get_paths_info(publication.repository, list(files), repo_type=publication.kind)
        held = {file.path: file for file in found if isinstance(file, RepoFile)}
        there = [place for place, content in files.items() if place in held and _is(held[place], content)]
        new = [place for place in files if place not in there]
        if new:
            operations = [CommitOperationAdd(place, files[place]) for place in new]
            message = f"Publish {', '.join(publication.what)}"
            commit = api.create_commit(
                publication.repository, operations, commit_message=message, repo_type=publication.kind
            )
            url = str(commit.commit_url)
    return Sent(new, there, url)


def _repository(api: "HfApi", publication: Publication) -> str:
    """The address of the repository, made if it is not there; PublishingError where it lets more people see it."""
    from huggingface_hub.errors import RepositoryNotFoundError

    id, kind = publication.repository, publication.kind
    try:
        found = api.repo_info(id, repo_type=kind)
    except RepositoryNotFoundError:
        return str(api.create_repo(id, repo_type=kind, private=publication.private))
    if publication.private and not found.private:
        raise PublishingError(
            f"{kind} {id}: is public, and publishing says private: true; make it private on the hub, or say private: "
            "false. Nothing was sent."
        )
    return f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{id}"


def _is(held: "RepoFile", content: Content) -> bool:
    """Whether the hub's file is this one: by sha256 where it keeps the file apart, else by git's own digest."""
    if held.size != size(content):
        return False
    if held.lfs:
        own = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else provenance.sha256(content)
        return bool(held.lfs.sha256 == own)
    data = content if isinstance(content, bytes) else content.read_bytes()
    return bool(held.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest())


@contextmanager
def _sentences(publication: Publication, token: str) -> Iterator[None]:
    """The hub's refusals as PublishingError, a sentence without the token."""
    kinds: tuple[type[Exception], ...] = (*refusals(), ValueError, RuntimeError)
    try:
        yield
    except kinds as error:
        reason = _reason(error).replace(token, "…")
        raise PublishingError(f"{publication.kind} {publication.repository}: {reason}") from None


def _reason(error: BaseException) -> str:
    """Why the hub did not take something, and what to do."""
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to publish"
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # of a large file's upload
        return f"{error} {_reason(error.__cause__)}"
    if isinstance(error, OSError) and error.filename:  # not the hub's
        return f"{error.filename} cannot be read ({error.strerror})"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401 or isinstance(error, RepositoryNotFoundError):
        return f"the hub does not know the token, or does not show it this repository; check {TOKEN} and `repository`"
    if status == 403:
        return f"the token may not write there; give {TOKEN} write access to it, or check `repository`"
    if status == 429 or (status is not None and status >= 500):
        return f"the hub is not ready ({status}); run the same command again later, it goes on where it was"
    if status is None and not isinstance(error, (ValueError, RuntimeError)):
        return (
            f"the hub cannot be reached ({type(error).__name__}); run the same command again, it goes on where it was"
        )
    said = " ".join(str(error).split()) or type(error).__name__
    return f"the hub refuses ({said[:300]})"
