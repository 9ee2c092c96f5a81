"""Leakage: groups and texts that stand in two splits of a dataset, or in two parts that should be apart.

Two texts are near-duplicates when their similarity (data/similarity.py) reaches `datasets.ID.similarity`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any, NamedTuple

from pydantic import BaseModel

from candor.config.tasks import dataset_of
from candor.data.similarity import similar_texts, user_text
from candor.errors import CandorError

SHOWN = 10
"""Pairs, or groups, that a message names."""

Row = Mapping[str, Any]


class LeakageError(CandorError):
    """Something stands on both sides; the message names the rows and says what to do."""


class Tolerance(BaseModel):
    """What a gate reads of `datasets.ID`; config/datasets.py describes the two."""

    similarity: float
    allow_near: list[tuple[str, str]]


class Similar(NamedTuple):
    """Indices of two rows, the earlier one first, and the Jaccard similarity of their user texts."""

    first: int
    second: int
    similarity: float


class Comparison(NamedTuple):
    """Similar rows: between sides (excused by the config, or not), and counts within each side."""

    leaks: list[Similar]
    allowed: list[Similar]
    highest: float | None
    near: Counter[str]
    repeats: Counter[str]


def check_dataset(rows: Sequence[Row], id: str, tolerance: Tolerance) -> dict[str, Any]:
    """Counts of one dataset; LeakageError where a group, or a text or one like it, stands in two splits."""
    sides = [row["split"] for row in rows]
    splits_of_group: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        splits_of_group[row["group_id"]].add(row["split"])
    torn = [f"{group} ({', '.join(sorted(s))})" for group, s in sorted(splits_of_group.items()) if len(s) > 1]
    if torn:
        raise LeakageError(
            f"dataset {id}: groups stand in more than one split, {len(torn)} in all: {_first(torn)}. "
            f"Set datasets.{id}.split, which deals out whole groups."
        )
    found = compare(rows, sides, tolerance.similarity, tolerance.allow_near)
    _refuse(found, rows, f"dataset {id}", "splits", tolerance.similarity, id)
    return {
        "dataset": id,
        "n": len(rows),
        "groups": len(splits_of_group),
        "splits": {split: _side(split, sides, rows, found) for split in sorted(set(sides))},
        **_between(found, rows, tolerance.similarity),
    }


def check_parts(
    train: Sequence[Row],
    train_part: str,
    evaluation: Sequence[Row],
    evaluation_part: str,
    tolerances: Mapping[str, Tolerance],
) -> dict[str, Any]:
    """Counts of two parts; LeakageError where a text, or one like it, stands in both.

    A group in both is an error within one dataset only: names of groups mean nothing between two. `tolerances`
    holds those of both, by id; the lower threshold counts, and either may excuse a pair.
    """
    shared = sorted({row["group_id"] for row in train} & {row["group_id"] for row in evaluation})
    if shared and dataset_of(train_part) == dataset_of(evaluation_part):
        raise LeakageError(
            f"{train_part} and {evaluation_part}: groups stand in both, {len(shared)} in all: {_first(shared)}. "
            "Take two splits that were dealt out by group."
        )
    both = [tolerances[dataset_of(part)] for part in (train_part, evaluation_part)]
    threshold = min(tolerance.similarity for tolerance in both)
    rows, sides = [*train, *evaluation], [train_part] * len(train) + [evaluation_part] * len(evaluation)
    found = compare(rows, sides, threshold, [pair for tolerance in both for pair in tolerance.allow_near])
    _refuse(found, rows, f"{train_part} and {evaluation_part}", "parts", threshold, dataset_of(evaluation_part))
    return {
        "train": {"part": train_part, **_side(train_part, sides, rows, found)},
        "evaluation": {"part": evaluation_part, **_side(evaluation_part, sides, rows, found)},
        **_between(found, rows, threshold),
    }


def compare(
    rows: Sequence[Row], sides: Sequence[str], threshold: float, allow_near: Iterable[tuple[str, str]]
) -> Comparison:
    """All rows with one another; `sides` [n] says which rows should be apart."""
    excused = {frozenset(pair) for pair in allow_near}
    found = Comparison([], [], None, Counter(), Counter())
    texts: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        texts[user_text(row["messages"])].append(i)
    for members in texts.values():
        by_side = Counter(sides[i] for i in members)
        found.repeats.update({side: count - 1 for side, count in by_side.items()})
    highest = 0.0
    for pair in _similar_rows(list(texts), list(texts.values()), threshold):
        if sides[pair.first] == sides[pair.second]:
            found.near[sides[pair.first]] += pair.similarity >= threshold
        elif pair.similarity >= threshold and frozenset(rows[i]["example_id"] for i in pair[:2]) in excused:
            found.allowed.append(pair)
        else:
            highest = max(highest, pair.similarity)
            if pair.similarity >= threshold:
                found.leaks.append(pair)
    return found._replace(highest=highest or None)


def _similar_rows(texts: Sequence[str], rows_of: Sequence[list[int]], threshold: float) -> Iterator[Similar]:
    for members in rows_of:
        yield from (Similar(i, j, 1.0) for i, j in combinations(members, 2))
    for one, other, similarity in similar_texts(texts, threshold):
        for i, j in product(rows_of[one], rows_of[other]):
            yield Similar(min(i, j), max(i, j), similarity)


def _refuse(found: Comparison, rows: Sequence[Row], where: str, what: str, threshold: float, dataset_id: str) -> None:
    if not found.leaks:
        return
    leaks = sorted(found.leaks, key=lambda pair: (-pair.similarity, pair))
    named = [
        f"{rows[i]['example_id']} ~ {rows[j]['example_id']} ({similarity:.2f})" for i, j, similarity in leaks[:SHOWN]
    ]
    raise LeakageError(
        f"{where}: rows in different {what} have the same or nearly the same user text (similarity of at least "
        f"{threshold:g}), {len(leaks)} pairs in all: {_first(named, len(leaks))}. Remove one row of each pair, "
        f"or name the pair in datasets.{dataset_id}.allow_near."
    )


def _first(names: Sequence[str], total: int | None = None) -> str:
    total = total or len(names)
    return "; ".join(names[:SHOWN]) + (f"; and {total - SHOWN} more" if total > SHOWN else "")


def _side(side: str, sides: Sequence[str], rows: Sequence[Row], found: Comparison) -> dict[str, int]:
    members = [row for row, own in zip(rows, sides, strict=True) if own == side]
    return {
        "n": len(members),
        "groups": len({row["group_id"] for row in members}),
        "repeats": found.repeats[side],
        "near_duplicate_pairs": found.near[side],
    }


def _between(found: Comparison, rows: Sequence[Row], threshold: float) -> dict[str, Any]:
    allowed = [
        {"pair": [rows[i]["example_id"], rows[j]["example_id"]], "similarity": similarity}
        for i, j, similarity in found.allowed
    ]
    return {"similarity": threshold, "highest_similarity": found.highest, "allowed": allowed}
