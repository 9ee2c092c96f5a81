"""The part of a card about one probe."""

import json
from pathlib import Path

from candor import provenance, tables
from candor.config.publishing import Publication
from candor.config.study import Study
from candor.publishing.chosen import Chosen, place
from candor.publishing.markdown import code, interval, made_by, measured, settings
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
    \"\"\"{what}, from what the model holds at a text's tokens: float32 [tokens, {width}].\"\"\"
    logits = {pool} + tensors["bias"]
    {scores}


print(score(np.zeros((3, {width}), np.float32)))
"""
ONE = 'return {probe["classes"][1]: logits[0]}'
"""The score of the second of two classes."""
EACH = """scores = {}
    for k, name in enumerate(probe["classes"]):
        scores[name] = logits[k] - np.logaddexp.reduce(np.delete(logits, k))
    return scores"""
"""The scores of three classes or more: as `candor.probes.training.margin`."""


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
    second, several = header["classes"][1], len(header["classes"]) > 2
    scoring = (
        "The score of a class is its margin, its logit less the logarithm of the sum of the others' exponentials; each "
        "is compared with the `threshold` of its class."
        if several
        else f"The score is that of `{second}`, and is compared with its `threshold`."
    )
    if pool:
        what, scores = ("Score of each class", EACH) if several else (f"Score of `{second}`", ONE)
        load += SCORE.format(what=what, width=header["width"], pool=pool, scores=scores)
    else:
        scoring += f" How its family pools tokens: `scripts/candor/probes/families/{header['family']}.py` of candor."
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
            f"positive rate of {header['target_fpr']:g} on `{header['control']}`. Measured at layer {layer}, means "
            "over its seeds, with 95 % intervals; `tpr_at_fpr`, `tpr_at_fpr_nearest` and `realised_fpr` are those of a "
            f"false positive rate of {_target(metrics):g} on the set itself:",
            _measured(metrics, name),
            f"The code loads the first seed, {header['seeds'][0]}:",
            code(load),
            f"{scoring} Texts were read as this says:",
            settings(capture.model_dump(mode="json")),
            made_by(made),
            settings(made["spec"]["probes"]),
        ]
    )


def _measured(path: Path, name: str) -> str:
    rows = [row for row in tables.read(path, METRIC).to_pylist() if row["monitor"] == name]
    return measured(
        ["dataset", "class", "metric", "value", "seeds", "n", "positive", "groups", "skipped"],
        rows,
        lambda row: [
            *(row["dataset"], row["class"], row["metric"] + (f" less {row['versus']}'s" if row["versus"] else "")),
            *(interval(row), row["n_seeds"], row["n"], row["n_positive"], row["n_groups"], row["n_skipped"]),
        ],
    )


def _target(path: Path) -> float:
    """The false positive rate that a table of metrics was measured at."""
    return float(provenance.read(path)["spec"]["tasks"]["target_fpr"])


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))
