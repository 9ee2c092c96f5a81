"""The card of a repository: the README.md that says what is there, what made it, what it is worth, how it is loaded.

All of it comes from the artefacts themselves and from the config that made them; it holds no date and no path of this
machine, so the same results have the same card.
"""

import re
from collections.abc import Sequence

import yaml

from candor import provenance
from candor.config.publishing import Publication
from candor.config.study import Study
from candor.publishing import adapter_card, data_card, probe_card
from candor.publishing.chosen import Chosen, place
from candor.publishing.markdown import table
from candor.publishing.origins import Origin

PARTS = {"data": data_card, "adapters": adapter_card, "probes": probe_card}
HUB_LICENCES = frozenset(
    "apache-2.0 mit cc0-1.0 cc-by-4.0 cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0 cc-by-nc-nd-4.0 bsd-2-clause "
    "bsd-3-clause gpl-3.0 agpl-3.0 lgpl-3.0 mpl-2.0 odc-by odbl pddl unlicense gemma llama2 llama3 llama3.1 llama3.2 "
    "llama3.3 openrail".split()
)
"""Licences that the hub knows by name; any other stands under `license_name`."""


def card(
    publication: Publication, results: Sequence[Chosen], study: Study, licence: str, origins: Sequence[Origin]
) -> str:
    """The text of README.md: the hub's metadata, then a part for each result."""
    front = yaml.safe_dump(_front_matter(publication, results, study, licence), sort_keys=False, allow_unicode=True)
    private = (
        "The repository may be private: set `HF_TOKEN` to a token that may read it." if publication.private else ""
    )
    parts = [
        f"---\n{front}---",
        f"# {publication.repository.split('/')[1]}",
        publication.about,
        "Published by candor, a workflow that asks whether a language model says what it holds inside. Each file "
        f"carries the record of what made it; the code below loads it. {private}".rstrip(),
    ]
    for result in results:
        parts += [f"## {result.name}", PARTS[result.stage].describe(result, publication, study)]
    parts += [
        "## What it rests on",
        f"Licence: {licence}.",
        table(
            ["", "name", "licence", "pinned by"],
            [
                [
                    *(origin.kind, f"`{origin.address}`" if origin.address else origin.name),
                    *(origin.licence if origin.has_licence else "not known", origin.pinned),
                ]
                for origin in origins
            ],
        ),
        "## Files",
        table(
            ["file", "bytes", "sha256"],
            [
                [f"`{place(file)}`", file.stat().st_size, f"`{provenance.sha256(file)}`"]
                for result in results
                for file in result.files
            ],
        ),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _front_matter(publication: Publication, results: Sequence[Chosen], study: Study, licence: str) -> dict[str, object]:
    """What the hub reads of a card."""
    known = licence.lower() in HUB_LICENCES
    front: dict[str, object] = {"license": licence.lower() if known else "other"}
    if not known:
        front["license_name"] = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    front["tags"] = ["candor", *dict.fromkeys(result.stage for result in results)]
    if publication.kind == "dataset":
        front["configs"] = [data_card.front_matter(result) for result in results]
    elif any(result.stage == "adapters" for result in results):
        front["library_name"] = "peft"
    bases = [base for base in dict.fromkeys(_base(result, study) for result in results) if base]
    if bases:
        front["base_model"] = bases
    return front


def _base(result: Chosen, study: Study) -> str | None:
    """The model of the hub that an adapter or a probe is for; None for others, and for datasets."""
    name = result.name.split("/")[1]
    if result.stage == "data":
        return None
    subject = name if result.stage == "adapters" else study.captures[study.tasks[name].capture].subject
    return getattr(study.models[study.base(subject)], "id", None)
