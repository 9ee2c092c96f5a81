"""What most of several judges say of a text, from their tables."""

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from candor import tables
from candor.config.judges import Majority
from candor.errors import CandorError
from candor.judges.preparing import Prepared
from candor.judges.texts import Judged, Verdict
from candor.schemas.status import SCORED
from candor.schemas.verdict import VERDICT

PACKAGES = ()


class Vote(NamedTuple):
    """What one judge said of a text, and the status of that."""

    status: str
    verdict: str | None


Votes = Mapping[str, Mapping[tuple[str, int, int | None], Vote]]
"""Votes on texts, by judge, then by example, sample and place."""


def judge(texts: Sequence[Judged], config: Majority, votes: Votes) -> list[Verdict]:
    """The verdict that most of the judges gave, of each text; `raw` holds the votes as JSON.

    A judge without a verdict on a text has no vote on it. The score is the share of the votes cast that are for the
    verdict. Fewer than `least` votes for it, or as many for another, is `invalid`, and the rationale says the votes;
    but where all judges have no verdict for the same reason, that is the status.
    """
    for id in config.judges:
        for text in texts:
            if text.key not in votes.get(id, {}):
                raise CandorError(
                    f"judge {id!r} has no row for example {text.example_id!r}, sample {text.sample_index}; give the "
                    "tables of all the judges that vote, on these texts."
                )
    return [most({id: votes[id][text.key] for id in config.judges}, config.least) for text in texts]


def prepare(args: Namespace, config: Majority) -> Prepared:
    """The judge of a job: it counts the votes of the tables of the flag --votes."""
    votes = read_votes(args.votes)

    def judging(texts: Sequence[Judged], _: Callable[[int], None]) -> list[Verdict]:
        return judge(texts, config, votes)

    return Prepared(lambda _: nullcontext(judging), inputs=args.votes)


def read_votes(paths: Sequence[Path]) -> Votes:
    """The votes of verdict tables, which may be shards; CandorError where a judge's shards tell of the same text."""
    votes: dict[str, dict[tuple[str, int, int | None], Vote]] = {}
    for path in paths:
        for row in tables.read(path, VERDICT).to_pylist():
            of_judge = votes.setdefault(row["judge"], {})
            key = row["example_id"], row["sample_index"], row["token_index"]
            if key in of_judge:
                raise CandorError(
                    f"{path}: example {key[0]!r}, sample {key[1]} has a row of {row['judge']!r} in another table too; "
                    "give each table once, of one dataset."
                )
            of_judge[key] = Vote(row["status"], row["verdict"])
    return votes


def most(votes: Mapping[str, Vote], least: int = 1) -> Verdict:
    """What most of some votes say, by the names of those who cast them; as `judge` tells."""
    raw = json.dumps({id: vote.verdict for id, vote in votes.items()})
    cast = Counter(vote.verdict for vote in votes.values() if vote.verdict is not None)
    statuses = {vote.status for vote in votes.values()}
    if not cast:
        same = statuses.pop() if len(statuses) == 1 and not statuses & set(SCORED) else "invalid"
        return Verdict(same, rationale="no votes", raw=raw)
    said = ", ".join(
        f"{verdict} {number} ({', '.join(id for id, vote in votes.items() if vote.verdict == verdict)})"
        for verdict, number in sorted(cast.items())
    )
    (winner, count), *rest = cast.most_common()
    if count < least:
        return Verdict("invalid", rationale=f"fewer than {least} votes for any: {said}", raw=raw)
    if rest and rest[0][1] == count:
        return Verdict("invalid", rationale=f"a tie: {said}", raw=raw)
    status = "truncated" if any(vote == Vote("truncated", winner) for vote in votes.values()) else "ok"
    return Verdict(status, winner, count / cast.total(), said, raw)
