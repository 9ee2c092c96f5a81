"""From raw rows to a dataset: transform, drop repeats, deal groups out to splits."""

import importlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from candor.config.datasets import Recipe, Split
from candor.data.examples import Example, RawRow, RowError, shuffled
from candor.errors import CandorError


class DatasetError(CandorError):
    """A dataset cannot be built; the message says why and what to do."""


class Built(NamedTuple):
    """Examples, and how many of the origin's rows did not become one."""

    examples: list[Example]
    rows: int
    repeats: int
    beyond_limit: int


def source_rows(table: pa.Table) -> list[RawRow]:
    """Rows of a source table."""
    return [RawRow(row["origin"], json.loads(row["row"])) for row in table.to_pylist()]


def example_rows(table: pa.Table) -> list[RawRow]:
    """Rows of a dataset table, by the fields of an example."""
    return [RawRow(row["example_id"], _fields(row)) for row in table.to_pylist()]


def generation_rows(generations: pa.Table, examples: pa.Table) -> list[RawRow]:
    """Rows of a generation table, each with the example it answers: the fields `generation` and `example`."""
    prompts = {row["example_id"]: row for row in examples.to_pylist()}
    rows = []
    for generation in generations.to_pylist():
        prompt = prompts.get(generation["example_id"])
        if prompt is None:
            raise DatasetError(
                f"a generation answers {generation['example_id']!r}, which the dataset does not hold; generate again."
            )
        rows.append(RawRow(generation["example_id"], {"example": _fields(prompt), "generation": generation}))
    return rows


def label_rows(labels: pa.Table, examples: pa.Table) -> list[RawRow]:
    """The examples of a dataset, each with a judge's verdict on it: the fields `example` and `verdict`."""
    verdicts = {row["example_id"]: row for row in labels.to_pylist()}
    examples_by_id = {row["example_id"]: _fields(row) for row in examples.to_pylist()}
    for missing, where, holder in (
        (examples_by_id.keys() - verdicts, "the labels", "the dataset"),
        (verdicts.keys() - examples_by_id, "the dataset", "the labels"),
    ):
        if missing:
            raise DatasetError(f"{min(missing)!r} stands in {holder}, but not in {where}; label the dataset again.")
    return [RawRow(id, {"example": example, "verdict": verdicts[id]}) for id, example in examples_by_id.items()]


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "attributes": json.loads(row["attributes"])}


def build(rows: Sequence[RawRow], dataset: Recipe) -> Built:
    """The examples of a dataset, in the order of its rows: the transform, then the further steps, one by one."""
    examples: list[Example] = []
    for number, step in enumerate(dataset.steps()):
        given = rows if number == 0 else [RawRow(each.example_id, dict(each.__dict__)) for each in examples]
        module = importlib.import_module(f"candor.data.transforms.{step.transform}")
        examples = list(module.transform(given, module.Options.model_validate(step.options)))
        if not examples:
            raise DatasetError(f"no example is left of {len(given)} rows; check the options of {step.transform}.")
    _refuse_repeated_ids(examples)
    seed = dataset.split.seed if isinstance(dataset.split, Split) else 0
    limited = _limited(examples, dataset.limit, seed)
    _deal(limited, dataset.split)
    kept = limited if dataset.duplicates == "keep" else _without_repeats(limited, dataset.duplicates)
    return Built(kept, len(rows), len(limited) - len(kept), len(examples) - len(limited))


def normalised(messages: Iterable[dict[str, str]]) -> str:
    """Text by which repeats are told: every turn, case and spacing aside."""
    return "\n".join(f"{m['role']}: {' '.join(m['content'].casefold().split())}" for m in messages)


def _refuse_repeated_ids(examples: Sequence[Example]) -> None:
    twice = [id for id, count in Counter(example.example_id for example in examples).items() if count > 1]
    if twice:
        raise RowError(f"{len(twice)} ids stand in more than one row, first {twice[0]!r}; ids must be unique.")


def _limited(examples: list[Example], limit: int | None, seed: int) -> list[Example]:
    if limit is None:
        return examples
    groups = set(shuffled((example.group_id for example in examples), seed)[:limit])
    return [example for example in examples if example.group_id in groups]


def _deal(examples: Sequence[Example], split: Split | str | None) -> None:
    if isinstance(split, Split):
        groups = shuffled((example.group_id for example in examples), split.seed)
        test = round(len(groups) * split.test)
        validation = min(round(len(groups) * split.validation), len(groups) - test)  # both may have been rounded up
        names = ["test"] * test + ["validation"] * validation + ["train"] * (len(groups) - test - validation)
        dealt = dict(zip(groups, names, strict=True))
        for example in examples:
            example.split = dealt[example.group_id]
        return
    for example in examples:
        example.split = split or example.split
        if example.split is None:
            raise DatasetError(f"example {example.example_id!r} has no split, and the config gives none; set `split`.")


def _without_repeats(examples: Sequence[Example], rule: str) -> list[Example]:
    first: dict[tuple[str | None, str], str] = {}
    kept, repeated = [], []
    for example in examples:
        key = (example.split, normalised(example.messages))
        if key in first:
            repeated.append((example.example_id, first[key]))
        else:
            first[key] = example.example_id
            kept.append(example)
    if rule == "fail" and repeated:
        named = "; ".join(f"{later} repeats {earlier}" for later, earlier in repeated[:5])
        raise DatasetError(f"{len(repeated)} texts repeat within a split: {named}. Set `duplicates: drop` to keep one.")
    return kept
