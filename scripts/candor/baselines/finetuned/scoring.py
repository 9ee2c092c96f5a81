"""Scores of a finetuned classifier on the rows of one part."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from candor.adapters.batches import passes
from candor.baselines.finetuned.network import Classifier
from candor.baselines.finetuned.texts import Texts
from candor.baselines.finetuned.training import log_odds
from candor.config.baselines import Finetuned
from candor.hardware import auto_batch_tokens
from candor.scores import score_table


def read_logits(
    classifier: Classifier, texts: Texts, options: Finetuned, done: Callable[[int], None] = lambda tokens: None
) -> np.ndarray:
    """Logits float64 [n, outputs], nan for a row without a text; `done` is told how many tokens have been read."""
    lengths, alive, read = texts.n_tokens, texts.scored(), 0
    budget = auto_batch_tokens(classifier.device.type) if options.batch_tokens == "auto" else options.batch_tokens
    logits = np.full((len(lengths), len(classifier.head)), np.nan)
    classifier.training(False)
    with torch.no_grad():
        for batch in passes([alive], lengths, budget):
            logits[batch] = classifier.logits([texts.token_ids[i] for i in batch]).double().cpu().numpy()
            read += sum(lengths[i] for i in batch)
            done(read)
    return logits


def score_rows(
    classifier: Classifier,
    rows: Sequence[Mapping[str, Any]],
    texts: Texts,
    part: str,
    classes: Sequence[str],
    monitor: str,
    seed: int,
    options: Finetuned,
    done: Callable[[int], None] = lambda tokens: None,
) -> pa.Table:
    """The score table of one seed; the classifier is a pass of its own, so its cost is all there is."""
    scores = log_odds(read_logits(classifier, texts, options, done))
    flops = np.array(classifier.flops(texts.n_tokens))
    return score_table(
        rows,
        part,
        classes,
        monitor,
        scores,
        1 / (1 + np.exp(-np.clip(scores, -700, 700))),
        seed=seed,
        statuses=texts.statuses,
        n_tokens=texts.n_tokens,
        flops_monitor=flops,
        flops_total=flops,
    )
