"""The files of a comparison, read as its config says."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from candor.comparisons.inputs import (
    SECURE,
    VULNERABLE,
    ComparisonError,
    Example,
    Inputs,
    Response,
    arms_of,
    read_examples,
    read_responses,
)
from candor.config.comparisons import Adherence, Comparison


@dataclass(frozen=True)
class Files:
    """Where everything lies; tables of verdicts and labels name their judges, and each judge may have several."""

    data: Path
    generations: Sequence[Path]
    verdicts: Sequence[Path]
    training_data: Path | None = None
    training_labels: Sequence[Path] = ()
    swapped_data: Path | None = None
    swapped_generations: Sequence[Path] = ()
    swapped_verdicts: Sequence[Path] = ()
    gold_data: Path | None = None
    gold_labels: Sequence[Path] = ()

    def paths(self) -> list[Path]:
        """Every file."""
        single = [path for path in (self.data, self.training_data, self.swapped_data, self.gold_data) if path]
        tables = (*self.generations, *self.verdicts, *self.training_labels)
        return [*single, *tables, *self.swapped_generations, *self.swapped_verdicts, *self.gold_labels]


def load(id: str, comparison: Comparison, files: Files) -> Inputs:
    """Read and join all that the comparison names; ComparisonError where a file is absent, one too many, or unfit."""
    judges = comparison.all_judges()
    responses = read_responses(files.data, files.generations, judges, files.verdicts)
    arms = arms_of(responses, files.data)
    gold = list(_labelled(comparison, "gold", judges, files.gold_data, files.gold_labels).values())
    strange = sorted({example.label for example in gold} - {VULNERABLE, SECURE})
    if strange:
        raise ComparisonError(
            f"{files.gold_data}: has the label {strange[0]!r}, where gold solutions are {VULNERABLE} or {SECURE}."
        )
    told = comparison.told_of_training() if isinstance(comparison, Adherence) else []
    training = _labelled(comparison, "training", told, files.training_data, files.training_labels)
    return Inputs(id, arms, responses, _swapped(comparison, files, responses), list(training.values()), gold)


def _labelled(
    comparison: Comparison, key: str, judges: Sequence[str], data: Path | None, labels: Sequence[Path]
) -> dict[str, Example]:
    """The examples of the dataset that a key of the config names, where it does, with the judges' labels."""
    if not _wanted(comparison, key, data):
        return {}
    assert data is not None
    return read_examples(data, judges, labels)


def _swapped(comparison: Comparison, files: Files, responses: Sequence[Response]) -> list[Response]:
    if not _wanted(comparison, "swapped", files.swapped_data):
        return []
    assert files.swapped_data is not None and isinstance(comparison, Adherence)
    judges, tables = [comparison.behaviour], files.swapped_verdicts
    swapped = read_responses(files.swapped_data, files.swapped_generations, judges, tables)
    arms = {response.example_id: response.arm for response in responses}
    for response in swapped:
        if arms.get(response.example_id) != response.arm:
            raise ComparisonError(
                f"{files.swapped_data}: {response.example_id} of arm {response.arm} does not stand in {files.data}; "
                "the prompts of a swapped set keep the ids and arms that they have there."
            )
    return swapped


def _wanted(comparison: Comparison, key: str, data: Path | None) -> bool:
    """Whether the config names a dataset under a key; its files must be given then, and only then."""
    named = getattr(comparison, key, None) is not None
    if named != (data is not None):
        raise ComparisonError(
            f"the comparison names `{key}`, but --{key}-data is not given; give it."
            if named
            else f"--{key}-data is given, but the comparison names no `{key}`; leave it out, or name it."
        )
    return named
