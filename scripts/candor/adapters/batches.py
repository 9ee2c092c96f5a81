"""Batches and steps of a finetuning: a function of the examples' lengths, the config and the seed alone.

No batch is padded: its examples lie end to end, and attention keeps them apart. The three ways of batching differ in
which examples share a step.
"""

from collections.abc import Sequence

import numpy as np

Batch = list[int]
"""Indices of examples."""
GROUP = 32
"""Batches in a run of shuffled examples that is sorted by length: many enough to be even, few enough to stay mixed."""


def stream(seed: int, *what: int) -> np.random.SeedSequence:
    """Random numbers for one purpose under one seed."""
    return np.random.SeedSequence([seed % 2**64, *what])


def epoch_batches(
    lengths: Sequence[int], batching: str, batch_size: int, max_tokens: int, seed: int, epoch: int
) -> list[Batch]:
    """The batches of one epoch; every example stands in one of them, once.

    shuffled: `batch_size` examples in random order. length_grouped: the same, but of like lengths. packed: as many
    examples, in random order, as `batch_size` rows of `max_tokens` tokens hold.
    """
    rng = np.random.default_rng(stream(seed, epoch))
    order = [int(i) for i in rng.permutation(len(lengths))]
    if batching == "packed":
        return _packed(order, lengths, batch_size * max_tokens)
    if batching == "length_grouped":
        run = batch_size * GROUP
        order = [i for at in range(0, len(order), run) for i in sorted(order[at : at + run], key=lambda i: lengths[i])]
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))] if batching == "length_grouped" else batches


def _packed(order: Sequence[int], lengths: Sequence[int], budget: int) -> list[Batch]:
    batches: list[Batch] = []
    left = 0
    for i in order:
        if lengths[i] > left:
            batches.append([])
            left = budget
        batches[-1].append(i)
        left -= lengths[i]
    return batches


def steps_of(batches: Sequence[Batch], gradient_accumulation: int) -> list[list[Batch]]:
    """The batches of each optimiser step: `gradient_accumulation` of them, in the last step those that are left."""
    return [list(batches[at : at + gradient_accumulation]) for at in range(0, len(batches), gradient_accumulation)]


def evaluation_steps(n_steps: int, evaluations: int) -> set[int]:
    """After which of an epoch's steps, counted from 1, the adapter is validated; always after the last."""
    return {max(1, round(n_steps * k / evaluations)) for k in range(1, evaluations + 1)}


def shared_out(batch: Sequence[int], lengths: Sequence[int], process: int, processes: int) -> Batch:
    """The examples of a batch that one of several processes reads: every n-th by length, so that all have like work."""
    return sorted(batch, key=lambda i: (-lengths[i], i))[process::processes]


def passes(step: Sequence[Batch], lengths: Sequence[int], token_budget: int | None) -> list[Batch]:
    """A step's examples as the network reads them at once, longest first.

    How a step is cut up does not change its gradient, which is a sum over its examples. Without a budget a pass is a
    batch. With one, a pass holds that many tokens of the step, or one longer example: on a CPU, where memory is not
    what limits a batch, matrices that fit its caches are multiplied faster.
    """
    if token_budget is None:
        return [sorted(batch, key=lambda i: (-lengths[i], i)) for batch in step if batch]
    found: list[Batch] = []
    left = 0
    for i in sorted((i for batch in step for i in batch), key=lambda i: (-lengths[i], i)):
        if not found or lengths[i] > left:
            found.append([])
            left = token_budget
        found[-1].append(i)
        left -= lengths[i]
    return found
