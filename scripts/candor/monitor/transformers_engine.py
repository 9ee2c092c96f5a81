"""The engine over a transformers network, on a CPU, CUDA or Apple's GPU: keys and values kept, one hook a pass."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from candor.activations.hooks import blocks_of, reading
from candor.generations.engine import end_tokens
from candor.models import Subject
from candor.monitor.engine import Place, Source


class TransformersEngine:
    """Reads and writes with a loaded subject; one pass at a time, whoever asks for it."""

    def __init__(self, subject: Subject, subject_id: str, revision: str | None) -> None:
        self.network, self.tokenizer = subject.model, subject.tokenizer
        text = self.network.config.get_text_config()
        self.source = Source(subject_id, revision, text.hidden_size, len(blocks_of(self.network)))
        self.ends = end_tokens(self.network.generation_config, self.tokenizer)
        self.context: int | None = getattr(text, "max_position_embeddings", None)
        self.device: torch.device = next(self.network.get_input_embeddings().parameters()).device
        # a hook sees the pass of whoever runs it, so that no two passes may run at once
        self.passing = Lock()

    def begin(self, place: Place) -> "_Reader":
        """A new conversation."""
        return _Reader(self, place)

    def activations(self, token_ids: Sequence[int], place: Place) -> np.ndarray:
        """Activations float32 [t, width] of a whole text; the pass stops after the layer."""
        with self.passing, reading(self.network, place.hook, [place.layer]) as reader:
            seen = reader.read(torch.tensor([token_ids], device=self.device))
        return _rows(seen[place.layer])


class _Reader:
    def __init__(self, engine: TransformersEngine, place: Place) -> None:
        from transformers import DynamicCache

        self._engine, self._place = engine, place
        self._memory: Any = DynamicCache(config=engine.network.config)

    def read(self, token_ids: Sequence[int]) -> tuple[np.ndarray, Tensor]:
        engine, place = self._engine, self._place
        with engine.passing, reading(engine.network, place.hook, [place.layer], to_the_top=True) as reader:
            output = engine.network(
                input_ids=torch.tensor([token_ids], device=engine.device),
                past_key_values=self._memory,
                use_cache=True,
                logits_to_keep=1,
            )
        return _rows(reader.seen[place.layer]), output.logits[0, -1].float().cpu()


def _rows(hidden: Tensor) -> np.ndarray:
    return np.asarray(hidden[0].float().cpu().numpy())
