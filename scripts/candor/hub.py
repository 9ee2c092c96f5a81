"""What the Hugging Face hub says: commits that revisions stand for, and its refusals as sentences."""

import re

from candor.errors import CandorError


def resolve(kind: str, id: str, revision: str | None, error_type: type[CandorError]) -> str:
    """The commit that a revision of a `model` or `dataset` stands for.

    A 40-digit commit stands for itself, so that a pinned study works without the network.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    try:
        return str(HfApi().repo_info(id, repo_type=kind, revision=revision).sha)
    except OfflineModeIsEnabled:
        raise error_type(
            f"hub {kind} {id}: offline, and the config pins no commit; set `revision` to a 40-digit commit"
        ) from None
    except refusals() as error:
        raise error_type(f"hub {kind} {id}: {reason(error)}") from None


def refusals() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises where the hub does not give something: refused, not reached, or not an id at all."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # HfHubHTTPError's bases are OSError and the HTTP library's own error, which a hub out of reach gives
    return (*HfHubHTTPError.__bases__, HFValidationError)


def reason(error: Exception) -> str:
    """Why the hub did not give something, and what to do."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return "access is gated; accept its terms on the hub and set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return "has no such revision; check `revision`"
    if isinstance(error, RepositoryNotFoundError):
        return "does not exist, or is private; check `id`, or set HF_TOKEN"
    if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled)):
        return "the hub cannot be reached (or HF_HUB_OFFLINE is set) and the cache does not hold it"
    if isinstance(error, EntryNotFoundError):
        return "has no such file; check `files`"
    if isinstance(error, HFValidationError):
        return "is neither a folder nor an id of the form owner/name"
    return (
        f"cannot be fetched ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'})"
    )
