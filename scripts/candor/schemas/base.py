"""What a table must look like: columns with types, allowed values, and a key without repeats."""

from typing import NamedTuple

import pyarrow as pa

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
ROLES = ("system", "user", "assistant", "tool")


class Column(NamedTuple):
    """One column; `choices` limits its values, `low` and `high` bound them."""

    type: pa.DataType
    nullable: bool = False
    choices: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None


class TableSchema(NamedTuple):
    """A contract: columns in order, and the columns that together name a row."""

    name: str
    columns: dict[str, Column]
    key: tuple[str, ...]

    def arrow(self) -> pa.Schema:
        """The contract as an Arrow schema."""
        return pa.schema([pa.field(name, column.type, column.nullable) for name, column in self.columns.items()])
