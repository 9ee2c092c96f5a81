"""Fetch one model into the cache and write down what pins it.

python scripts/fetch_model.py --spec '{"models": {…}}' --output M.json
"""

from pathlib import Path

from pydantic import TypeAdapter

from candor import provenance, tables
from candor.command import Command
from candor.config.models import Model
from candor.errors import speak
from candor.models import fetch


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    model = TypeAdapter(Model).validate_python(args.spec["models"])
    facts = fetch(model)._asdict()
    made = provenance.record(__file__, args.code, args.spec, inputs=[], packages=["torch", "transformers", "gguf"])
    tables.write_json(args.output, {**facts, "name": model.name, "licence": model.licence}, made)


if __name__ == "__main__":
    speak(main)
