"""What a comparison is made from: responses with their verdicts, and labelled examples, checked and joined."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from candor import tables
from candor.errors import CandorError
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.verdict import VERDICT

CONTROL = "control"
VULNERABLE, SECURE = "vulnerable", "secure"
"""Labels of gold solutions, and what judges call code."""


class ComparisonError(CandorError):
    """Tables that no comparison can be made from; the message says which, and what to do."""


class Verdict(NamedTuple):
    """What a judge says of a text; None where it could not judge, and the status says why."""

    verdict: str | None
    status: str


class Example(NamedTuple):
    """A prompt in an arm, or a labelled text, with the judges' verdicts on it where they judged the text itself."""

    prompt: str  # the group: arms of one prompt share it
    label: str
    split: str
    verdicts: Mapping[str, Verdict]


class Response(NamedTuple):
    """One response to a prompt in an arm, with the verdicts on it by judge."""

    example_id: str
    prompt: str
    arm: str
    sample: int
    status: str
    reasoning: str | None
    answer: str | None
    verdicts: Mapping[str, Verdict]


class Arms(NamedTuple):
    """The labels of the two arms; the first is the trigger, or a decoy."""

    trigger: str
    control: str


@dataclass(frozen=True)
class Inputs:
    """All that a comparison may read; what its config does not name is empty."""

    id: str
    arms: Arms
    responses: Sequence[Response]
    swapped: Sequence[Response] = ()
    training: Sequence[Example] = ()
    gold: Sequence[Example] = ()


def read_examples(data: Path, judges: Sequence[str] = (), labels: Sequence[Path] = ()) -> dict[str, Example]:
    """The labelled examples of a dataset by id, with the verdicts of judges on it, from tables in any order."""
    rows = tables.read(data, DATASET).to_pylist()
    unlabelled = [row["example_id"] for row in rows if row["label"] is None]
    if unlabelled:
        raise ComparisonError(f"{data}: {unlabelled[0]} has no label, so it belongs to no arm; label every example.")
    keys = [(row["example_id"], 0) for row in rows]
    verdicts = read_verdicts(judges, labels, keys, data)
    return {
        row["example_id"]: Example(row["group_id"], row["label"], row["split"], found)
        for row, found in zip(rows, verdicts, strict=True)
    }


def read_responses(
    data: Path, generations: Sequence[Path], judges: Sequence[str], verdicts: Sequence[Path]
) -> list[Response]:
    """Every response to the prompts of a dataset, from all shards, with its verdict by each judge."""
    prompts = read_examples(data)
    rows = read_answers(generations, prompts, data)
    keys = [(row["example_id"], row["sample_index"]) for row in rows]
    of = Path(", ".join(map(str, generations)))
    return [
        Response(
            row["example_id"],
            prompts[row["example_id"]].prompt,
            prompts[row["example_id"]].label,
            row["sample_index"],
            row["status"],
            row["reasoning"],
            row["answer"],
            found,
        )
        for row, found in zip(rows, read_verdicts(judges, verdicts, keys, of), strict=True)
    ]


def read_answers(generations: Sequence[Path], examples: Collection[str], data: Path) -> list[dict[str, Any]]:
    """Rows of all shards, which must answer all examples of the dataset, named by their ids, and no others."""
    rows: list[dict[str, Any]] = [row for path in generations for row in tables.read(path, GENERATION).to_pylist()]
    shards = ", ".join(map(str, generations))
    _refuse_repeats([(row["example_id"], row["sample_index"]) for row in rows], shards)
    answered = {row["example_id"] for row in rows}
    _refuse_unknown(answered, examples, f"{shards}: answers", f"{data} does not hold")
    _refuse_unknown(examples, answered, f"{shards}: does not answer", f"{data} holds")
    return rows


def arms_of(responses: Iterable[Response], data: Path) -> Arms:
    """The two arms of a dataset: `control`, and the other label."""
    found = sorted({response.arm for response in responses})
    if len(found) != 2 or CONTROL not in found:
        raise ComparisonError(
            f"{data}: has the labels {', '.join(found)}, where a comparison needs {CONTROL} and one other arm."
        )
    return Arms(next(label for label in found if label != CONTROL), CONTROL)


def read_verdicts(
    judges: Sequence[str], paths: Sequence[Path], keys: Sequence[tuple[str, int]], of: Path
) -> list[dict[str, Verdict]]:
    """The verdicts of each judge on texts named by example and sample, in their order."""
    found: list[dict[str, Verdict]] = [{} for _ in keys]
    for judge, rows in _rows_by_judge(judges, paths, of).items():
        where = ", ".join(str(path) for path in dict.fromkeys(path for path, _ in rows))
        given = [(row["example_id"], row["sample_index"]) for _, row in rows]
        _refuse_repeats(given, where)
        _refuse_unknown(given, keys, f"{where}: judges", f"{of} does not hold")
        _refuse_unknown(keys, given, f"{where}: does not judge", f"{of} holds")
        by_key = {key: Verdict(row["verdict"], row["status"]) for key, (_, row) in zip(given, rows, strict=True)}
        for verdicts, key in zip(found, keys, strict=True):
            verdicts[judge] = by_key[key]
    return found


def _rows_by_judge(
    judges: Sequence[str], paths: Sequence[Path], of: Path
) -> dict[str, list[tuple[Path, dict[str, Any]]]]:
    """Rows of verdict tables, each with its file, by the judge that they name; a judge may have several tables."""
    found: dict[str, list[tuple[Path, dict[str, Any]]]] = {judge: [] for judge in judges}
    for path in paths:
        for row in tables.read(path, VERDICT).to_pylist():
            if row["judge"] not in found:
                raise ComparisonError(
                    f"{path}: holds verdicts of {row['judge']}, not of {', '.join(judges) or 'any judge'}; give the "
                    "tables of the judges that the config names."
                )
            found[row["judge"]].append((path, row))
    silent = next((judge for judge, rows in found.items() if not rows), None)
    if silent is not None:
        raise ComparisonError(f"no table holds verdicts of {silent} on {of}; give those of every judge.")
    return found


def _refuse_repeats(keys: Iterable[tuple[str, int]], where: str) -> None:
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise ComparisonError(f"{where}: {twice[0][0]}, sample {twice[0][1]}, stands in more than one row.")


def _refuse_unknown(keys: Iterable[Any], known: Iterable[Any], says: str, which: str) -> None:
    missing = sorted(set(keys) - set(known))
    if missing:
        name = missing[0] if isinstance(missing[0], str) else f"{missing[0][0]}, sample {missing[0][1]}"
        raise ComparisonError(f"{says} {name}, which {which}; make the older of the two files again.")
