"""The flags that every script shares: what it is told by the config, and the digest of its own code."""

import argparse
import json
from typing import Any


class Command(argparse.ArgumentParser):
    """An argument parser with --spec and --code; the script's docstring is its help."""

    def __init__(self, doc: str | None) -> None:
        super().__init__(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument(
            "--spec",
            type=_spec,
            default={},
            help="config subtrees as JSON, keyed by section, as the workflow passes them",
        )
        self.add_argument("--code", default="by hand", help="digest of this script and of all it imports")


def _spec(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object, but another JSON value")
    return value
