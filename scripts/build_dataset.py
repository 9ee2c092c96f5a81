"""Build one dataset from its source, from another dataset, or from generations or labels on one.

python scripts/build_dataset.py --origin S.parquet --spec '{"datasets": {…}}' --output D.parquet
python scripts/build_dataset.py --origin G.parquet … --examples E.parquet --spec '{"datasets": {…}}' --output D.parquet

--also and --exclude: the datasets that the spec names so, in that order.
"""

import sys
from pathlib import Path

import pyarrow as pa

from candor import provenance, tables
from candor.command import Command
from candor.config.datasets import Recipe
from candor.config.origins import grader_of
from candor.data.building import (
    DatasetError,
    build,
    example_rows,
    examples_of,
    generation_rows,
    grade_rows,
    label_rows,
    source_rows,
)
from candor.data.examples import Example, RawRow
from candor.data.parts import texts_of
from candor.errors import speak
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.source import SOURCE
from candor.schemas.verdict import VERDICT


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--origin", type=Path, nargs="+", required=True, help="of generations and labels, every shard")
    parser.add_argument("--examples", type=Path, nargs="?", help="the dataset that they answer or are about")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="datasets whose examples are added")
    parser.add_argument("--exclude", type=Path, nargs="*", default=[], help="datasets that are not met again")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    dataset = Recipe.model_validate(args.spec["datasets"])
    rows = _rows(dataset.origin, args.origin, args.examples)
    also, exclude = _named(dataset.also, args.also, "also"), _named(dataset.exclude, args.exclude, "exclude")
    built = build(rows, dataset, also, exclude)
    counts = {
        "n": len(built.examples),
        "rows": built.rows,
        "repeats_dropped": built.repeats,
        "beyond_limit": built.beyond_limit,
        **({"also": built.also} if also else {}),
        **({"excluded": built.excluded, "excluded_by": built.excluded_by} if exclude else {}),
        "steps": built.steps,
    }
    inputs = [*args.origin, *([args.examples] if args.examples else []), *args.also, *args.exclude]
    if dataset.relabels and args.examples:
        counts["relabels"] = texts_of(args.examples, dataset.relabels)._asdict()
    made = provenance.record(__file__, args.code, args.spec, inputs, [], **counts)
    tables.write(args.output, [example.row() for example in built.examples], DATASET, made)
    print(f"{args.output}: {counts}", file=sys.stderr)


def _rows(origin: str, paths: list[Path], examples: Path | None) -> list[RawRow]:
    if origin.startswith("sources/"):
        return source_rows(tables.read(paths[0], SOURCE))
    if examples is None:
        return example_rows(tables.read(paths[0], DATASET))
    if origin.startswith("labels/"):
        labels = pa.concat_tables([tables.read(path, VERDICT) for path in paths])
        rows = grade_rows if grader_of(origin) else label_rows
        return rows(labels, tables.read(examples, DATASET))
    generations = pa.concat_tables([tables.read(path, GENERATION) for path in paths])
    return generation_rows(generations, tables.read(examples, DATASET))


def _named(ids: list[str], paths: list[Path], key: str) -> dict[str, list[Example]]:
    """The examples of the datasets that a key of the recipe names."""
    if len(ids) != len(paths):
        raise DatasetError(
            f"`{key}` names {len(ids)} datasets, and --{key} gives {len(paths)} files; give one for each."
        )
    return {id: examples_of(tables.read(path, DATASET)) for id, path in zip(ids, paths, strict=True)}


if __name__ == "__main__":
    speak(main)
