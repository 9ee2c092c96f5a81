"""Fetch one source: its raw rows, and what pins them.

python scripts/fetch_source.py --spec '{"sources": {"kind": "local", "files": ["rows.jsonl"]}}' --output S.parquet
"""

from pathlib import Path

from pydantic import TypeAdapter

from candor import provenance, tables
from candor.command import Command
from candor.config.sources import Source
from candor.errors import speak
from candor.schemas.source import SOURCE
from candor.sources import fetch


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    source = TypeAdapter(Source).validate_python(args.spec["sources"])
    fetched = fetch(source)
    made = provenance.record(
        __file__,
        args.code,
        args.spec,
        inputs=[],
        revision=fetched.revision,
        files=fetched.sha256,
        licence=source.licence,
        n=len(fetched.rows),
    )
    tables.write(args.output, fetched.rows, SOURCE, made)


if __name__ == "__main__":
    speak(main)
