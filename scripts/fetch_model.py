"""Fetch one model into the cache and write down what pins it.

python scripts/fetch_model.py --spec '{"models": {…}}' --output M.json
"""

from pathlib import Path

from pydantic import TypeAdapter

from candor import provenance, tables
from candor.command import Command
from candor.config.models import Model
from candor.errors import speak
from candor.models import chat_template, fetch


def main() -> None:
    parser = Command(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    model = TypeAdapter(Model).validate_python(args.spec["models"])
    facts = fetch(model)._asdict()
    inputs = [Path(model.chat_template)] if model.chat_template else []
    template = chat_template(inputs[0]) if inputs else None
    made = provenance.record(__file__, args.code, args.spec, inputs, packages=["torch", "transformers", "gguf"])
    own = {"name": model.name, "licence": model.licence, "chat_template": template}
    tables.write_json(args.output, {**facts, **own}, made)


if __name__ == "__main__":
    speak(main)
