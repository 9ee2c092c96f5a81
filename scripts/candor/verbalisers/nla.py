"""The activation verbaliser: a model that reads an activation in the place of one token, and says what it holds.

The checkpoint's sidecar gives the prompt, which goes through the chat template once, as the only turn of a user. Of its
tokens one gives way: its input embedding is replaced by the activation at the length that the sidecar says (the
embedding is taken after what an architecture multiplies it by). All prompts are as long as one another, so a batch
needs no padding, and a text that has ended leaves the batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from candor import models
from candor.chat_text import render, token_ids
from candor.config.models import Model
from candor.config.samplings import Sampling
from candor.errors import CandorError
from candor.generations.engine import end_tokens, text_of
from candor.generations.sampling import draw, uniforms
from candor.models import Subject
from candor.verbalisers import explanation
from candor.verbalisers.explanation import Explanation
from candor.verbalisers.sidecar import INJECTED, NAME, Sidecar, read_sidecar

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


TAIL = len(explanation.CLOSE)
"""Newest tokens in which a closing tag is looked for: a token holds one of its letters at least."""


class VerbaliserError(CandorError):
    """A checkpoint and its sidecar do not fit, or activations do not fit them; the message says which and why."""


@dataclass
class _Running:
    """An activation that is being put into words."""

    number: int
    uniforms: np.ndarray
    new: list[int] = field(default_factory=list)


class ActivationVerbaliser:
    """Puts activations into words with a loaded checkpoint; `folder` is named in errors."""

    def __init__(self, subject: Subject, sidecar: Sidecar, folder: Path | str = "the verbaliser") -> None:
        self.network, self.tokenizer, self.sidecar = subject.model, subject.tokenizer, sidecar
        self._weights = next(self.network.get_input_embeddings().parameters())
        width = self.network.config.get_text_config().hidden_size
        if width != sidecar.d_model:
            raise VerbaliserError(
                f"{folder}: its weights have width {width}, and its {NAME} says d_model: {sidecar.d_model}; one of "
                "them is not this checkpoint's."
            )
        self.prompt = prompt_ids(sidecar, self.tokenizer, folder)
        self._at = injected_at(self.prompt, sidecar, folder)
        self._ends = end_tokens(self.network.generation_config, self.tokenizer)

    def verbalise(self, vectors: Tensor, names: Sequence[str], sampling: Sampling) -> list[Explanation]:
        """What is said of each of the vectors [n, width], which run side by side.

        A draw depends on the sampling's seed, the vector's name and the step alone. A vector that is not finite is
        `not_finite`, and so is one whose logits are not; a vector of zeros has no direction, and is `invalid`.
        """
        if vectors.shape[-1] != self.sidecar.d_model:
            raise VerbaliserError(
                f"the activations have width {vectors.shape[-1]}, and the verbaliser reads {self.sidecar.d_model}; "
                "take one that was made for this subject."
            )
        values = vectors.float()
        finite = values.isfinite().all(-1)
        lengths = values.norm(dim=-1)
        found: list[Explanation | None] = [
            Explanation("", "not_finite") if not ok else Explanation("", "invalid") if not length else None
            for ok, length in zip(finite.tolist(), lengths.tolist(), strict=True)
        ]
        rest = [number for number, each in enumerate(found) if each is None]
        if rest:
            steps = sampling.max_new_tokens
            running = [_Running(n, uniforms(sampling.seed, names[n], 0, steps)) for n in rest]
            for number, said in self._run(values[rest], running, sampling):
                found[number] = said
        return [each for each in found if each is not None]

    @torch.inference_mode()
    def embedded(self, vectors: Tensor) -> Tensor:
        """The prompt's input embeddings for each vector, [n, tokens, width], with the vector where it is injected."""
        ids = torch.tensor([self.prompt], device=self._weights.device)
        embeds: Tensor = self.network.get_input_embeddings()(ids).repeat(len(vectors), 1, 1)
        embeds[:, self._at] = rescaled(vectors, self.sidecar.scale).to(embeds)
        return embeds

    def _run(self, vectors: Tensor, running: list[_Running], sampling: Sampling) -> list[tuple[int, Explanation]]:
        """Number and words of each text, in the order in which they end."""
        found: list[tuple[int, Explanation]] = []
        reads: dict[str, Any] = {"inputs_embeds": self.embedded(vectors)}
        with torch.inference_mode():
            while running:
                out = self.network(**reads, use_cache=True, logits_to_keep=1)
                tokens, finite = self._draw(out.logits[:, -1], running, sampling)
                left = []
                for row, (text, token) in enumerate(zip(running, tokens, strict=True)):
                    text.new.append(token)
                    said = self._said(text, sampling) if finite[row] else Explanation("", "not_finite")
                    if said is None:
                        left.append(row)
                    else:
                        found.append((text.number, said))
                cache = out.past_key_values
                if 0 < len(left) < len(running):
                    cache.batch_select_indices(torch.tensor(left))  # on the CPU: each block's keys lie on its device
                running = [running[row] for row in left]
                newest = torch.tensor([[text.new[-1]] for text in running], device=out.logits.device)
                reads = {"input_ids": newest, "past_key_values": cache}
        return found

    def _draw(self, logits: Tensor, running: Sequence[_Running], sampling: Sampling) -> tuple[list[int], list[bool]]:
        """A token for each text, and whether its logits were finite."""
        numbers = torch.tensor([text.uniforms[len(text.new)] for text in running], dtype=torch.float64)
        finite = logits.amax(-1).isfinite()
        logits = logits.masked_fill(~finite[:, None], 0)
        return draw(logits, numbers.to(logits.device), sampling).tolist(), finite.tolist()

    def _said(self, text: _Running, sampling: Sampling) -> Explanation | None:
        """What a text says if it has ended: of itself, with the closing tag, or at the longest length."""
        ended = text.new[-1] in self._ends
        cut = not ended and len(text.new) == sampling.max_new_tokens
        closing = self.tokenizer.decode(text.new[-TAIL:]) if not (ended or cut) else ""
        if not (ended or cut or explanation.CLOSE in closing):
            return None
        words = text_of(text.new[:-1] if ended else text.new, self.prompt, self.tokenizer)
        return explanation.read(words, cut)


def load(model: Model, facts: Mapping[str, Any]) -> ActivationVerbaliser:
    """Load a verbaliser that fetch_model has described."""
    folder = models.folder_of(model, facts)
    sidecar = read_sidecar(folder, "verbaliser")
    return ActivationVerbaliser(models.load(model, facts), sidecar, folder)


def rescaled(vectors: Tensor, length: float) -> Tensor:
    """Vectors [n, width] at one length, float32; one of zeros stays one."""
    values = vectors.float()
    largest = values.abs().amax(-1, keepdim=True)
    scaled = values / torch.where(largest > 0, largest, 1)  # no square of a large activation overflows
    found: Tensor = scaled * (length / scaled.norm(dim=-1, keepdim=True).clamp_min(1e-12))
    return found


def prompt_ids(sidecar: Sidecar, tokenizer: "PreTrainedTokenizerBase", folder: Path | str) -> list[int]:
    """The tokens of the fixed prompt; VerbaliserError where the tokenizer does not know the injected token as one."""
    tokens = sidecar.tokens
    sign = tokenizer(tokens.injection_char, add_special_tokens=False)["input_ids"]
    if list(sign) != [tokens.injection_token_id]:
        raise VerbaliserError(
            f"{folder}: its tokenizer reads {tokens.injection_char!r} as {list(sign)}, and its {NAME} says token "
            f"{tokens.injection_token_id}; take the tokenizer that the checkpoint was released with."
        )
    if not tokenizer.chat_template:
        raise VerbaliserError(
            f"{folder}: its tokenizer has no chat template, through which the prompt of its {NAME} must go."
        )
    content = sidecar.prompt.replace(INJECTED, tokens.injection_char)
    return token_ids(render([{"role": "user", "content": content}], tokenizer, True), tokenizer)


def injected_at(prompt: Sequence[int], sidecar: Sidecar, folder: Path | str) -> int:
    """Where the vector goes; VerbaliserError unless the token stands there once, between its two neighbours."""
    tokens = sidecar.tokens
    places = [place for place, token in enumerate(prompt) if token == tokens.injection_token_id]
    neighbours = [tokens.injection_left_neighbor_id, tokens.injection_right_neighbor_id]
    found = [[*prompt[max(place - 1, 0) : place], *prompt[place + 1 : place + 2]] for place in places]
    if found != [neighbours]:
        raise VerbaliserError(
            f"{folder}: the injected token {tokens.injection_token_id} stands {len(places)} times in the prompt, "
            f"with the neighbours {found}; its {NAME} says once, between {neighbours[0]} and {neighbours[1]}. The "
            "tokenizer, its chat template or the sidecar is not this checkpoint's."
        )
    return places[0]
