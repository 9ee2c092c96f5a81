"""The section `captures`: what is read from a subject model, and what is stored."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from candor.config.base import Id, Section


class Capture(Section):
    """Activations of one subject at one hook; the dataset is the other half of the path."""

    subject: Id = Field(description="Id of the model.")
    hook: Literal["residual", "input_layernorm"] = Field(
        "residual", description="residual: output of block k; input_layernorm: normed input of block k."
    )
    layers: list[int] | Literal["all"] = Field(description="Blocks, counted from 0, or all.")
    store: Literal["tokens", "mean", "positions"] = Field(
        "tokens", description="Every token, the mean over tokens, or the tokens at the named positions."
    )
    mean_layers: list[int] | Literal["all"] = Field(
        [], description="Further blocks, read in the same pass, of which only the mean over tokens is stored."
    )
    positions: list[int] = Field([], description="With store: positions: indices into the kept tokens; -1 is the last.")
    max_tokens: PositiveInt = Field(8192, description="Longest example; a longer one is cut and counted as truncated.")
    truncate: Literal["left", "right"] = Field("left", description="Side on which a too long example is cut.")
    drop_first: int = Field(1, ge=0, description="Tokens at the start that are read by the model and not stored.")
    generation_prompt: bool = Field(False, description="Append the header of the assistant's next turn.")
    batch_tokens: PositiveInt | Literal["auto"] = Field(
        "auto",
        description="Tokens in a batch, padding included; auto: 1024 on a CPU, whose caches it fits, 16384 elsewhere.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Capture":
        if self.layers == []:
            raise ValueError("names no layer")
        for layers in (self.layers, self.mean_layers):
            if isinstance(layers, list) and (len(set(layers)) != len(layers) or min(layers, default=0) < 0):
                raise ValueError(f"has layers {layers}; give each block once, counted from 0")
        if self.store == "positions" and self.mean_layers != []:
            raise ValueError("has `mean_layers`, but with `store: positions` no mean over all tokens is taken")
        if (self.store == "positions") != bool(self.positions):
            raise ValueError("needs `positions` with `store: positions`, and only there")
        return self

    def stored_layers(self, blocks: int) -> list[int]:
        """The layers stored as `store` says, for a model of so many blocks, in ascending order."""
        return list(range(blocks)) if self.layers == "all" else sorted(self.layers)

    def means(self, blocks: int) -> list[int]:
        """The layers of which the mean is stored as well, in ascending order."""
        return list(range(blocks)) if self.mean_layers == "all" else sorted(self.mean_layers)
