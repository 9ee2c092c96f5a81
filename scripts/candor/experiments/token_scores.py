"""What a probe says of each token of a few texts, and what weight each has in the score of the text (Fig. 7).

The score of a token is the probe's score of a text of that token alone: w·a + b. Where a text's score is a weighted
mean of its tokens', the weights are that mean's: the alpha of attention and softmax, 1/n, the last token, the largest
one, the winning window. The two families that add several extremes have no such weights; theirs are the shares of the
score's derivatives by the tokens' values. The texts are taken evenly from the probe's ranking of the part.
"""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from candor.activations.files import ActivationsError
from candor.chat_text import ROLE_CODES, conversation
from candor.errors import CandorError
from candor.experiments.evaluation_context import EvaluationContext
from candor.probes.features import Part
from candor.probes.scoring import part_scores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ADDED = ("multimax", "gated_bipolar")
"""Families whose score of a text is a sum of several tokens' scores, and no weighted mean."""
TOLERANCE = 1e-3
"""Largest difference between a text's score and the weighted sum of its tokens' scores, relative above 1."""


class Laid(NamedTuple):
    """A text's score laid out over its tokens: scores and weights float64 [t]; the weights sum to 1."""

    scores: np.ndarray
    weights: np.ndarray


def run(context: EvaluationContext) -> list[dict[str, Any]]:
    """Rows of the token table: one for each token of each text, text by text from the lowest score to the highest."""
    experiment, task = context.experiment, context.task
    monitor, probe, saved, layer = context.probe(experiment.probe)
    family = importlib.import_module(f"candor.probes.families.{probe.family}")
    if family.FEATURES == "log_loss":
        raise CandorError(f"experiments.{context.id}: {monitor} reads no activations; name another probe.")
    part = context.evaluation[experiment.part].of_roles(probe.roles)
    header = part.activations.header
    if header.store != "tokens" or layer not in header.layers:
        raise ActivationsError(
            f"experiments.{context.id}: layer {layer} of {experiment.part} is not stored token by token; "
            "name it in the `layers` of a capture with `store: tokens`."
        )
    if context.tokenizer is None:
        raise CandorError(f"experiments.{context.id}: needs the subject's tokenizer; give --model.")
    seed = task.seeds[0]
    weight, bias = saved.at(layer, seed)
    if weight.shape[2] != 1:
        raise CandorError(f"experiments.{context.id}: {monitor} has {weight.shape[2]} classes; name a task of two.")
    scores, probabilities = part_scores(part, [seed], [weight], [bias], layer, probe, family)[seed]
    ranks = ranking(scores[:, 0], [row["example_id"] for row in part.rows])
    tokenizer = context.tokenizer()
    index, activations = _Index(part), part.activations.layer(layer)
    rows = []
    for i in chosen(ranks, part, experiment.examples, experiment.max_tokens):
        example, text_score = part.rows[i], float(scores[i, 0])
        at = index.rows_of(i)
        count = at.stop - at.start
        read = np.isin(index.roles[at], [ROLE_CODES[role] for role in part.roles or ROLE_CODES])
        laid = lay_out(activations[at][torch.from_numpy(read)].float(), weight[..., 0], float(bias[0]), family, probe)
        together = float(laid.scores @ laid.weights)
        if probe.family not in ADDED and abs(together - text_score) > TOLERANCE * max(1.0, abs(text_score)):
            raise CandorError(
                f"experiments.{context.id}: {monitor} gives {example['example_id']} {text_score:.4f}, but its tokens "
                f"make {together:.4f} together; report this as a bug."
            )
        token_scores, weights = np.full(count, np.nan), np.zeros(count)
        token_scores[read], weights[read] = laid
        texts = pieces(example["messages"], tokenizer, index.ids[at], index.positions[at], example["example_id"])
        roles = [ROLES[code] for code in index.roles[at]]
        for number, (text, role) in enumerate(zip(texts, roles, strict=True)):
            rows.append(
                {
                    "experiment": context.id,
                    "monitor": monitor,
                    "layer": layer,
                    "seed": seed,
                    "dataset": part.name,
                    "example_id": example["example_id"],
                    "group_id": example["group_id"],
                    "label": example["label"],
                    "token_index": number,
                    "token": text,
                    "role": role,
                    "score": float(token_scores[number]) if read[number] else None,
                    "weight": float(weights[number]),
                    "text_score": text_score,
                    "text_probability": None if probabilities is None else float(probabilities[i, 0]),
                    "rank": float(ranks[i]),
                    "status": part.statuses[i],
                }
            )
    return rows


ROLES = {code: name for name, code in ROLE_CODES.items()}


class _Index:
    """Token ids, positions and roles of a part's activations, and where each of its rows stands in them."""

    def __init__(self, part: Part) -> None:
        lengths = part.activations.lengths()
        ends = lengths.cumsum(0)
        self._starts, self._ends, self._at = (ends - lengths).tolist(), ends.tolist(), part.positions
        index = part.activations.index
        self.ids, self.positions, self.roles = (index(name).numpy() for name in ("token_ids", "positions", "roles"))

    def rows_of(self, i: int) -> slice:
        return slice(self._starts[self._at[i]], self._ends[self._at[i]])


def ranking(scores: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Where each text stands among all with a score, from 0 (lowest) to 1, ties by name; nan without a score."""
    order = sorted(np.flatnonzero(np.isfinite(scores)).tolist(), key=lambda i: (scores[i], names[i]))
    ranks = np.full(len(scores), np.nan)
    ranks[order] = np.arange(len(order)) / max(1, len(order) - 1)
    return ranks


def chosen(ranks: np.ndarray, part: Part, count: int, max_tokens: int) -> list[int]:
    """Evenly from the ranking of the texts that are whole and short enough, both ends among them."""
    fits = [i for i, n in enumerate(part.n_tokens) if part.statuses[i] == "ok" and 0 < n <= max_tokens]
    fits = sorted((i for i in fits if np.isfinite(ranks[i])), key=lambda i: ranks[i])
    if not fits:
        raise CandorError(f"{part.name}: has no text of at most {max_tokens} tokens; raise `max_tokens`.")
    at = np.linspace(0, len(fits) - 1, min(count, len(fits))).round().astype(int)
    return [fits[i] for i in at]


def lay_out(x: Tensor, weight: Tensor, bias: float, family: Any, probe: Any) -> Laid:
    """Scores and weights of the tokens of one text, x [t, width]; weight [projections, width].

    In softmax pooling, where the scores make the weights, they are its alpha; in all others the shares of the
    derivatives of the pooled score by the values that carry a score.
    """
    z = (x.double() @ weight.double().T)[None, :, :, None].requires_grad_()  # [1, t, projections, 1]
    width = weight.shape[1]
    alone = family.pool(z.detach().transpose(0, 1), torch.ones(len(x), 1, dtype=torch.bool), probe, width)[:, 0]
    if probe.family == "softmax":
        weights = (alone / probe.temperature).softmax(0)
    else:
        carry = family.scoring(probe) if hasattr(family, "scoring") else 1
        pooled = family.pool(z, torch.ones(1, len(x), dtype=torch.bool), probe, width)
        shares = torch.autograd.grad(pooled.sum(), z)[0][0, :, :carry, 0].abs().sum(1)
        weights = shares / shares.sum()
    return Laid((alone + bias).numpy(), weights.clamp(max=1).numpy())


def pieces(
    messages: Sequence[dict[str, str]],
    tokenizer: "PreTrainedTokenizerBase",
    ids: np.ndarray,
    positions: np.ndarray,
    name: str,
) -> list[str]:
    """The text that each token adds; together they are the text that was read.

    A character that is spread over several tokens stands at the last of them.
    """
    for prompt in (False, True):
        whole = conversation(messages, tokenizer, prompt)
        if len(whole.token_ids) > positions.max() and (np.array(whole.token_ids)[positions] == ids).all():
            break
    else:
        raise CandorError(f"{name}: the tokenizer gives other tokens than were read; make the activations again.")
    starts = [start for start, _ in whole.offsets]
    bounds, done = [0], 0
    for token, (_, end) in enumerate(whole.offsets):
        following = starts[token + 1] if token + 1 < len(starts) else len(whole.text)
        # a token that begins before this one's end has a part of its last character
        done = max(done, min(end, following) if end > 0 else done)
        bounds.append(done)
    bounds[-1] = len(whole.text)
    return [whole.text[bounds[position] : bounds[position + 1]] for position in positions]
