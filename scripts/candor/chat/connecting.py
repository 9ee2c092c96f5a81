"""From the config of a remote client to the client."""

import os
from pathlib import Path

from candor.cache import cache_folder
from candor.chat.asking import AskingClient
from candor.chat.ledger import Ledger
from candor.chat.messages import Client
from candor.chat.pacing import Pace
from candor.chat.replies import Replies
from candor.config.clients import RemoteClient
from candor.errors import CandorError


def connect(
    config: RemoteClient,
    *,
    budget: Ledger | None,
    jobs: int | None = None,
    cache: Path | None = None,
    name: str | None = None,
) -> Client:
    """The client of a remote model; nothing is sent and no key is read before a reply is missing.

    `jobs` may run at once and share its rates, by default $CANDOR_API_JOBS or 1. `cache` stands in for CANDOR_CACHE.
    `name` is what errors call the client.
    """
    name = name or f"{config.model!r} ({config.service})"
    root = cache or cache_folder()
    replies = Replies(root / "replies")
    if config.mode == "batch":
        from candor.chat.batches import BatchClient

        return BatchClient(config, replies, root / "batches", name, budget)
    pace = Pace(config.requests_per_minute, config.tokens_per_minute, jobs or api_jobs())
    return AskingClient(config, replies, pace, name, budget)


def api_jobs() -> int:
    """How many jobs may send requests at once: $CANDOR_API_JOBS, 1 without it."""
    said = os.environ.get("CANDOR_API_JOBS", "").strip() or "1"
    if not said.isdecimal() or int(said) < 1:
        raise CandorError(f"CANDOR_API_JOBS is {said!r}; set it to the number of jobs that may run at once, 1 or more.")
    return int(said)
