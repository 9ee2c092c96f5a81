"""Collect the digests that each figure's own job wrote, in the format of sha256sum.

python scripts/write_manifest.py --figures roc.json … --output SHA256SUMS
"""

from pathlib import Path

from candor import tables
from candor.command import Command
from candor.errors import speak


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--figures", type=Path, nargs="*", required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    lines = [
        f"{digest}  {figure.parent / name}"
        for figure in args.figures
        for name, digest in sorted(tables.read_json(figure)["sha256"].items())
    ]
    with tables.draft(args.output) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    speak(main)
