"""The section `adapters`: LoRA adapters, what they are trained on, and how."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, StringConstraints, model_validator

from candor.config.base import Id, Section
from candor.config.tasks import Part

ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]+$")]


class Lora(Section):
    """The adapter's shape, in peft's own words."""

    r: PositiveInt = Field(16, description="Rank.")
    alpha: float = Field(16, gt=0, description="The update is alpha / r times B A; with rslora, alpha / sqrt(r).")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input; slow on a CPU.")
    targets: list[ModuleName] | Literal["default", "all-linear"] = Field(
        "all-linear", description="Modules that get an adapter: names, all linear ones, or peft's default."
    )
    layers: list[NonNegativeInt] | None = Field(None, description="Blocks that get an adapter; all without it.")
    bias: Literal["none", "all", "lora_only"] = Field("none", description="Which biases are trained as well.")
    rslora: bool = Field(False, description="Rank-stabilised scaling.")
    init: Literal["default", "gaussian", "pissa", "olora", "orthogonal"] = Field(
        "default", description="How the adapter's weights start."
    )


class Adapter(Section):
    """One finetuning: a subject model, examples whose last turn is the completion, and the schedule."""

    subject: Id = Field(description="Id of the model that is adapted.")
    train: Part = Field(description="Examples to learn from, `dataset@split`; their last turn is the assistant's.")
    validation: Part = Field(description="Examples whose loss chooses the checkpoint that is kept, `dataset@split`.")
    lora: Lora = Field(Lora(), description="The adapter's shape.")
    adapter_dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="Number format that the adapter is stored in; it is trained in float32."
    )
    epochs: PositiveInt = Field(2, description="Passes over the training examples.")
    batch_size: PositiveInt = Field(4, description="Examples in a batch; several processes share one out.")
    gradient_accumulation: PositiveInt = Field(
        1, description="Batches to an optimiser step; an epoch's last step takes the batches that are left."
    )
    batching: Literal["length_grouped", "packed", "shuffled"] = Field(
        "length_grouped", description="Batches of like lengths, examples packed end to end, or plain shuffled batches."
    )
    max_tokens: PositiveInt = Field(1024, description="Longest example; longer ones are left out and counted, not cut.")
    learning_rate: float = Field(2e-5, gt=0, description="Peak learning rate of AdamW.")
    schedule: Literal["constant", "cosine"] = Field("constant", description="The learning rate after warm-up.")
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of the steps over which the learning rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's betas.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    gradient_checkpointing: bool = Field(False, description="Compute activations twice to save memory.")
    evaluations: PositiveInt = Field(1, description="Validations per epoch; the best one's checkpoint is kept.")
    seed: int = Field(0, description="Seed of the adapter's first weights, the order of batches and dropout.")
    tracker: Literal["wandb", "trackio", "tensorboard"] | None = Field(
        None, description="Experiment tracker that accelerate logs to; none without it."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Adapter":
        if self.train == self.validation:
            raise ValueError(f"validates on what it trains on, {self.train!r}; take another split")
        return self
