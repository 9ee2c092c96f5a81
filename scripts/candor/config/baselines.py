"""The section `baselines`: monitors that do not read activations."""

from typing import Literal

from pydantic import Field, PositiveInt

from candor.config.base import Section


class Baseline(Section):
    """TF-IDF features and a linear classifier, on the words of all turns; it reads texts to their end."""

    kind: Literal["tfidf"] = Field(description="TF-IDF and a linear support vector classifier.")
    ngrams: tuple[PositiveInt, PositiveInt] = Field((1, 3), description="Shortest and longest word n-gram.")
    max_features: PositiveInt = Field(20_000, description="Largest vocabulary.")
    min_df: PositiveInt = Field(
        3, description="Texts an n-gram must occur in; falls back to 1, marked, if none is left."
    )
    max_df: float = Field(0.9, gt=0, le=1, description="Share of texts above which an n-gram is dropped.")
    sublinear_tf: bool = Field(True, description="Use 1 + log(tf).")
    c: float = Field(1.0, gt=0, description="Inverse strength of the L2 penalty.")
