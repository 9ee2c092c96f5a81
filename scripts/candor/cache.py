"""The folder outside results/ for what is dear to make again and belongs to no study: `CANDOR_CACHE`."""

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """A folder below $CANDOR_CACHE, by default below the user's own cache."""
    root = os.environ.get("CANDOR_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "candor")
    return Path(root).expanduser().joinpath(*parts)
