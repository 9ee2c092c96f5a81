"""Write one figure as a page of its own: HTML that a browser opens without a network.

python scripts/write_page.py --spec '{"figures": {"plot": "token_scores", "title": …}}' --tokens T.parquet \\
    --output F.html
"""

import importlib
from pathlib import Path

from candor import provenance, tables
from candor.command import Command
from candor.errors import speak
from candor.schemas.token import TOKEN


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--tokens", type=Path, required=True, help="table of an experiment of kind token_scores")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    figure = args.spec["figures"]
    rows = tables.read(args.tokens, TOKEN).to_pylist()
    made = provenance.record(__file__, args.code, args.spec, inputs=[args.tokens])
    text = importlib.import_module(f"candor.figures.pages.{figure['plot']}").page(rows, figure["title"], made)
    with tables.draft(args.output) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    speak(main)
