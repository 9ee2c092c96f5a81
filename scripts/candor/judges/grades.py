"""What a grader says of an example, from what it says of each place that was put into words."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from candor.judges.majority import Vote, most


class Grade(NamedTuple):
    """The grade of an example: its label, or None and a status that says why.

    `agreeing` is the share of the graded places that have the label. `score` and `confidence` are means over these
    places, of those that have one.
    """

    label: str | None
    status: str
    places: int
    graded: int
    agreeing: float | None = None
    score: float | None = None
    confidence: float | None = None
    tied: bool = False


def of_example(rows: Sequence[Mapping[str, Any]], verdicts: Sequence[str] | None = None) -> Grade:
    """The verdict that most graded places of an example have, from the rows of its places (schemas/verdict.py).

    A place without a verdict has no vote; nor has one whose verdict is none of `verdicts`, where they are given. As
    many places for one verdict as for another is no grade, since neither their order nor the config's must decide: the
    status is then `invalid`, as the judge `majority` has it. Where no place has a vote, it is the status that all of
    them have, else `invalid`.
    """
    named = {f"{row['sample_index']}/{row['token_index']}": row for row in rows}
    votes = {name: _vote(row, verdicts) for name, row in named.items()}
    graded = sum(vote.verdict is not None for vote in votes.values())
    said = most(votes)
    if said.verdict is None:
        return Grade(None, said.status, len(rows), graded, tied=graded > 0)
    own = [row for name, row in named.items() if votes[name].verdict == said.verdict]
    score, confidence = (_mean([row[key] for row in own if row[key] is not None]) for key in ("score", "confidence"))
    return Grade(said.verdict, said.status, len(rows), graded, said.score, score, confidence)


def _vote(row: Mapping[str, Any], verdicts: Sequence[str] | None) -> Vote:
    if row["verdict"] is None or verdicts is None or row["verdict"] in verdicts:
        return Vote(row["status"], row["verdict"])
    return Vote("invalid", None)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
