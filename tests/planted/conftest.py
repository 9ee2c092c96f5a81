"""The planted study, run once for all tests that look at it."""

import pytest

from candor.config.tasks import dataset_of
from tests.planted.chain import ROWS, Chain


@pytest.fixture(scope="package")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The study up to its activations, every gate passed."""
    chain = Chain(tmp_path_factory.mktemp("planted"))
    for dataset, rows in ROWS.items():
        chain.build(dataset, rows())
        chain.extract(dataset)
    for task in chain.config["tasks"].values():
        chain.check_apart(task["train"], task["control"])
        for part in task["evaluation"]:
            chain.check_apart(task["control"], part)
            if dataset_of(part) != dataset_of(task["train"]):
                chain.check_apart(task["train"], part)
    return chain


@pytest.fixture(scope="package")
def study(extracted: Chain) -> Chain:
    """The whole study: every task trained, selected, scored and measured."""
    for task in extracted.config["tasks"]:
        extracted.train(task)
        extracted.evaluate(task)
    return extracted
