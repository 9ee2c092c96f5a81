"""A drawn figure as files: PDF, PNG, the numbers as CSV, and a JSON with their digests and provenance.

The same picture gives the same bytes: no file holds a date, a random id or the name of the software.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from candor import tables
from candor.figures.inputs import Drawn, FigureError, Mark
from candor.figures.marks import ALWAYS
from candor.provenance import sha256

NO_PDF_FACTS = {"CreationDate": None, "Creator": None, "Producer": None}
NO_PNG_FACTS = {"Software": None}


def save(drawn: Drawn, pdf: Path, png: Path, table: Path, record: Path, made: Mapping[str, Any]) -> None:
    """Write all four files, each whole or not at all; to be called under the style that the picture was drawn in."""
    with tables.draft(pdf) as temporary:
        drawn.picture.savefig(temporary, format="pdf", metadata=NO_PDF_FACTS)
    with tables.draft(png) as temporary:
        drawn.picture.savefig(temporary, format="png", metadata=NO_PNG_FACTS)
    columns = _columns(drawn.marks)
    with tables.draft(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[_cell(row.get(column)) for column in columns] for row in drawn.marks])
    tables.write_json(record, {"sha256": {path.name: sha256(path) for path in (pdf, png, table)}}, made)


def _columns(marks: list[Mark]) -> list[str]:
    """Names first, in the order in which marks use them, then the numbers that every mark has."""
    if not marks:
        raise FigureError("nothing is drawn: the tables hold no row of this figure; check its task or experiment.")
    names = dict.fromkeys(column for row in marks for column in row if column not in ALWAYS)
    return [*names, *ALWAYS]


def _cell(value: str | int | float | bool | None) -> str:
    """A value as text: floats with 6 significant digits, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
