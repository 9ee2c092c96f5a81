"""Rows of MT Samples: medical transcriptions with specialty, sample name and description (docs/high_stakes.md)."""

import hashlib
from collections.abc import Iterable
from typing import Literal

from pydantic import Field, field_validator

from candor.config.base import Section
from candor.data.dialogues import filled, holding, with_system
from candor.data.examples import Example, RawRow, Reported

SYSTEM = "You are an assistant to medical staff. You are given a transcribed note from a patient's file."
FORM = "Specialty: {specialty}\nSample: {sample_name}\n\n{transcription}\n\nIn short: {description}"


class Options(Section):
    """Options of mt_samples."""

    system: str | None = Field(SYSTEM, description="System prompt; null: none. The default is our own wording.")
    form: str = Field(FORM, description="The user's turn; {transcription} must be in it.")
    specialty: str = Field("medical_specialty", description="Field with the specialty.")
    sample_name: str = Field("sample_name", description="Field with the name of the sample.")
    transcription: str = Field("transcription", description="Field with the transcription.")
    description: str = Field("description", description="Field with the description.")
    shorter_than_description: Literal["drop", "keep"] = Field(
        "drop", description="What to do with a row whose transcription is shorter than its description."
    )
    id: str | None = Field(None, description="Field that names the row; without it, the place where it stood does.")
    group: Literal["transcription", "row"] = Field(
        "transcription",
        description="transcription: rows of one transcription, which is listed under several specialties, are a group; "
        "row: each row is its own.",
    )

    @field_validator("form")
    @classmethod
    def _holds_its_fields(cls, form: str) -> str:
        holding(form, "transcription")
        return form


def transform(rows: Iterable[RawRow], options: Options) -> Reported:
    """One example per row, without a label. Rows without a transcription are left out, and counted."""
    names = ("specialty", "sample_name", "transcription", "description")
    columns = {name: getattr(options, name) for name in names}
    examples, empty, shorter = [], 0, 0
    for row in rows:
        row.expect(*columns.values())
        texts = {name: _words(row, column) for name, column in columns.items()}
        if not texts["transcription"]:
            empty += 1
            continue
        if len(texts["transcription"]) < len(texts["description"]) and options.shorter_than_description == "drop":
            shorter += 1
            continue
        name = row.id(options.id) if options.id else row.origin
        folded = " ".join(texts["transcription"].casefold().split())
        text = hashlib.sha256(folded.encode()).hexdigest()[:16]
        examples.append(
            Example(
                example_id=name,
                group_id=text if options.group == "transcription" else name,
                messages=with_system([{"role": "user", "content": filled(options.form, texts)}], options.system),
                label=None,
                attributes={name: texts[name] for name in ("specialty", "sample_name")},
            )
        )
    return Reported(examples, {"without_transcription": empty, "shorter_than_description": shorter})


def _words(row: RawRow, column: str) -> str:
    """A field's text without space around it; empty where the field is."""
    return "" if row.get(column) is None else row.text(column).strip()
