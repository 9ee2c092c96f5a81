"""The section `baselines`: monitors that do not read activations."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from candor.config.adapters import Lora
from candor.config.base import Id, Section


class _Text(Section):
    """A baseline that is trained on words alone."""

    reads: Literal["text", "response", "both"] = Field(
        "text",
        description="The dataset's text, all turns of it; for a task whose capture is made while its subject answers "
        "also the response alone, or both.",
    )


class _Words(_Text):
    """Counts of word n-grams, on the words of all turns; texts are read to their end."""

    ngrams: tuple[PositiveInt, PositiveInt] = Field((1, 3), description="Shortest and longest word n-gram.")
    max_features: PositiveInt = Field(20_000, description="Largest vocabulary.")
    min_df: PositiveInt = Field(
        3, description="Texts an n-gram must occur in; falls back to 1, marked, if none is left."
    )
    max_df: float = Field(0.9, gt=0, le=1, description="Share of texts above which an n-gram is dropped.")
    c: float = Field(1.0, gt=0, description="Inverse strength of the L2 penalty.")


class Tfidf(_Words):
    """TF-IDF features and a linear classifier."""

    kind: Literal["tfidf"] = Field(description="TF-IDF and a linear support vector classifier.")
    sublinear_tf: bool = Field(True, description="Use 1 + log(tf).")


class BagOfWords(_Words):
    """Counts of words and a logistic regression, as in the paper's filter of confounders."""

    kind: Literal["bag_of_words"] = Field(description="Counts of word n-grams and a logistic regression.")
    ngrams: tuple[PositiveInt, PositiveInt] = Field((1, 1), description="Shortest and longest word n-gram.")


class Length(_Text):
    """How long a text is: a control that should tell little."""

    kind: Literal["length"] = Field(description="Logistic regression on the logarithm of the number of words.")
    c: float = Field(1.0, gt=0, description="Inverse strength of the L2 penalty.")


class Prompted(Section):
    """A subject model that is asked: the log-odds of two completions of a prompt that holds the text (B4)."""

    kind: Literal["prompted"] = Field(description="Likelihood of two completions of a prompt.")
    subject: Id = Field(description="Id of the model that is asked.")
    templates: list[str] = Field(
        ["default", "single_word", "prompt_at_end", "single_letter"],
        min_length=1,
        description="Prompts, resources/prompted/NAME.txt; the one with the best AUROC on training examples is used.",
    )
    limit: PositiveInt | None = Field(
        200, description="Training examples, whole groups, on which the template is chosen; null: all."
    )
    max_tokens: PositiveInt = Field(8192, description="Longest prompt; the text in a longer one is cut and counted.")
    truncate: Literal["left", "right"] = Field("left", description="Side on which a too long text is cut.")
    batch_tokens: PositiveInt | Literal["auto"] = Field("auto", description="Tokens in a batch, as in captures.")


class Finetuned(Section):
    """A subject model with a classification head on the last token, finetuned on the task (B4)."""

    kind: Literal["finetuned"] = Field(description="Classification head at the last token, LoRA or full finetuning.")
    subject: Id = Field(description="Id of the model that is finetuned.")
    lora: Lora | None = Field(
        Lora(r=16, alpha=32, dropout=0.1), description="The adapter's shape; null finetunes all weights."
    )
    limit: PositiveInt | None = Field(None, description="Most training examples, whole groups; null: all.")
    held_out: float = Field(
        0.15, gt=0, lt=1, description="Share of training groups whose AUROC chooses the epoch that is kept."
    )
    epochs: PositiveInt = Field(3, description="Passes over the training examples.")
    batch_size: PositiveInt = Field(4, description="Examples in a batch.")
    gradient_accumulation: PositiveInt = Field(
        1, description="Batches to an optimiser step; an epoch's last step takes the batches that are left."
    )
    learning_rate: float = Field(2e-4, gt=0, description="AdamW's peak learning rate; the paper: 2e-4 LoRA, 1e-5 full.")
    head_learning_rate: float | None = Field(None, gt=0, description="The head's own learning rate; null: the same.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay.")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="The learning rate after warm-up.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps over which the learning rate rises.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    max_tokens: PositiveInt = Field(8192, description="Longest text; a longer one is cut and counted as truncated.")
    truncate: Literal["left", "right"] = Field("left", description="Side on which a too long text is cut.")
    batch_tokens: PositiveInt | Literal["auto"] = Field("auto", description="Tokens read at once, as in captures.")
    gradient_checkpointing: bool = Field(False, description="Compute activations twice to save memory.")
    seeds: list[int] = Field([0], min_length=1, description="Seeds of the head, the order of examples and dropout.")


class Judged(Section):
    """A judge's score as a monitor: its own score where it gives one, else its verdict as 0 or 1."""

    kind: Literal["judge"] = Field(description="The score or verdict of a judge.")
    judge: Id = Field(description="Id of the judge that labels the examples.")
    positive: list[str] = Field(
        [], description="Verdicts that count as the positive class, for a judge that gives no score."
    )


Baseline = Annotated[Tfidf | BagOfWords | Length | Prompted | Finetuned | Judged, Field(discriminator="kind")]
PROMPTS = Path("resources/prompted")
"""Where a prompted baseline's templates lie, from the project's root."""
TEXT_KINDS = ("tfidf", "bag_of_words", "length")
"""Kinds that are trained on the words alone, in scripts/train_text.py."""
