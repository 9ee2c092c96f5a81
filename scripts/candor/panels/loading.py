"""The texts of a panel with every judge's verdict on them, read and checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from candor import tables
from candor.comparisons.inputs import Verdict, read_answers, read_verdicts
from candor.config.panels import Panel
from candor.data.examples import absent_of_splits
from candor.errors import CandorError
from candor.judges.grades import of_example
from candor.schemas.dataset import DATASET
from candor.schemas.verdict import VERDICT


class PanelError(CandorError):
    """Tables that do not fit a panel; the message says which, and what to do."""


class Text(NamedTuple):
    """A text that the judges read: its group, the verdict that is right by gold, and theirs."""

    group: str
    gold: str | None
    verdicts: Mapping[str, Verdict]


def read_texts(panel: Panel, data: Path, generations: Sequence[Path], verdicts: Sequence[Path]) -> list[Text]:
    """All texts of a panel, in the order of its dataset or generations; tables of verdicts stand in any order."""
    if (panel.generations is None) != (not generations):
        raise PanelError(
            f"the panel is on {panel.texts}, but generations are given; leave --generations out."
            if generations
            else f"the panel is on {panel.texts}, but no generations are given; give all shards by --generations."
        )
    examples = {row["example_id"]: row for row in tables.read(data, DATASET).to_pylist()}
    if generations:
        keys = [(row["example_id"], row["sample_index"]) for row in read_answers(generations, examples, data)]
    else:
        keys = [(example, 0) for example in examples]
    _refuse_unknown_labels(panel, {row["label"] for row in examples.values()}, data)
    if panel.verbalised is not None:
        return _verbalised(panel, examples, data, verdicts)
    of = data if not generations else Path(", ".join(map(str, generations)))
    return [
        Text(examples[example]["group_id"], panel.right(examples[example]["label"]), found)
        for (example, _), found in zip(keys, read_verdicts(panel.judges, verdicts, keys, of), strict=True)
    ]


def _verbalised(
    panel: Panel, examples: Mapping[str, Mapping[str, Any]], data: Path, paths: Sequence[Path]
) -> list[Text]:
    """Verbalisations of a dataset's examples, in its order, by place or each example's together.

    What was put into words is known by the first judge's tables, and the others must be of the same.
    """
    found: dict[str, dict[_Place, dict[str, Any]]] = {judge: {} for judge in panel.judges}
    for path in paths:
        for row in tables.read(path, VERDICT).to_pylist():
            place = _Place(row["example_id"], row["sample_index"], row["token_index"])
            if row["judge"] not in found or place.example not in examples or place in found[row["judge"]]:
                raise PanelError(
                    f"{path}: holds a verdict of {row['judge']} on {place.words()}; give tables of the panel's judges "
                    f"on the verbalisations of {data}, each once."
                )
            found[row["judge"]][place] = row
    first, *others = panel.judges
    for judge in others:
        differing = sorted(found[first].keys() ^ found[judge].keys(), key=_Place.words)
        if differing:
            raise PanelError(
                f"one of {first} and {judge} has no verdict on {differing[0].words()}; give all shards of both, and "
                "make the older one again."
            )
    absent = absent_of_splits(
        {id: row["split"] for id, row in examples.items()}, {place.example for place in found[first]}
    )
    if absent or not found[first]:
        told = f"{absent[0]}, which {data} holds" if absent else "anything"
        raise PanelError(f"no table holds verdicts of {first} on {told}; give all shards of the labels.")
    by_example: dict[str, list[_Place]] = {}
    for place in found[first]:
        by_example.setdefault(place.example, []).append(place)
    texts = []
    for id in filter(by_example.__contains__, examples):
        example = examples[id]
        places = sorted(by_example[id], key=lambda place: (place.sample, -1 if place.token is None else place.token))
        for together in [places] if panel.by == "example" else [[place] for place in places]:
            rows = {judge: [found[judge][place] for place in together] for judge in panel.judges}
            said = {judge: _said(own, panel.by) for judge, own in rows.items()}
            texts.append(Text(example["group_id"], panel.right(example["label"]), said))
    return texts


class _Place(NamedTuple):
    """What a verbalisation is of."""

    example: str
    sample: int
    token: int | None

    def words(self) -> str:
        return f"{self.example}, sample {self.sample}, {'whole' if self.token is None else f'token {self.token}'}"


def _said(rows: Sequence[Mapping[str, Any]], by: str) -> Verdict:
    if by == "place":
        return Verdict(rows[0]["verdict"], rows[0]["status"])
    grade = of_example(rows)
    return Verdict(grade.label, grade.status)


def _refuse_unknown_labels(panel: Panel, labels: set[str | None], data: Path) -> None:
    """Labels and verdicts that the config names by mistake would leave measures empty without a word."""
    absent = [label for label in (panel.gold if isinstance(panel.gold, dict) else ()) if label not in labels]
    if absent:
        known = ", ".join(sorted(filter(None, labels))) or "none at all"
        raise PanelError(f"{data}: no example has the label {absent[0]!r}, which `gold` names; it has {known}.")
    rights = {panel.right(label) for label in labels} - {None}
    if panel.gold and not rights:
        raise PanelError(f"{data}: no example has a label, so the panel has no `gold`; leave it out.")
    if panel.positive is not None and panel.positive not in rights:
        raise PanelError(f"{data}: no label stands for the verdict {panel.positive!r}, which `positive` names.")
