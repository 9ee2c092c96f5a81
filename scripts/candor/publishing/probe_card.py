"""The part of a card about one probe."""

import json
from pathlib import Path

from candor import provenance, tables
from candor.config.publishing import Publication
from candor.config.study import Study
from candor.publishing.chosen import Chosen, place
from candor.publishing.markdown import code, interval, made_by, settings, table
from candor.schemas.metric import METRIC

MEANS = ("logistic", "mean", "mean_then_linear", "difference_of_means", "random_direction", "pca")
"""Families whose score is a direction on the mean activation."""
POOLS = {
    **dict.fromkeys(MEANS, 'activations.mean(0) @ tensors["weight"][0]'),
    "last": 'activations[-1] @ tensors["weight"][0]',
    "max": '(activations @ tensors["weight"][0]).max(0)',
}
"""Family -> a text's score before the bias, from its activations."""
HOOKS = {"residual": "the output of", "input_layernorm": "the normed input of"}
LOAD = """
import json

import numpy as np
from huggingface_hub import hf_hub_download
from safetensors import safe_open

layer, seed = {layer}, {seed}
path = hf_hub_download("{repository}", "{file}")
with safe_open(path, framework="numpy") as file:
    probe = json.loads(file.metadata()["probe"])
    at = probe["layers"].index(layer), probe["seeds"].index(seed)
    tensors = {{name: file.get_tensor(name)[at] for name in file.keys()}}
threshold = probe["thresholds"][str(layer)][str(seed)]
print({{name: tensor.shape for name, tensor in tensors.items()}}, threshold)
"""
SCORE = """

def score(activations):
    \"\"\"Scores of a text, from what the model holds at its tokens: float32 [tokens, {width}].\"\"\"
    return {pool} + tensors["bias"]


print(score(np.zeros((3, {width}), np.float32)))
"""


def describe(result: Chosen, publication: Publication, study: Study) -> str:
    """What a probe tells apart, where it reads, how well it does, and how it is loaded."""
    (file,) = result.files
    selection, metrics = result.measured
    made = provenance.read(file)
    header = json.loads(provenance.safetensors_header(file)["__metadata__"]["probe"])
    _, task, name = result.name.split("/")
    selected = tables.read_json(selection)
    layer = {**selected["probes"], **selected["controls"]}[name]["layer"]
    capture = study.captures[study.tasks[task].capture]
    subject = study.models[study.base(capture.subject)].name
    if capture.subject not in study.models:
        subject = f"{capture.subject}, made from {subject}"
    load = LOAD.format(layer=layer, seed=header["seeds"][0], repository=publication.repository, file=place(file))
    pool = None if header["probe"].get("roles") else POOLS.get(header["family"])
    scoring = (
        "A text's score is compared with `threshold`."
        if pool
        else f"How its family pools tokens: `scripts/candor/probes/families/{header['family']}.py` of candor."
    )
    classes = " or ".join(header["classes"])
    return "\n\n".join(
        [
            f"**{study.tasks[task].title}**: {classes}. A probe of family `{header['family']}` on {subject} "
            f"(revision `{header['revision']}`), hook `{header['hook']}`, layers {_listed(header['layers'])} of which "
            f"{layer} was selected on training data alone, seeds {_listed(header['seeds'])}. "
            f"Layer k is {HOOKS[header['hook']]} block k, counted from 0. "
            + (
                "It is the monitor that was selected for its task."
                if selected["monitor"] == name
                else f"The monitor selected for its task is `{selected['monitor']}`."
            ),
            f"Trained on {header['n_train']} examples of `{header['train']}`; its thresholds are those of a false "
            f"positive rate of {header['target_fpr']:g} on `{header['control']}`. Measured at layer {layer}, with 95 % "
            "intervals:",
            _measured(metrics, name),
            code(load + (SCORE.format(width=header["width"], pool=pool) if pool else "")),
            f"{scoring} Texts were read as this says:",
            settings(capture.model_dump(mode="json")),
            made_by(made),
            settings(made["spec"]["probes"]),
        ]
    )


def _measured(path: Path, name: str) -> str:
    rows = [row for row in tables.read(path, METRIC).to_pylist() if row["monitor"] == name]
    return table(
        ["dataset", "class", "metric", "value", "n", "positive", "groups", "skipped"],
        [
            [
                *(row["dataset"], row["class"], row["metric"] + (f" less {row['versus']}'s" if row["versus"] else "")),
                *(interval(row), row["n"], row["n_positive"], row["n_groups"], row["n_skipped"]),
            ]
            for row in rows
        ],
    )


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))
