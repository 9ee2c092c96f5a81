"""From responses, or a dataset's own last turns, to verdicts in the table's form."""

import importlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from candor.config.judges import Judge
from candor.errors import CandorError
from candor.judges.texts import Judged
from candor.responses import OPEN, split


class JudgingError(CandorError):
    """Texts cannot be judged; the message says which and what to do."""


def responses(data: pa.Table, generations: Iterable[pa.Table]) -> list[Judged]:
    """Generations joined with the examples that they answer, in the order of the generations.

    Both must tell of the same examples: a shard that is missing, or of another dataset, is an error.
    """
    examples = {row["example_id"]: row for row in data.to_pylist()}
    found = [row for table in generations for row in table.to_pylist()]
    answered = {row["example_id"] for row in found}
    for named, others, where in ((answered, set(examples), "dataset"), (set(examples), answered, "generations")):
        if unknown := sorted(named - others):
            raise JudgingError(
                f"{len(unknown)} examples do not stand in the {where}, first {unknown[0]!r}; give a dataset and all "
                "shards of the generations on it."
            )
    return [
        _judged(
            examples[row["example_id"]],
            examples[row["example_id"]]["messages"],
            row["sample_index"],
            (row["reasoning"], row["answer"], row["status"]),
        )
        for row in found
    ]


def last_turns(data: pa.Table) -> list[Judged]:
    """The last turn of each example of a dataset, which must be the assistant's, taken apart where it reasons."""
    found = []
    for row in data.to_pylist():
        *prompt, turn = row["messages"]
        if turn["role"] != "assistant":
            raise JudgingError(
                f"example {row['example_id']!r} ends with the {turn['role']}'s turn, so there is no answer to judge; "
                "take a dataset whose examples end with the assistant's."
            )
        found.append(_judged(row, prompt, 0, split(turn["content"], reasoning=OPEN in turn["content"])))
    return found


def verdict_rows(texts: Sequence[Judged], judge_id: str, config: Judge) -> list[dict[str, Any]]:
    """Rows of the verdict table, one per text and in their order."""
    verdicts = importlib.import_module(f"candor.judges.{config.kind}").judge(texts, config)
    return [
        {
            "example_id": text.example_id,
            "sample_index": text.sample_index,
            "token_index": None,
            "judge": judge_id,
            "confidence": None,
            **verdict._asdict(),
            "attempts": 1,
            "tokens_in": 0,
            "tokens_out": 0,
            "usd": 0.0,
        }
        for text, verdict in zip(texts, verdicts, strict=True)
    ]


def packages(config: Judge) -> tuple[str, ...]:
    """The packages that a judge rests on."""
    named: tuple[str, ...] = importlib.import_module(f"candor.judges.{config.kind}").PACKAGES
    return named


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many texts have which verdict and which status."""
    return {
        "n": len(rows),
        "verdicts": dict(sorted(Counter(row["verdict"] for row in rows if row["verdict"] is not None).items())),
        "statuses": dict(sorted(Counter(row["status"] for row in rows).items())),
    }


def _judged(
    example: Mapping[str, Any],
    prompt: Sequence[Mapping[str, str]],
    sample: int,
    said: tuple[str | None, str | None, str],
) -> Judged:
    reasoning, answer, status = said
    return Judged(
        example_id=example["example_id"],
        sample_index=sample,
        group_id=example["group_id"],
        arm=example["label"],
        prompt=prompt,
        reasoning=reasoning,
        answer=answer,
        status=status,
        attributes=json.loads(example["attributes"]),
    )
