"""Draw one figure: a PDF, a PNG, the numbers drawn as CSV, and a JSON with their digests.

python scripts/draw_figure.py --metrics M.parquet --selection S.json --models M.json \\
    --spec '{"figures": {"plot": "probe_comparison", …}, "tasks": {…}}' \\
    --pdf F.pdf --png F.png --csv F.csv --json F.json

What each plot reads is listed in candor/config/figures.py; a flag without a value counts as not given.
"""

import importlib
from dataclasses import fields
from pathlib import Path

from candor import provenance
from candor.command import Command
from candor.config.figures import Figure
from candor.errors import speak
from candor.figures import inputs, saving, style


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--style", type=Path, default=Path("resources/figures/style.mplstyle"))
    for name in ("metrics", "experiment", "cells", "places", "selection"):
        parser.add_argument(f"--{name}", type=Path, nargs="?")
    several = ("scores", "datasets", "comparisons", "histories", "panels", "curves", "templates", "tokens", "models")
    for name in several:
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[])
    for name in ("pdf", "png", "csv", "json"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    figure = Figure.model_validate(args.spec["figures"])
    files = inputs.Files(**{field.name: getattr(args, field.name) for field in fields(inputs.Files)})
    data = inputs.load(args.spec, figure, files)
    inputs.require(data, figure.plot)
    read = [args.style, *files.paths()]
    made = provenance.record(__file__, args.code, args.spec, inputs=read, packages=["matplotlib"])
    plot = importlib.import_module(f"candor.figures.plots.{figure.plot}")
    with style.applied(args.style):
        saving.save(plot.draw(data, figure), args.pdf, args.png, args.csv, args.json, made)


if __name__ == "__main__":
    speak(main)
