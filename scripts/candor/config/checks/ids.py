"""Ids that would name two things in one place."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from candor.config.checks.references import SUBJECTS

if TYPE_CHECKING:
    from candor.config.study import Study


def shared_ids(study: "Study") -> Iterator[str]:
    """Ids that two registries give, where both name the same files or things."""
    for one, other, why in (
        ("adapters", "models", "both are subjects"),
        ("ablations", "models", "both are subjects"),
        ("ablations", "adapters", "both are subjects"),
        ("comparisons", "tasks", "their metrics lie in one folder"),
        ("panels", "tasks", "their metrics lie in one folder"),
        ("panels", "comparisons", "their metrics lie in one folder"),
        *(("clients", registry, "both answer prompts") for registry in SUBJECTS),
    ):
        for id in sorted(set(getattr(study, one)) & set(getattr(study, other))):
            yield f"{one}.{id} has the id of one of {other}; {why}, so give each an id of its own."
    for id in sorted(set(study.probes) & set(study.baselines)):
        yield f"baselines.{id} has the id of a probe; monitors share a column, so give each an id of its own."
