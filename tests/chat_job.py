"""A job that asks a chat service about numbered rows and writes what became of them: for tests that kill it.

python tests/chat_job.py --client '{…}' --rows 40 --cache CACHE --output T.json [--budget 1] [--raise]

The table holds a row's status, text, remark and attempts, in the order of the rows. Every tenth row asks
what the one before it asks. With --raise the job ends with a stack trace, in the middle of it all.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from pydantic import TypeAdapter

from candor import tables
from candor.chat import batches
from candor.chat.connecting import connect
from candor.chat.ledger import Ledger
from candor.chat.messages import ChatRequest, ChatSampling, Message
from candor.config.clients import RemoteClient
from candor.errors import CandorError


def requests_of(rows: int) -> list[ChatRequest]:
    """Requests of numbered rows; rows 9, 19, 29, ... ask what rows 8, 18, 28, ... ask."""
    texts = [f"row {row - (row % 10 == 9)}" for row in range(rows)]
    return [ChatRequest((Message("user", text),), ChatSampling(max_tokens=64)) for text in texts]


def main() -> None:
    """Ask, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--poll", type=float, default=0.01)
    parser.add_argument("--budget", type=float)
    parser.add_argument("--raise", action="store_true", dest="raises")
    args = parser.parse_args()
    batches.FIRST_POLL = batches.LONGEST_POLL = args.poll

    def finished(count: int) -> None:
        if args.raises and count > args.rows // 2:
            raise RuntimeError("a stack trace, for once")

    budget = Ledger(args.cache / "ledger", args.budget) if args.budget is not None else None
    config: RemoteClient = TypeAdapter(RemoteClient).validate_json(args.client)
    try:
        client = connect(config, budget=budget, jobs=1, cache=args.cache)
        found = client.complete(requests_of(args.rows), finished)
    except CandorError as error:
        sys.exit(str(error))
    rows = [
        {"row": row, "status": each.status, "text": each.text, "remark": each.remark, "attempts": each.attempts}
        for row, each in enumerate(found)
    ]
    with tables.draft(args.output) as temporary:
        temporary.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
