"""The part of a card about one dataset."""

import json
from collections import defaultdict
from pathlib import Path

from candor import provenance, tables
from candor.config.publishing import Publication
from candor.config.study import Study
from candor.publishing.chosen import RESULTS, Chosen, place
from candor.publishing.markdown import code, made_by, settings, table
from candor.schemas.dataset import DATASET, SPLITS

LOAD = """
from datasets import load_dataset

examples = load_dataset("{repository}", "{name}", split="examples")
{split} = examples.filter(lambda row: row["split"] == "{split}")
print(len({split}), {split}[0]["messages"], {split}[0]["label"])
"""


def front_matter(result: Chosen) -> dict[str, object]:
    """The hub's configuration of a dataset: one table, whose column `split` holds the splits."""
    (file,) = result.files
    return {"config_name": file.stem, "data_files": [{"split": "examples", "path": place(file)}]}


def describe(result: Chosen, publication: Publication, study: Study) -> str:
    """What a dataset holds, what made it, and how it is loaded."""
    (file,) = result.files
    made = provenance.read(file)
    held = tables.read(file, DATASET).select(["split", "label", "group_id"]).to_pylist()
    counts: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for row in held:
        counts[row["split"], row["label"]].append(row["group_id"])
    ordered = sorted(counts.items(), key=lambda item: (SPLITS.index(item[0][0]), item[0][1] or ""))
    first = next(split for split in reversed(SPLITS) if any(split == key[0] for key in counts) or split == "train")
    return "\n\n".join(
        [
            f"{made['n']} examples in {len({row['group_id'] for row in held})} groups (`group_id`: a pair, a prompt or "
            "a scene). `messages` is a list of {role, content}, `attributes` a JSON "
            "object.",
            table(
                ["split", "label", "examples", "groups"],
                [[split, label, len(groups), len(set(groups))] for (split, label), groups in ordered],
            ),
            _leakage(file) if len({split for split, _ in counts}) > 1 else "All of it is one split.",
            code(LOAD.format(repository=publication.repository, name=file.stem, split=first)),
            made_by(made),
            settings(made["spec"]["datasets"]),
        ]
    )


def _leakage(file: Path) -> str:
    """What the leakage gate of a dataset found, where it was checked as it is now."""
    gate = RESULTS / "leakage" / f"{file.stem}.json"
    if not gate.exists() or provenance.read(gate)["inputs"].get(file.as_posix()) != provenance.sha256(file):
        return "Its splits were not checked for near-duplicates."
    found = json.loads(gate.read_text(encoding="utf-8"))
    highest = found["highest_similarity"]
    return (
        f"Checked for leakage between its splits: no two texts of different splits are alike at a Jaccard similarity "
        f"of word 3-grams of {found['similarity']:g}"
        + (f", but for {len(found['allowed'])} that were allowed" if found["allowed"] else "")
        + (f"; the highest one found is {highest:.2f}." if highest is not None else ".")
    )
