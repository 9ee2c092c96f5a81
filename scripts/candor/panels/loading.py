"""The texts of a panel with every judge's verdict on them, read and checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from candor import tables
from candor.comparisons.inputs import Verdict, read_answers, read_verdicts
from candor.config.panels import Panel
from candor.errors import CandorError
from candor.schemas.dataset import DATASET


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
    of = data if not generations else Path(", ".join(map(str, generations)))
    return [
        Text(examples[example]["group_id"], panel.right(examples[example]["label"]), found)
        for (example, _), found in zip(keys, read_verdicts(panel.judges, verdicts, keys, of), strict=True)
    ]


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
