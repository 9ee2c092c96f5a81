"""Verbalisations as texts that a judge reads."""

from collections.abc import Iterable

import pyarrow as pa

from candor.config.judges import Judge, unfit_grader
from candor.data.examples import absent_of_splits
from candor.judges.judging import JudgingError, rows_of_shard
from candor.judges.texts import Judged
from candor.schemas.status import SCORED


def verbalised(data: pa.Table, verbalisations: Iterable[pa.Table], config: Judge, shard: str) -> list[Judged]:
    """What a verbaliser wrote of a shard's examples, each row a text of its own, in the order of the tables.

    A grader sees these words alone: not the prompt, whose framing is the category. A verbalisation without words that
    can be read keeps its status and has no answer. A verbaliser may leave out whole splits; a split of which it put
    some examples into words must be there whole, since a table that is missing is an error.
    """
    for end in unfit_grader(config):
        raise JudgingError(f"this judge {end}.")
    examples = {row["example_id"]: row for row in rows_of_shard(data, shard)}
    rows = [row for table in verbalisations for row in table.to_pylist()]
    splits = dict(zip(data.column("example_id").to_pylist(), data.column("split").to_pylist(), strict=True))
    said = {row["example_id"] for row in rows}
    in_shard = {id: row["split"] for id, row in examples.items()}
    for named, where in (
        (sorted(said - set(splits)), "dataset"),
        (absent_of_splits(in_shard, said), "verbalisations"),
    ):
        if named:
            raise JudgingError(
                f"{len(named)} examples do not stand in the {where}, first {named[0]!r}; give a dataset and all shards "
                "of the verbalisations of it, or a shard of them and its number as --shard."
            )
    return [
        Judged(
            example_id=row["example_id"],
            sample_index=row["sample_index"],
            group_id=examples[row["example_id"]]["group_id"],
            arm=examples[row["example_id"]]["label"],
            prompt=(),
            reasoning=None,
            answer=row["text"] if row["status"] in SCORED else None,
            status=row["status"],
            attributes={},
            token_index=row["token_index"],
        )
        for row in rows
        if row["example_id"] in examples
    ]
