"""What several tests share. Nothing here or in the tests asks the network."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.small_models import small_subject, small_tokenizer

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from candor.models import Subject


@pytest.fixture
def tokenizer() -> "PreTrainedTokenizerFast":
    """The small tokenizer, a test's own."""
    return small_tokenizer()


@pytest.fixture
def tiny(tokenizer: "PreTrainedTokenizerFast") -> "Callable[..., Subject]":
    """A maker of subjects, by family and dtype, with the small tokenizer."""

    def make(family: str = "llama", dtype: str = "float32") -> "Subject":
        return small_subject(tokenizer, family, dtype)

    return make
