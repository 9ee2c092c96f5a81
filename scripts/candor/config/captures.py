"""The section `captures`: what is read from a subject model, and what is stored."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from candor.config.base import Id, Section

Span = Literal["last_prompt", "reasoning", "answer_start", "end"]
"""Where in the assistant's turn activations/spans.py looks."""
Policy = Literal["even", "last_prompt", "ends", "all"]
"""How activations/places.py chooses among the tokens of a prompt and of the response to it."""
SECOND_PASS = ("max_tokens", "truncate", "generation_prompt", "log_probs", "mean_layers", "spans")
"""Keys that mean nothing while a subject answers: a sampling bounds its texts, and nothing is averaged."""


class Capture(Section):
    """Activations of one subject at one hook; the dataset is the other half of the path."""

    subject: Id = Field(description="Id of the model or adapter; with a sampling, of an ablation too.")
    sampling: Id | None = Field(
        None,
        description=(
            "Read the activations while the subject answers the dataset's prompts, with the sampling of this id, which "
            "makes the responses in the same pass; rows are of prompt and response. Without it the dataset's texts are "
            "read as they stand."
        ),
    )
    hook: Literal["residual", "input_layernorm"] = Field(
        "residual", description="residual: output of block k; input_layernorm: normed input of block k."
    )
    layers: list[int] | Literal["all"] = Field(description="Blocks, counted from 0, or all.")
    store: Literal["tokens", "mean", "positions", "spans"] = Field(
        "tokens",
        description="Every token, the mean over tokens, the tokens at the named positions, or the mean over each span.",
    )
    mean_layers: list[int] | Literal["all"] = Field(
        [], description="Further blocks, read in the same pass, of which only the mean over tokens is stored."
    )
    positions: list[int] | Policy = Field(
        [],
        description=(
            "With store: positions: indices into the kept tokens, -1 being the last; with a sampling also a policy. A "
            "token that two indices name is stored once. "
            "even: `k` tokens spread evenly over what `of` names, its first and last among them; last_prompt: the "
            "prompt's last token; ends: the response's first and last token; all: each token of what `of` names. Where "
            "there are fewer tokens than a policy asks for, each is stored once."
        ),
    )
    k: PositiveInt | None = Field(None, description="With positions: even, the number of tokens of an example.")
    of: Literal["prompt", "response", "text"] | None = Field(
        None,
        description=(
            "With positions: even or all, what the tokens are of; text: prompt and response. A prompt reaches up to "
            "the first token that the model draws, generation prompt and prefill included. The last token drawn has "
            "no activations, since the model never reads it: a response ends with the one before."
        ),
    )
    spans: list[Span] = Field(
        [],
        description=(
            "With store: spans, places around the assistant's turn that ends the conversation: the last token before "
            "it (of the prompt, with its generation prompt, where there is no such turn); what stands between <think> "
            "and </think>; the last token before the answer; the answer's last token."
        ),
    )
    max_tokens: PositiveInt = Field(8192, description="Longest example; a longer one is cut and counted as truncated.")
    truncate: Literal["left", "right"] = Field("left", description="Side on which a too long example is cut.")
    drop_first: int = Field(1, ge=0, description="Tokens at the start that are read by the model and not stored.")
    generation_prompt: bool = Field(False, description="Append the header of the assistant's next turn.")
    log_probs: bool = Field(
        False,
        description=(
            "Store as well what log-probability the model gave each token (its mean, with store: mean), for probes of "
            "family perplexity; the pass then runs to the top, output head included."
        ),
    )
    batch_tokens: PositiveInt | Literal["auto"] = Field(
        "auto",
        description=(
            "Tokens in a batch, padding included; auto: 1024 on a CPU, whose caches it fits, 16384 elsewhere. With a "
            "sampling, its `batch_size` counts instead."
        ),
    )
    checkpoint_every: PositiveInt | None = Field(
        None,
        description=(
            "With a sampling, the number of prompts that are answered and written together: what a job that is killed "
            "does again, and whose rows are held in memory until then. Without it the engine takes eight batches. A "
            "lower number leaves places empty while the last texts of each such chunk end, and other neighbours can "
            "change a text in bfloat16."
        ),
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Capture":
        if self.layers == []:
            raise ValueError("names no layer")
        for layers in (self.layers, self.mean_layers):
            if isinstance(layers, list) and (len(set(layers)) != len(layers) or min(layers, default=0) < 0):
                raise ValueError(f"has layers {layers}; give each block once, counted from 0")
        for key, chosen in (("positions", self.positions), ("spans", self.spans)):
            if self.store == key and self.mean_layers != []:
                raise ValueError(f"has `mean_layers`, but with `store: {key}` no mean over all tokens is taken")
            if (self.store == key) != bool(chosen):
                raise ValueError(f"needs `{key}` with `store: {key}`, and only there")
        self._refuse_unfit_policy()
        if self.sampling is not None:
            self._refuse_second_pass()
        if self.log_probs and (self.store in ("positions", "spans") or self.drop_first < 1):
            raise ValueError(
                "has `log_probs`, which are of all tokens but the first: take `store: tokens` or `store: mean`, and "
                "`drop_first` of 1 or more"
            )
        for key, named in (("positions", self.positions), ("spans", self.spans)):
            if isinstance(named, list) and len(set(named)) != len(named):
                raise ValueError(f"has {key} {named}; name each once")
        if self.store == "spans" and self.generation_prompt:
            raise ValueError("has `generation_prompt`, which `store: spans` adds by itself after a prompt")
        return self

    def _refuse_unfit_policy(self) -> None:
        if isinstance(self.positions, str) and self.sampling is None:
            raise ValueError(
                f"has `positions: {self.positions}`, which tells prompt from response and so needs a `sampling`; "
                "without one, list indices"
            )
        for key, given, policies in (("k", self.k, ("even",)), ("of", self.of, ("even", "all"))):
            if (given is not None) != (self.positions in policies):
                where = " or ".join(f"`positions: {policy}`" for policy in policies)
                raise ValueError(f"needs `{key}` with {where}, and only there")
        if self.checkpoint_every is not None and self.sampling is None:
            raise ValueError("has `checkpoint_every`, which is of captures with a `sampling`")

    def _refuse_second_pass(self) -> None:
        if self.store not in ("tokens", "positions"):
            raise ValueError(
                f"has `store: {self.store}`, which is read in a second pass; with a `sampling` take `store: positions` "
                "or `store: tokens`"
            )
        if self.hook != "residual":
            raise ValueError(
                f"has `hook: {self.hook}`, but while a subject answers, the output of blocks is read: take "
                "`hook: residual`, whose layer k is the input of block k + 1"
            )
        for key in SECOND_PASS:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"has `{key}`, which bears on a second pass alone; leave it out with a `sampling`")

    def stored_layers(self, blocks: int) -> list[int]:
        """The layers stored as `store` says, for a model of so many blocks, in ascending order."""
        return list(range(blocks)) if self.layers == "all" else sorted(self.layers)

    def means(self, blocks: int) -> list[int]:
        """The layers of which the mean is stored as well, in ascending order."""
        return list(range(blocks)) if self.mean_layers == "all" else sorted(self.mean_layers)
