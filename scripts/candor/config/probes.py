"""The section `probes`: families of probes and how they are trained (STUDIES.md, B3)."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from candor.config.base import Section


class Trained(Section):
    """What every family that is trained by gradient descent has."""

    epochs: PositiveInt = Field(200, description="Most passes over the training set.")
    patience: PositiveInt = Field(50, description="Passes without a better held-out AUROC after which training stops.")
    learning_rate: float = Field(5e-3, gt=0, description="AdamW's step size at the start.")
    final_learning_rate: float = Field(1e-4, gt=0, description="Step size at the end of the cosine.")
    weight_decay: float = Field(1e-3, ge=0, description="AdamW's decoupled weight decay.")
    batch_size: PositiveInt = Field(64, description="Examples per step (the paper: 16 x 4 accumulated).")
    clip: float = Field(1.0, gt=0, description="Largest norm of a probe's gradient.")
    held_out: float = Field(0.15, gt=0, lt=1, description="Share of training groups that early stopping watches.")


class Mean(Trained):
    """Mean of the token scores."""

    family: Literal["mean"] = Field(description="Mean over tokens of w·a + b.")


class Max(Trained):
    """Largest token score."""

    family: Literal["max"] = Field(description="Maximum over tokens of w·a + b.")


class Last(Trained):
    """Score of the last token."""

    family: Literal["last"] = Field(description="w·a + b at the last token.")


class RollingMeanMax(Trained):
    """Largest mean over a window of token scores."""

    family: Literal["rolling_mean_max"] = Field(description="Maximum over windows of the window's mean of w·a + b.")
    window: PositiveInt = Field(40, description="Tokens in a window; a shorter text is one window.")


class Softmax(Trained):
    """Token scores weighted by their own softmax."""

    family: Literal["softmax"] = Field(description="Sum over tokens of softmax(z / temperature) z, z = w·a + b.")
    temperature: float = Field(5.0, gt=0, description="Temperature of the softmax.")
    patience: PositiveInt = Field(10, description="Passes without a better held-out AUROC after which training stops.")


class Attention(Trained):
    """One learned query and one learned value."""

    family: Literal["attention"] = Field(description="v·(sum of alpha a) + b, alpha = softmax(q·a / sqrt(width)).")
    final_learning_rate: float = Field(5e-4, gt=0, description="Step size at the end of the cosine.")


class MeanThenLinear(Trained):
    """A linear map of the mean activation."""

    family: Literal["mean_then_linear"] = Field(description="w·(mean over tokens of a) + b.")


class DifferenceOfMeans(Section):
    """The line between the class means."""

    family: Literal["difference_of_means"] = Field(description="Direction mu+ - mu-, bias at the midpoint.")


class Logistic(Section):
    """L2-regularised logistic regression on the standardised mean activation."""

    family: Literal["logistic"] = Field(description="Logistic regression on the standardised mean activation.")
    c: float = Field(1e-3, gt=0, description="Inverse strength of the L2 penalty.")
    intercept: bool = Field(False, description="Fit an intercept.")


Probe = Annotated[
    Mean | Max | Last | RollingMeanMax | Softmax | Attention | MeanThenLinear | DifferenceOfMeans | Logistic,
    Field(discriminator="family"),
]
