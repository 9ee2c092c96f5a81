"""The section `probes`: families of probes and how they are trained (docs/high_stakes.md)."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from candor.config.base import Section

Role = Literal["system", "user", "assistant", "tool"]
"""Whose words a token is; what a chat template adds is nobody's (chat_text.ROLE_CODES)."""


class Reading(Section):
    """What a probe reads of a text."""

    roles: list[Role] | None = Field(
        None,
        description=(
            "Read only the tokens of these roles, and mark a text without any as empty; null: every token, those of "
            "the chat template included. Needs a capture that stores every token."
        ),
    )

    @model_validator(mode="after")
    def _roles_once(self) -> "Reading":
        if self.roles is not None and (not self.roles or len(set(self.roles)) < len(self.roles)):
            raise ValueError(f"has roles {self.roles}; name each once, or give null for every token")
        return self


class OnLayers(Reading):
    """What every probe that reads activations has."""

    layers: list[int] | None = Field(
        None,
        description=(
            "Blocks, counted from 0, that the probe is trained on; null: the capture's `layers`. A family that reads "
            "the mean activation may name blocks of `mean_layers` as well."
        ),
    )

    @model_validator(mode="after")
    def _layers_once(self) -> "OnLayers":
        if self.layers is not None:
            if not self.layers or len(set(self.layers)) < len(self.layers) or min(self.layers) < 0:
                raise ValueError(f"has layers {self.layers}; give each block once, counted from 0, or null for all")
            self.layers.sort()
        return self


class Trained(OnLayers):
    """What every family that is trained by gradient descent has."""

    epochs: PositiveInt = Field(200, description="Most passes over the training set.")
    patience: PositiveInt = Field(50, description="Passes without a better held-out AUROC after which training stops.")
    learning_rate: float = Field(5e-3, gt=0, description="AdamW's step size at the start.")
    final_learning_rate: float = Field(1e-4, gt=0, description="Step size at the end of the cosine.")
    weight_decay: float = Field(1e-3, ge=0, description="AdamW's decoupled weight decay.")
    batch_size: PositiveInt = Field(
        64,
        description=(
            "Examples per step (the paper: 16 x 4 accumulated), also those that a seed watches or a fold leaves out, "
            "which carry no loss for it."
        ),
    )
    clip: float = Field(1.0, gt=0, description="Largest norm of a probe's gradient.")
    held_out: float = Field(0.15, gt=0, lt=1, description="Share of training groups that early stopping watches.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description=(
            "What a family that reads every token multiplies a large layer in while it trains, with float32 weights: "
            "all products of one that weighs tokens, and the search for the largest of one that takes it (mlp stays "
            "in float32). auto: bfloat16 where the CPU is fast at it. Scores are always computed in float32."
        ),
    )


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


class MultiMax(Trained):
    """Several heads, each the largest of its own token scores."""

    family: Literal["multimax"] = Field(description="Sum over heads h of the maximum over tokens of w_h·a, plus b.")
    heads: PositiveInt = Field(10, description="Heads, each with a direction of its own.")


class RollingAttention(Trained):
    """Attention within windows, and the largest window."""

    family: Literal["rolling_attention"] = Field(
        description="Maximum over windows of v·(sum of alpha a) + b, alpha = softmax(q·a) within the window."
    )
    window: PositiveInt = Field(10, description="Tokens in a window; a shorter text is one window.")
    final_learning_rate: float = Field(5e-4, gt=0, description="Step size at the end of the cosine.")


class GatedAttention(Trained):
    """Attention whose weights are gated."""

    family: Literal["gated_attention"] = Field(
        description="v·(sum of alpha a) + b, alpha as exp(q·a / sqrt(width)) sigmoid(g·a - mean of g·a)."
    )
    final_learning_rate: float = Field(5e-4, gt=0, description="Step size at the end of the cosine.")


class GatedBipolar(Trained):
    """The highest and the lowest of gated token scores."""

    family: Literal["gated_bipolar"] = Field(
        description="m + max(u) + min(u) + b, u = (w·a - m) softplus(g·a - mean of g·a), m = mean of w·a."
    )


class MeanThenLinear(Trained):
    """A linear map of the mean activation."""

    family: Literal["mean_then_linear"] = Field(description="w·(mean over tokens of a) + b.")


class Mlp(Trained):
    """A network of two layers."""

    family: Literal["mlp"] = Field(description="Mean over tokens of v·relu(W a + b), plus a bias for each class.")
    hidden: PositiveInt = Field(64, description="Hidden units.")
    epochs: PositiveInt = Field(100, description="Most passes over the training set.")
    patience: PositiveInt = Field(20, description="Passes without a better held-out AUROC after which training stops.")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's step size at the start.")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's decoupled weight decay.")


class DifferenceOfMeans(OnLayers):
    """The line between the class means."""

    family: Literal["difference_of_means"] = Field(description="Direction mu+ - mu-, bias at the midpoint.")


class Logistic(OnLayers):
    """L2-regularised logistic regression on the standardised mean activation."""

    family: Literal["logistic"] = Field(description="Logistic regression on the standardised mean activation.")
    c: float = Field(1e-3, gt=0, description="Inverse strength of the L2 penalty.")
    intercept: bool = Field(False, description="Fit an intercept.")


class RandomDirection(OnLayers):
    """A direction that knows nothing: a control."""

    family: Literal["random_direction"] = Field(
        description="Logistic regression on a random direction of the standardised mean activation, one for each seed."
    )
    c: float = Field(1.0, gt=0, description="Inverse strength of the L2 penalty on the one coefficient.")


class Pca(OnLayers):
    """The directions in which activations vary most, whatever the labels: a control."""

    family: Literal["pca"] = Field(
        description="Logistic regression on the first principal components of the standardised mean activation."
    )
    components: PositiveInt = Field(1, description="Principal components.")
    c: float = Field(1.0, gt=0, description="Inverse strength of the L2 penalty.")


class Perplexity(Reading):
    """How surprising the text is to the subject: a control."""

    family: Literal["perplexity"] = Field(
        description="Logistic regression on the mean log-loss of a token; needs a capture with `log_probs`."
    )
    c: float = Field(1.0, gt=0, description="Inverse strength of the L2 penalty on the one coefficient.")


Probe = Annotated[
    Mean
    | Max
    | Last
    | RollingMeanMax
    | Softmax
    | Attention
    | MultiMax
    | RollingAttention
    | GatedAttention
    | GatedBipolar
    | MeanThenLinear
    | Mlp
    | DifferenceOfMeans
    | Logistic
    | RandomDirection
    | Pca
    | Perplexity,
    Field(discriminator="family"),
]
MEAN_FAMILIES = ("mean", "mean_then_linear", "difference_of_means", "logistic", "random_direction", "pca")
"""Families whose score depends on the mean activation alone."""
STORED_MEAN_FAMILIES = ("mean_then_linear", "difference_of_means", "logistic", "random_direction", "pca")
"""Families that read stored means, so that blocks of a capture's `mean_layers` are enough for them."""
