"""How probable a causal model finds each token of its text, from the states that stand before its output head."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = {"cpu": 64}
"""Rows whose logits are held at a time, a vocabulary being a hundred times wider than a state: few enough for a CPU's
caches."""
ROWS_ELSEWHERE = 1024


def log_probabilities(model: "PreTrainedModel", states: Tensor, token_ids: Tensor) -> Tensor:
    """Natural log-probability, float32 [rows] on the CPU, of `token_ids` [rows], each the token after its state.

    states [rows, width] are those after the final norm, as `model.base_model` gives them.
    """
    rows, found = ROWS.get(states.device.type, ROWS_ELSEWHERE), []
    for block, ids in zip(states.split(rows), token_ids.split(rows), strict=True):
        logits = _logits(model, block).float()  # on the head's device, which is the embeddings' where they are one
        found.append(logits.gather(1, ids[:, None].to(logits.device)).squeeze(1) - logits.logsumexp(1))
    return torch.cat(found).cpu()


def _logits(model: "PreTrainedModel", states: Tensor) -> Tensor:
    """Logits [rows, vocabulary] as the model's own forward pass computes them."""
    logits: Tensor = model.get_output_embeddings()(states)
    config = model.config.get_text_config()
    if (factor := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits = logits * factor
    if (divisor := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits = logits / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:  # Gemma
        logits = torch.tanh(logits / cap) * cap
    return logits
