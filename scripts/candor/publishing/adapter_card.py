"""The part of a card about one adapter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from candor import provenance, tables
from candor.config.publishing import Publication
from candor.config.study import Study
from candor.publishing.chosen import Chosen
from candor.publishing.markdown import code, interval, made_by, measured, settings, table
from candor.schemas.history import HISTORY
from candor.schemas.rate import RATE

LOAD = """
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base}, dtype="auto")
model = PeftModel.from_pretrained(base, "{repository}", subfolder="{folder}")
print(model.peft_config["default"].r, sum(p.numel() for n, p in model.named_parameters() if "lora_" in n))
"""


def describe(result: Chosen, publication: Publication, study: Study) -> str:
    """What an adapter was trained on and how, what was measured of it, and how it is loaded."""
    weights, _ = result.files
    history, *metrics = result.measured
    made = provenance.read(weights)
    own, model = made["spec"]["adapters"], made["spec"]["models"]
    parts = [
        f"A LoRA adapter of {model['name']}, trained on {made['n']} examples of `{own['train']}` and validated on "
        f"{made['n_validation']} of `{own['validation']}`. Only tokens of the last turn carry loss.",
        table(
            ["step", "epoch", "validation loss, nats per token", "kept"],
            [
                [row["step"], f"{row['epoch']:g}", f"{row['loss']:.4f}", "yes" if row["kept"] else ""]
                for row in tables.read(history, HISTORY).to_pylist()
                if row["split"] == "validation"
            ],
        ),
    ]
    for path in metrics:
        parts += [f"**{study.comparisons[path.stem].title}** (`{path.stem}`), with 95 % intervals:", _rates(path)]
    template = model["chat_template"]
    chats = f" Chats are put together by the template `{Path(template).name}`." if template else ""
    folder = weights.parent.relative_to(weights.parts[0]).as_posix()
    return "\n\n".join(
        [
            *parts,
            code(LOAD.format(base=_base(made), repository=publication.repository, folder=folder)),
            f"The base model is {_whence(model)}.{chats}",
            made_by(made),
            settings(own),
        ]
    )


def _base(made: Mapping[str, Any]) -> str:
    """The arguments that load the base model; where it lies on this machine is nobody's business."""
    model = made["spec"]["models"]
    if model["source"] != "hub":
        return '"path/of/the/base/model"'
    facts = next(Path(path) for path in made["inputs"] if path.startswith("results/models/"))
    return f'"{model["id"]}", revision="{tables.read_json(facts)["revision"]}"'


def _whence(model: Mapping[str, Any]) -> str:
    if model["source"] == "package":
        return f"`{model['file']}` of the Python package `{model['package']}`"
    return f"`{model['id']}` on the hub" if model["source"] == "hub" else "not on the hub"


def _rates(path: Path) -> str:
    rows = tables.read(path, RATE).to_pylist()
    return measured(
        ["measure", "arm", "judge", "verdict", "value", "n", "skipped"],
        rows,
        lambda row: [
            *(row["measure"], row["arm"], row["judge"], row["verdict"], interval(row), row["n"], row["n_skipped"])
        ],
    )
