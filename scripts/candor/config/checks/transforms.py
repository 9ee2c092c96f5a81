"""Transforms that do not exist, do not fit what they are given, or are given wrong options."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from candor.config.origins import grader_of
from candor.config.sentences import meant, sentence

if TYPE_CHECKING:
    from candor.config.study import Study

TRANSFORMS = Path(__file__).parents[2] / "data" / "transforms"
GIVES = {"sources": "a source's rows", "datasets": "examples", "generations": "generations", "labels": "labels"}
"""What a dataset's first transform is given, by the registry of its origin."""


def bad_transforms(study: "Study") -> Iterator[str]:
    """Steps of datasets that cannot be taken."""
    for id, dataset in study.datasets.items():
        for number, step in enumerate(dataset.steps()):
            at: tuple[Any, ...] = ("datasets", id) if number == 0 else ("datasets", id, "then", number - 1)
            if not (TRANSFORMS / f"{step.transform}.py").exists():
                known = ", ".join(sorted(path.stem for path in TRANSFORMS.glob("[a-z]*.py")))
                key = ".".join(map(str, at))
                yield f"{key}.transform names {step.transform!r}, which is not one of: {known}."
                continue
            module = importlib.import_module(f"candor.data.transforms.{step.transform}")
            given = "examples" if number else _given(dataset.origin)
            if getattr(module, "READS", given) != given:
                key = ".".join(map(str, at))
                yield f"{key}.transform names {step.transform!r}, which reads {module.READS}, and is given {given}."
                continue
            try:
                module.Options.model_validate(step.options)
            except ValidationError as error:
                for problem in filter(meant, error.errors()):
                    loc = (*at, "options", *problem["loc"])
                    yield sentence({**problem, "loc": loc})


def _given(origin: str) -> str:
    """What a dataset's first transform is given."""
    return "labels of verbalisations" if grader_of(origin) else GIVES[origin.split("/")[0]]
