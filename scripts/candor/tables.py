"""Reading and writing of tables and JSON: checked against their contract, written whole or not at all."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candor import provenance
from candor.errors import CandorError
from candor.schemas.base import Column, TableSchema


class TableError(CandorError):
    """A table breaks its contract; the message names file, column and row."""


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which takes its place at the end, and is gone when anything fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(
    path: Path, rows: Sequence[Mapping[str, Any]] | pa.Table, schema: TableSchema, made: Mapping[str, Any]
) -> None:
    """Check rows against their contract and write them, with their provenance, as parquet."""
    table = _cast(path, rows, schema) if isinstance(rows, pa.Table) else _from_rows(path, rows, schema)
    _check(path, table, schema)
    with draft(path) as temporary:
        metadata = {provenance.KEY: json.dumps(made, sort_keys=True)}
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd", write_page_checksum=True)


def read(path: Path, schema: TableSchema) -> pa.Table:
    """Read a table and check it against its contract; TableError says what is wrong and where."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise TableError(f"{path}: no such file.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: not a readable parquet file ({_line(error)}); delete it to make it again.") from None
    _check(path, table, schema)
    return table


def write_json(path: Path, value: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Write a JSON object with its provenance under the key `provenance`."""
    with draft(path) as temporary:
        text = json.dumps({**value, "provenance": made}, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; TableError when it is not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TableError(f"{path}: no such file.") from None
    except ValueError as error:
        raise TableError(f"{path}: not valid JSON ({error}); delete it to make it again.") from None
    if not isinstance(value, dict):
        raise TableError(f"{path}: is JSON, but not an object; delete it to make it again.")
    return value


def _cast(path: Path, table: pa.Table, schema: TableSchema) -> pa.Table:
    _refuse_other_columns(str(path), table.schema.names, schema)
    try:
        return table.select(list(schema.columns)).cast(schema.arrow())
    except (pa.ArrowException, ValueError) as error:
        raise TableError(f"{path}: does not fit the {schema.name} table: {_line(error)}.") from None


def _from_rows(path: Path, rows: Sequence[Mapping[str, Any]], schema: TableSchema) -> pa.Table:
    for number, row in enumerate(rows, start=1):
        if row.keys() != schema.columns.keys():
            _refuse_other_columns(f"{path}, row {number}", list(row), schema)
    columns = {
        name: _array(path, name, [row[name] for row in rows], column.type) for name, column in schema.columns.items()
    }
    return pa.table(columns, schema=schema.arrow())


def _array(path: Path, name: str, values: list[Any], type: pa.DataType) -> pa.Array:
    try:
        array = pa.array(values, type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        for number, value in enumerate(values, start=1):
            try:
                pa.array([value], type)
            except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
                raise TableError(f"{path}: column {name}, row {number}: is not {type}: {_line(error)}.") from None
        raise
    if pa.types.is_integer(type):  # of 2.5, Arrow keeps 2 without a word
        for number, (kept, value) in enumerate(zip(array.to_pylist(), values, strict=True), start=1):
            if kept != value:
                raise TableError(f"{path}: column {name}, row {number}: is not {type}: {value!r}.")
    return array


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _refuse_other_columns(where: str, found: Sequence[str], schema: TableSchema) -> None:
    expected = list(schema.columns)
    if sorted(found) != sorted(expected):
        raise TableError(
            f"{where}: a {schema.name} table has the columns {', '.join(expected)}; "
            f"missing: {', '.join(sorted(set(expected) - set(found))) or 'none'}; "
            f"not known: {', '.join(sorted(set(found) - set(expected))) or 'none'}."
        )


def _check(path: Path, table: pa.Table, schema: TableSchema) -> None:
    _refuse_other_columns(str(path), table.schema.names, schema)
    for name, column in schema.columns.items():
        values = table.column(name)
        if values.type != column.type:
            raise TableError(f"{path}: column {name} is {values.type}, not {column.type}.")
        for bad, message in _complaints(values, column):
            row = pc.index(bad, True).as_py()
            if row >= 0:
                raise TableError(f"{path}: column {name}, row {row + 1}: {message.format(values[row].as_py())}.")
    keys = table.select(list(schema.key))
    counts = keys.group_by(list(schema.key)).aggregate([([], "count_all")])
    if counts.num_rows != table.num_rows:
        twice = counts.filter(pc.greater(counts.column("count_all"), 1)).slice(0, 1).to_pylist()[0]
        twice.pop("count_all")
        raise TableError(f"{path}: {', '.join(f'{k} {v!r}' for k, v in twice.items())} stands in more than one row.")


def _complaints(values: pa.ChunkedArray, column: Column) -> Iterator[tuple[pa.ChunkedArray, str]]:
    if not column.nullable:
        yield pc.is_null(values), "has no value"
    if column.choices is not None:
        choices = pa.array(column.choices)
        yield (
            pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, choices))),
            "{!r} is not one of " + ", ".join(column.choices),
        )
    if pa.types.is_floating(column.type):
        yield pc.fill_null(pc.invert(pc.is_finite(values)), False), "{} is not a finite number"
    if column.low is not None:
        yield pc.fill_null(pc.less(values, column.low), False), f"{{}} is below {column.low:g}"
    if column.high is not None:
        yield pc.fill_null(pc.greater(values, column.high), False), f"{{}} is above {column.high:g}"
