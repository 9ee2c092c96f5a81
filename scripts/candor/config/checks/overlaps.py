"""Examples that would be learnt from and measured on, as far as the config tells; the gates see the rest."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from candor.config.tasks import dataset_of, split_of

if TYPE_CHECKING:
    from candor.config.study import Study


def overlaps(study: "Study") -> Iterator[str]:
    """Parts of tasks and comparisons that share groups with what was learnt from."""
    for id, task in study.tasks.items():
        parts = [("train", task.train), ("control", task.control), *(("evaluation", p) for p in task.evaluation)]
        for i, (key, part) in enumerate(parts):
            for other_key, other in parts[i + 1 :]:
                if _share_groups(study, part, other):
                    yield (
                        f"tasks.{id}.{other_key} names {other!r}, which has groups of tasks.{id}.{key}, {part!r}; "
                        "take another split or another dataset."
                    )
        for part in task.in_distribution:
            if part not in task.evaluation:
                yield f"tasks.{id}.in_distribution names {part!r}, which is not one of its evaluation sets."

    for id, comparison in study.comparisons.items():
        adapter = study.adapter(comparison.subject)
        if adapter is None:
            continue
        for split in ("train", "validation"):
            learnt, met = getattr(study.adapters[adapter], split), f"{comparison.dataset}@test"
            if _share_groups(study, learnt, met):
                yield (
                    f"comparisons.{id}.dataset names {comparison.dataset!r}, which has groups of "
                    f"adapters.{adapter}.{split}, {learnt!r}; take another split or another dataset."
                )
                break  # one sentence, where it has groups of both


def _share_groups(study: "Study", part: str, other: str) -> bool:
    """Whether two parts can hold the same group, as far as the config tells; the gates see the rest."""
    dealers = _dealers(study, dataset_of(part)), _dealers(study, dataset_of(other))
    if dealers[0][0] == dealers[1][0]:
        return split_of(part) == split_of(other)
    return dealers[0][0] in dealers[1] or dealers[1][0] in dealers[0]


def _dealers(study: "Study", dataset: str) -> list[str]:
    """The datasets that dealt out this one's splits: the last one first."""
    chain = [dataset]
    while not study.datasets[chain[-1]].origin.startswith("sources/"):
        chain.append(study.datasets[chain[-1]].origin.rsplit("/", 1)[1])
    while len(chain) > 1 and study.datasets[chain[0]].split is None:
        chain.pop(0)
    return chain
