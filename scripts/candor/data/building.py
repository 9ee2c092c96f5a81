"""From raw rows to a dataset: transform, add and exclude other datasets' examples, drop repeats, deal out splits."""

import importlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from candor.config.datasets import Recipe, Split
from candor.data.examples import Example, RawRow, Reported, RowError, absent_of_splits, shuffled
from candor.data.similarity import near_any, user_text
from candor.errors import CandorError


class DatasetError(CandorError):
    """A dataset cannot be built; the message says why and what to do."""


class Built(NamedTuple):
    """Examples, and what became of the others.

    `steps`: name of each transform, the examples that it gave, and what else it has to say. `also` and `excluded`:
    examples by dataset; `excluded_by`: by what they share, the first of id, group, text and near, nearly the text.
    """

    examples: list[Example]
    rows: int
    repeats: int
    beyond_limit: int
    steps: list[dict[str, Any]]
    also: dict[str, int]
    excluded: dict[str, int]
    excluded_by: dict[str, int]


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


def grade_rows(labels: pa.Table, examples: pa.Table) -> list[RawRow]:
    """The examples of a dataset, each with a grader's verdicts on its places: the fields `example` and `grades`.

    An example of a split that the verbaliser left out has none.
    """
    grades: dict[str, list[dict[str, Any]]] = {row["example_id"]: [] for row in examples.to_pylist()}
    for row in labels.to_pylist():
        if row["example_id"] not in grades:
            raise DatasetError(f"{row['example_id']!r} stands in the labels, but not in the dataset; make them again.")
        grades[row["example_id"]].append(row)
    splits = dict(zip(examples.column("example_id").to_pylist(), examples.column("split").to_pylist(), strict=True))
    absent = absent_of_splits(splits, {id for id, rows in grades.items() if rows})
    if absent:
        raise DatasetError(f"{absent[0]!r} stands in the dataset, but not in the labels; give all shards of them.")
    for id, rows in grades.items():
        places = Counter((row["sample_index"], row["token_index"]) for row in rows)
        if any(count > 1 for count in places.values()):
            raise DatasetError(f"a place of {id!r} stands in the labels twice; give each shard once, of one judge.")
    return [
        RawRow(row["example_id"], {"example": _fields(row), "grades": grades[row["example_id"]]})
        for row in examples.to_pylist()
    ]


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "attributes": json.loads(row["attributes"])}


def examples_of(table: pa.Table) -> list[Example]:
    """Examples of a dataset table."""
    return [Example(**_fields(row)) for row in table.to_pylist()]


def build(
    rows: Sequence[RawRow],
    dataset: Recipe,
    also: Mapping[str, Sequence[Example]] | None = None,
    exclude: Mapping[str, Sequence[Example]] | None = None,
) -> Built:
    """The examples of a dataset, in the order of its rows: the transform, then the further steps, one by one.

    `also` and `exclude` hold the examples of the datasets that the recipe names so, by id.
    """
    own, steps = _transformed(rows, dataset)
    examples = [*own, *(replace(example) for others in (also or {}).values() for example in others)]
    _refuse_repeated_ids(own)
    _refuse_clashes(own, also or {})
    new, excluded, excluded_by = _apart(examples, exclude or {}, dataset.exclude_similarity)
    if not new:
        raise DatasetError(f"all {len(examples)} examples stand in {', '.join(exclude or {})}; check `exclude`.")
    seed = dataset.split.seed if isinstance(dataset.split, Split) else 0
    limited = _limited(new, dataset.limit, seed)
    _deal(limited, dataset.split)
    whole = dataset.duplicates == "keep" or dataset.relabels is not None
    kept = limited if whole else _without_repeats(limited, dataset.duplicates)
    return Built(
        kept,
        len(rows),
        len(limited) - len(kept),
        len(new) - len(limited),
        steps,
        {id: len(others) for id, others in (also or {}).items()},
        excluded,
        excluded_by,
    )


def _transformed(rows: Sequence[RawRow], dataset: Recipe) -> tuple[list[Example], list[dict[str, Any]]]:
    """The examples that the last step gives, and the record of each step."""
    examples: list[Example] = []
    steps = []
    for number, step in enumerate(dataset.steps()):
        given = rows if number == 0 else [RawRow(each.example_id, dict(each.__dict__)) for each in examples]
        module = importlib.import_module(f"candor.data.transforms.{step.transform}")
        made = module.transform(given, module.Options.model_validate(step.options))
        examples, facts = made if isinstance(made, Reported) else (list(made), {})
        if not examples:
            told = f" ({json.dumps(facts, ensure_ascii=False)})" if facts else ""
            raise DatasetError(f"no example is left of {len(given)} rows; check the options of {step.transform}{told}.")
        steps.append({"transform": step.transform, "n": len(examples), **facts})
    return examples, steps


def _refuse_clashes(own: Sequence[Example], also: Mapping[str, Sequence[Example]]) -> None:
    holders = dict.fromkeys((example.example_id for example in own), "the dataset's own examples")
    for id, others in also.items():
        for example in others:
            if example.example_id in holders:
                raise DatasetError(
                    f"{example.example_id!r} stands in {id}, which `also` names, and in {holders[example.example_id]}; "
                    "give examples other names where they are made, or name one of the two alone."
                )
        holders.update(dict.fromkeys((example.example_id for example in others), id))


def _apart(
    examples: Sequence[Example], exclude: Mapping[str, Sequence[Example]], similarity: float | None
) -> tuple[list[Example], dict[str, int], dict[str, int]]:
    """Examples that have no id, group or user's words of those excluded; counts of the others."""
    kept, by_dataset, by_reason = list(examples), dict.fromkeys(exclude, 0), Counter[str]()
    for id, others in exclude.items():
        met = [_marks(example) for example in others]
        known = {name: {marks[name] for marks in met} for name in ("id", "group", "text")}
        reasons = [
            next((name for name, mark in _marks(example).items() if mark in known[name]), None) for example in kept
        ]
        if similarity is not None:
            near = near_any([user_text(example.messages) for example in kept], sorted(known["text"]), similarity)
            reasons = [reason or ("near" if alike else None) for reason, alike in zip(reasons, near, strict=True)]
        kept = [example for example, reason in zip(kept, reasons, strict=True) if reason is None]
        by_reason.update(filter(None, reasons))
        by_dataset[id] = len(reasons) - len(kept)
    return kept, by_dataset, dict(by_reason)


def _marks(example: Example) -> dict[str, str]:
    """By what an example is met again; words as the leakage gates compare them."""
    return {"id": example.example_id, "group": example.group_id, "text": user_text(example.messages)}


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
