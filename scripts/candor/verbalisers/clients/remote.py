"""A job's client at a server: an address and limits from the flag --pace, a budget that the verbaliser's jobs share."""

from argparse import Namespace
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from candor.chat.connecting import connect
from candor.chat.ledger import Ledger
from candor.chat.messages import Client
from candor.config.clients import RemoteClient
from candor.verbalisers.preparing import Opened


def prepare(args: Namespace, id: str, entry: Mapping[str, Any]) -> Opened:
    """The client of an entry, with the verbaliser's `budget_usd` where it has one."""
    budget = entry.get("budget_usd")
    config: RemoteClient = TypeAdapter(RemoteClient).validate_python(
        {key: value for key, value in entry.items() if key != "budget_usd"}
    )
    ledger = None
    if budget is not None:
        ledger = Ledger(args.ledger or Path("results/.spent/verbalisers", f"{args.verbaliser}.json"), budget)
    client = connect(config, budget=ledger, name=repr(id))

    def opened(_: Mapping[str, Any]) -> AbstractContextManager[Client]:
        return nullcontext(client)

    return Opened(opened, packages=(config.provider,))
