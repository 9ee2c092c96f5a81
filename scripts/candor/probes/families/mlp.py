"""A network of two layers on each token: the mean over tokens of v·relu(W a + b), plus a bias for each class.

The network reads one token at a time, so that a token has a score as a text has; the score of a text is the mean of its
tokens', whatever their number, and its loss counts once, since the label is the prompt's and not a token's. On stored
means, one row for each text, it is a network on the mean activation.
"""

import torch
from torch import Tensor

from candor.config.probes import Mlp

FEATURES = "tokens"


def projections(probe: Mlp) -> int:
    """One for each hidden unit."""
    return probe.hidden


def score_rows(x: Tensor, weight: Tensor) -> Tensor:
    """Scores [rows, p] of rows x [rows, width] by weight [hidden, width + 2, p], without the bias."""
    hidden, _, problems = weight.shape
    width = x.shape[1]
    first, bias, output = weight[:, :width], weight[:, width], weight[:, width + 1]
    z = torch.nn.functional.linear(x, first.transpose(1, 2).reshape(-1, width)).view(-1, hidden, problems)
    return ((z + bias).relu_() * output).sum(1)
