"""CWE-89, SQL injection: a query's text is put together with untrusted input, instead of passing it as a parameter."""

import ast
import re
from collections.abc import Iterator

from candor.judges.flow.events import Call, Event, Return
from candor.judges.flow.values import HOLE, Value
from candor.judges.weaknesses.program import Finding, Program, finding

EXECUTING = frozenset(
    "execute executemany executescript execute_async raw mogrify fetchrow fetchval read_sql read_sql_query "
    "exec_driver_sql RawSQL copy_expert".split()
)
TEXTS = ("sqlalchemy.text", "sql.text", "sql.expression.text")
LOGGING = frozenset("debug info warning warn error exception critical log print".split())
QUOTED = re.compile("['\"][%_]?\0[%_]?['\"]")
STATEMENT = re.compile(
    r"^[\s(]*(select\b.+?\bfrom\b|insert\s+(or\s+\w+\s+)?into\b|replace\s+into\b|update\b.+?\bset\b|delete\s+from\b|"
    r"drop\s+(table|database|view|index)\b|alter\s+table\b|create\s+(table|view|index|user|database)\b|"
    r"with\b.+?\bas\s*\(|grant\b.+?\bto\b|exec(ute)?\s+\w+|call\s+\w+\s*\()",
    re.IGNORECASE | re.DOTALL,
)


def find(program: Program) -> Iterator[Finding]:
    """Queries whose text holds untrusted input, where they are executed, passed on or given back."""
    for event in program.events:
        if isinstance(event, Call) and event.method not in LOGGING:
            query = event.given(0, "sql", "query", "statement", "operation")
            runs = event.method in EXECUTING and isinstance(event.node.func, ast.Attribute) and _is_text(query)
            if (runs or event.name.endswith(TEXTS)) and query.tainted("089"):
                yield finding(event, f"a query is built with {query.origin}")
            else:
                yield from (each for value in (*event.args, *event.keywords.values()) for each in _built(event, value))
        elif isinstance(event, Return):
            yield from _built(event, event.value)


def _built(event: Event, value: Value) -> Iterator[Finding]:
    """A statement that untrusted input was put into, or that has quotes around what the source does not give."""
    if value.text is None or HOLE not in value.text or STATEMENT.search(value.text) is None:
        return
    if value.tainted("089"):
        yield finding(event, f"a query is built with {value.origin}")
    elif value.origin is None and QUOTED.search(value.text):
        yield finding(event, "a query is built with a value between quotes")


def _is_text(query: Value) -> bool:
    """Whether a query may be text, not a statement object that a builder made."""
    return query.kind in ("text", "") and (query.text is not None or query.call is None or not _is_builder(query))


def _is_builder(query: Value) -> bool:
    call = query.call
    while call is not None:
        if call.method in ("select", "insert", "update", "delete", "query", "exists", "Select"):
            return True
        call = call.receiver.call if call.receiver is not None else None
    return False
