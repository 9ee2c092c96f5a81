"""A subject that knows something from one block on, and texts of which that is all that can be known.

A text is WORDS words, drawn one by one. A word is a lemma, which belongs to one of two topics, in capitals or not. To
the model a lemma in capitals is another token than in lower case; a reader of text that folds case sees lemmas alone.
Each lemma has a hidden value w in DIMENSIONS dimensions: w[CONCEPT] is positive on average for words in capitals and as
much below zero for the others, w[CONFOUND] likewise for the two topics, and all else is standard normal noise, fixed
for each lemma.

Up to block PLANTED - 1 the residual stream of a token is s · (1, w), where s = ±1 is the lemma's own and each value has
one lemma of either sign: its mean over tokens is distributed alike for all labels, and no linear probe of it finds
anything. Block PLANTED multiplies the two, as a gated unit can, and writes s · s · w = w where nothing stood before.
Attention and all other blocks write nothing, so activations are known to the last digit.

The mean of WORDS independent words is close to normal, with moments that can be summed over the lemmas, so that the
AUROC of a linear score, and that of the best one, have a closed form: Phi of the distance of the class means along the
score, over the root of the summed variances.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

BLOCKS, PLANTED, WIDTH = 5, 2, 16
WORDS = 16
DIMENSIONS, CONCEPT, CONFOUND = 6, 0, 1
VALUES = 64
"""Hidden values; each topic has two lemmas of each, one of either sign."""
STRENGTH = 0.5
"""Mean of w[CONCEPT] of words in capitals, and of w[CONFOUND] of words of the second topic, in standard deviations."""
RADIUS = 32.0
"""Length of every token's embedding, so that the norm before a block scales all of them alike."""
SIGN, HIDDEN, REST, SHOWN = 0, slice(1, 7), 7, slice(8, 14)
"""Where the residual stream holds s, s · w, what makes up RADIUS, and from PLANTED on w."""
SPECIAL = ("<s>", "<pad>", "<unk>")

Array = np.ndarray


class Law(NamedTuple):
    """How words are drawn: chance of capitals, and of the second topic, for the negative and the positive class."""

    capitals: tuple[float, float]
    topic: tuple[float, float]


CLEAN = Law(capitals=(0.3, 0.7), topic=(0.5, 0.5))
CONFOUNDED = Law(capitals=(0.3, 0.7), topic=(0.2, 0.8))
REVERSED = Law(capitals=(0.3, 0.7), topic=(0.8, 0.2))


def lemmas() -> list[str]:
    """The lemmas in the order [topic, value, sign], flat: invented words of two syllables."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    pairs = [first + second for first in syllables for second in syllables if first != second]
    order = np.random.default_rng(0).permutation(len(pairs))[: 4 * VALUES]
    return [pairs[i] for i in order]


def vocabulary() -> list[str]:
    """Every token: the special ones, each lemma in lower case, and each in capitals."""
    return [*SPECIAL, *lemmas(), *(lemma.upper() for lemma in lemmas())]


def values() -> Array:
    """w of every token but the special ones, in the vocabulary's order: float64 [tokens, DIMENSIONS]."""
    noise = np.random.default_rng(1).normal(size=(VALUES, DIMENSIONS))
    noise = (noise - noise.mean(0)) / noise.std(0)
    noise[:, [CONCEPT, CONFOUND]] += STRENGTH
    shape = (2, 2, VALUES, 2, DIMENSIONS)  # capitals, topic, value, sign
    found = np.broadcast_to(noise[:, None], shape).copy()
    found[0, ..., CONCEPT] *= -1  # mirrored, so that the length of w tells nothing
    found[:, 0, ..., CONFOUND] *= -1
    return found.reshape(-1, DIMENSIONS)


def residual(layer: int) -> Array:
    """The residual stream at a layer of every token but the special ones: float64 [tokens, WIDTH]."""
    w = values()
    signs = np.tile([1.0, -1.0], len(w) // 2)
    found = np.zeros((len(w), WIDTH))
    found[:, SIGN], found[:, HIDDEN] = signs, signs[:, None] * w
    found[:, REST] = np.sqrt(RADIUS**2 - (found**2).sum(1))
    if layer >= PLANTED:
        found[:, SHOWN] = w
    return found


def write_model(folder: Path) -> int:
    """The subject as a Llama and its tokenizer, as save_pretrained writes them; returns its number of parameters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens = vocabulary()
    words = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", pad_token="<pad>", unk_token="<unk>", eos_token="<pad>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=WIDTH,
        intermediate_size=2 * DIMENSIONS,
        num_hidden_layers=BLOCKS,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    normed = RADIUS / WIDTH**0.5  # what the norm before a block divides by
    units = torch.eye(DIMENSIONS)
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight
        embedding.fill_(RADIUS / WIDTH**0.5)  # special tokens: no zeros, which would hide that one was stored
        embedding[len(SPECIAL) :] = torch.from_numpy(residual(0)).float()
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        # silu(s) · s w + silu(-s) · (-s w) = s · s w
        mlp = model.model.layers[PLANTED].mlp
        for weight in (mlp.gate_proj.weight, mlp.up_proj.weight):
            weight.zero_()
        mlp.gate_proj.weight[:DIMENSIONS, SIGN] = normed
        mlp.gate_proj.weight[DIMENSIONS:, SIGN] = -normed
        mlp.up_proj.weight[:DIMENSIONS, HIDDEN] = units * normed
        mlp.up_proj.weight[DIMENSIONS:, HIDDEN] = -units * normed
        mlp.down_proj.weight[SHOWN] = torch.cat([units, units], dim=1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def chances(law: Law, label: int) -> Array:
    """The chance of each token in a text of a class, in the order of `values`: float64 [tokens]."""
    capitals, topic = law.capitals[label], law.topic[label]
    cells = np.outer([1 - capitals, capitals], [1 - topic, topic]) / (2 * VALUES)
    return np.repeat(cells.flatten(), 2 * VALUES)


def drawn(law: Law, label: int, texts: int, rng: np.random.Generator) -> Array:
    """Texts as indices of tokens: int64 [texts, WORDS]."""
    cells = rng.choice(4, size=(texts, WORDS), p=chances(law, label).reshape(4, -1).sum(1))
    within = rng.integers(0, 2 * VALUES, size=(texts, WORDS))
    return np.asarray(cells * 2 * VALUES + within)


def text(tokens: Sequence[int], twice: bool) -> str:
    """A text; half of them say everything twice, which leaves the mean as it is, and calls for padding in batches."""
    names = vocabulary()[len(SPECIAL) :]
    return " ".join([names[token] for token in tokens] * (2 if twice else 1))


def pairs(law: Law, count: int, seed: int, shuffled: bool = False) -> list[dict[str, Any]]:
    """Rows of a text of each class, drawn on their own; `shuffled`: sides swapped by the toss of a coin."""
    rng = np.random.default_rng(seed)
    sides = [drawn(law, label, count, rng) for label in (0, 1)]
    twice, swapped = rng.random((count, 2)) < 0.5, rng.random(count) < 0.5
    rows = []
    for i in range(count):
        low, high = (text(side[i], again) for side, again in zip(sides, twice[i], strict=True))
        if shuffled and swapped[i]:
            low, high = high, low
        rows.append({"pair_id": f"s{seed}-{i:03d}", "low": low, "high": high})
    return rows


def prompts(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of texts of the negative class, for the control set."""
    rng = np.random.default_rng(seed)
    return [
        {"id": f"e{i:03d}", "prompt": text(tokens, i % 2 == 0)} for i, tokens in enumerate(drawn(CLEAN, 0, count, rng))
    ]


def moments(law: Law, layer: int) -> tuple[Array, Array]:
    """Means [2, WIDTH] and covariances [2, WIDTH, WIDTH] of the mean activation of a text, by class."""
    table = residual(layer)
    means, covariances = [], []
    for label in (0, 1):
        p = chances(law, label)
        mean = p @ table
        means.append(mean)
        covariances.append((table - mean).T @ (p[:, None] * (table - mean)) / WORDS)
    return np.array(means), np.array(covariances)


def best_direction(law: Law, layer: int) -> Array:
    """The linear score with the highest AUROC, float64 [WIDTH]: Fisher's, which is Bayes's where covariances agree."""
    means, covariances = moments(law, layer)
    return np.asarray(np.linalg.pinv(covariances.mean(0), rcond=1e-9) @ (means[1] - means[0]))


def auroc_of(direction: Array, law: Law, layer: int) -> float:
    """The AUROC of the score direction · mean activation over all texts of a law."""
    means, covariances = moments(law, layer)
    spread = float(np.sqrt(direction @ covariances.sum(0) @ direction))
    shift = float(direction @ (means[1] - means[0]))
    return float(norm.cdf(shift / spread)) if abs(shift) > 1e-9 else 0.5


def bayes_auroc(law: Law, layer: int = PLANTED) -> float:
    """The AUROC that no score of the mean activation exceeds."""
    return auroc_of(best_direction(law, layer), law, layer)
