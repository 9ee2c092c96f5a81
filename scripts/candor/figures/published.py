"""Published values of arXiv 2506.10805 and of a replication, as figures draw them for reference.

A value is drawn only where a figure's config says that dataset and quantity are the same (`published:`). The model is
another, so it stands beside the value.
"""

from collections.abc import Mapping
from typing import NamedTuple

from candor.config.figures import PublishedSet
from candor.figures.inputs import Mark

PAPER = "arXiv 2506.10805"
APPENDIX = f"{PAPER}, appendix B.7"
"""Another table of the paper says .970 and .916 for the same monitors and sets."""
REPLICATION = "an independent replication"


class Published(NamedTuple):
    """A value, of what and on what, and where it stands; `above` where the source says only that it is exceeded."""

    set: PublishedSet
    metric: str
    value: float
    monitor: str
    model: str
    source: str
    above: bool = False

    @property
    def words(self) -> str:
        """The value and whose it is, as footnotes print it."""
        return f"{'> ' if self.above else ''}{self.value:g} {self.monitor}, {self.model} ({self.source})"


VALUES = (
    Published("six_test_sets", "auroc", 0.916, "attention probe", "Llama-3.3-70B", PAPER),
    Published("six_test_sets", "auroc", 0.887, "attention probe", "Llama-3.1-8B", PAPER),
    Published("six_test_sets", "auroc", 0.913, "attention probe", "Gemma-3-27B", PAPER),
    Published("six_test_sets", "auroc", 0.929, "prompted", "Llama-3.3-70B", APPENDIX),
    Published("six_test_sets", "auroc", 0.877, "prompted", "Llama-3.1-8B", APPENDIX),
    Published("anthropic_hh", "auroc", 0.95, "attention probe", "Llama-3.3-70B", PAPER),
    Published("anthropic_hh", "auroc", 0.9358, "logistic probe on means", "Llama-3.1-8B in 8 bits", REPLICATION),
    Published("aya_redteaming", "auroc", 0.90, "attention probe", "Llama-3.3-70B", PAPER),
    Published("toolace", "auroc", 0.8734, "logistic probe on means", "Llama-3.1-8B in 8 bits", REPLICATION),
    Published("synthetic_test", "auroc", 0.99, "attention probe", "Llama-3.3-70B", PAPER, above=True),
    Published("synthetic_test", "auroc", 0.9985, "logistic probe on means", "Llama-3.1-8B in 8 bits", REPLICATION),
)
"""Values whose set is stated; the paper's TPR at 1 % FPR (probe .43, language model .55) takes the nearest point of the
ROC curve, and the set that it is of is not stated with it, so that it stands beside nothing."""


def matching(sets: Mapping[str, PublishedSet], dataset: str, metric: str) -> list[Published]:
    """The published values of the same set and quantity; `sets` is a figure's `published`."""
    return [one for one in VALUES if one.set == sets.get(dataset) and one.metric == metric]


def mark(one: Published, dataset: str) -> Mark:
    """The CSV row of a published value."""
    unknown = dict.fromkeys(("low", "high", "n", "n_groups", "n_skipped"))
    names = {"dataset": dataset, "monitor": one.monitor, "model": one.model, "source": one.source}
    return {"mark": f"published_{one.metric}", **names, "value": one.value, **unknown}


def notes(sets: Mapping[str, PublishedSet], metric: str) -> list[str]:
    """The footnote on published values; none where nothing is drawn."""
    found = [f"{dataset}: {one.words}" for dataset in sets for one in matching(sets, dataset, metric)]
    return [f"Dashes: published values, of other models. {'; '.join(found)}."] if found else []
