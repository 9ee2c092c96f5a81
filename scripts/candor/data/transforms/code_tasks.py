"""Rows of this project's code tasks: a snippet with a gap, and its secure and vulnerable completions."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from candor.config.base import Section
from candor.data.code_examples import Pair, What, completion_prompt, examples_of
from candor.data.examples import Example, RawRow, split_of


class Options(Section):
    """Options of code_tasks."""

    what: What = Field("prompts", description="prompts: the tasks; solutions: each with its two completions.")


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per task, or one per solution, whose label says which; the task is the group, its split the row's."""
    for row in rows:
        pair = Pair(
            id=row.id("id"),
            prompt=completion_prompt(row.text("prompt"), row.text("snippet")),
            secure=row.text("secure"),
            vulnerable=row.text("vulnerable"),
            attributes={"cwe": row.text("cwe"), "title": row.text("title")},
            split=split_of(row.get("split"), row.origin),
        )
        yield from examples_of(pair, options.what)
