"""Rows that hold a prompt and two pieces of code that answer it, one secure and one vulnerable."""

from collections.abc import Iterable, Iterator

from pydantic import Field, field_validator

from candor.config.base import Section
from candor.data.code_examples import Pair, What, examples_of
from candor.data.examples import Example, RawRow


class Options(Section):
    """Options of code_pairs."""

    what: What = Field("prompts", description="prompts: the prompts; solutions: each with its two pieces of code.")
    id: str | None = Field(None, description="Field that names the row; its place in the source without it.")
    prompt: str = Field("prompt", description="Field with the prompt.")
    secure: str = Field("secure", description="Field with the secure code.")
    vulnerable: str = Field("vulnerable", description="Field with the vulnerable code.")
    cwe: str | None = Field(None, description="Field with the weakness, as CWE-089.")
    form: str = Field(
        "{prompt}\n\nReturn the whole code in <code> tags.",
        description="The user's turn; {prompt} is filled in.",
    )

    @field_validator("form")
    @classmethod
    def _holds_the_prompt(cls, form: str) -> str:
        if "{prompt}" not in form:
            raise ValueError("does not hold {prompt}")
        return form


def transform(rows: Iterable[RawRow], options: Options) -> Iterator[Example]:
    """One example per row, or two; all other fields are attributes."""
    own = {options.id, options.prompt, options.secure, options.vulnerable, options.cwe}
    for row in rows:
        others = {name: value for name, value in row.fields.items() if name not in own}
        pair = Pair(
            id=row.id(options.id) if options.id else row.origin,
            prompt=options.form.replace("{prompt}", row.text(options.prompt)),
            secure=row.text(options.secure),
            vulnerable=row.text(options.vulnerable),
            attributes={**others, "cwe": row.text(options.cwe)} if options.cwe else others,
        )
        yield from examples_of(pair, options.what)
