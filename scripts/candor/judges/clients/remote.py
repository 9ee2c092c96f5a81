"""A job's client at a server: an address and limits from the flag --pace, a budget that the judge's jobs share."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from candor.chat.connecting import connect
from candor.chat.ledger import Ledger
from candor.chat.messages import Client
from candor.config.clients import RemoteClient
from candor.judges.preparing import Judging, Prepared


def prepare(args: Namespace, id: str, entry: Mapping[str, Any], judging: Callable[[Client], Judging]) -> Prepared:
    """A judge that asks a server; `entry` is its client's, with the judge's `budget_usd` where it has one."""
    budget = entry.get("budget_usd")
    config: RemoteClient = TypeAdapter(RemoteClient).validate_python(
        {key: value for key, value in entry.items() if key != "budget_usd"}
    )
    ledger = None
    if budget is not None:
        ledger = Ledger(args.ledger or Path("results/.spent", f"{args.judge}.json"), budget)
    client = connect(config, budget=ledger, name=repr(id))
    return Prepared(lambda _: nullcontext(judging(client)), packages=(config.provider,))
