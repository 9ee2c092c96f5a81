"""The engine over MLX, for Apple silicon: the subject with its weights rounded to 4 bits, or as the config says.

The rounded weights are made once from the subject's own folder and kept in candor's cache. The probe is the one that
was trained on the weights as they were; what the rounding does to its scores is a measured quantity of its own
(experiments of kind quantisation). MLX wants its arrays in one thread, so that all passes run in one, in their order.
"""

import fcntl
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from candor import provenance
from candor.cache import cache_folder
from candor.config.monitor_app import Quantisation
from candor.generations.engine import end_tokens
from candor.monitor.engine import MonitorError, Place, Source

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

MISSING = (
    "the mlx engine needs MLX: pip install mlx-lm on a Mac, mlx-lm 'mlx[cpu]' on Linux; or set engine: transformers"
)


class MlxEngine:
    """Reads and writes with an MLX model, whose folder `rounded` makes."""

    def __init__(
        self, folder: Path, tokenizer: "PreTrainedTokenizerBase", subject_id: str, revision: str | None
    ) -> None:
        from transformers import AutoConfig, GenerationConfig

        self.tokenizer = tokenizer
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        text = config.get_text_config()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlx")
        self.network: Any = self._worker.submit(_loaded, folder).result()
        self._layers: Any = getattr(self.network, "layers", None)
        if self._layers is None:
            raise MonitorError(f"{subject_id}: its blocks cannot be found in MLX; set engine: transformers")
        hooks = ("residual", *(["input_layernorm"] if hasattr(self._layers[0], "input_layernorm") else []))
        self.source = Source(subject_id, revision, text.hidden_size, len(self._layers), hooks)
        self.ends = end_tokens(GenerationConfig.from_model_config(config), tokenizer)
        self.context: int | None = getattr(text, "max_position_embeddings", None)

    def begin(self, place: Place) -> "_Reader":
        """A new conversation."""
        return _Reader(self, place)

    def activations(self, token_ids: Sequence[int], place: Place) -> np.ndarray:
        """Activations float32 [t, width] of a whole text; MLX computes no more than they need."""

        def work() -> np.ndarray:
            with self.seeing(place) as seen:
                self._run(token_ids, None)
            return _array(seen[0][0])

        return self._worker.submit(work).result()

    def step(self, token_ids: Sequence[int], memory: Any, place: Place) -> "tuple[np.ndarray, Tensor]":
        """Read tokens into a conversation's memory; of a prompt only the last token goes through the output head."""
        import torch

        def work() -> tuple[np.ndarray, np.ndarray]:
            import mlx.core as mx

            found = []
            for piece in (token_ids[:-1], token_ids[-1:]):
                if piece:
                    with self.seeing(place) as seen:
                        logits = self._run(piece, memory)
                    mx.eval(seen[0], [layer.state for layer in memory])
                    found.append(_array(seen[0][0]))
            return np.concatenate(found), _array(logits[0, -1])

        activations, logits = self._worker.submit(work).result()
        return activations, torch.from_numpy(logits)

    def memory(self) -> Any:
        """The keys and values of a conversation that has none yet."""

        def work() -> Any:
            from mlx_lm.models.cache import make_prompt_cache

            return make_prompt_cache(self.network)

        return self._worker.submit(work).result()

    def _run(self, token_ids: Sequence[int], memory: Any) -> Any:
        import mlx.core as mx

        return self.network(mx.array([list(token_ids)]), cache=memory)

    @contextmanager
    def seeing(self, place: Place) -> Iterator[list[Any]]:
        """What the hook's module puts out while this runs, pass by pass: [batch, length, width]."""
        block = self._layers[place.layer]
        module = block if place.hook == "residual" else block.input_layernorm
        kind, seen = type(module), list[Any]()

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            output = kind.__call__(self, *args, **kwargs)
            seen.append(output[0] if isinstance(output, tuple) else output)
            return output

        # MLX has no hooks; a class of its own for this one module leaves all that models ask of a block in place
        module.__class__ = type(kind.__name__, (kind,), {"__call__": call})
        try:
            yield seen
        finally:
            module.__class__ = kind


class _Reader:
    def __init__(self, engine: MlxEngine, place: Place) -> None:
        self._engine, self._place, self._memory = engine, place, engine.memory()

    def read(self, token_ids: Sequence[int]) -> "tuple[np.ndarray, Tensor]":
        return self._engine.step(token_ids, self._memory, self._place)


def rounded(folder: Path, name: str, quantisation: Quantisation) -> Path:
    """A model's folder for MLX with rounded weights, from one for transformers; made once, then taken from the cache.

    `name` pins the weights: another one makes another folder.
    """
    try:
        from mlx_lm import convert
    except ImportError:
        raise MonitorError(MISSING) from None
    key = provenance.digest([name, quantisation.model_dump()])[:16]
    target = cache_folder("mlx", f"{folder.name}-{quantisation.bits}bit-{key}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            draft = target.with_name(f".{target.name}.part")
            shutil.rmtree(draft, ignore_errors=True)
            try:
                # it tells the standard output what it does, which is for scores alone
                with redirect_stdout(sys.stderr):
                    convert(
                        str(folder),
                        mlx_path=str(draft),
                        quantize=True,
                        q_bits=quantisation.bits,
                        q_group_size=quantisation.group_size,
                    )
            except ValueError as error:
                raise MonitorError(
                    f"{folder.name}: MLX cannot take it over ({error}); set engine: transformers"
                ) from None
            draft.rename(target)
    return target


def _loaded(folder: Path) -> Any:
    try:
        from mlx_lm.utils import load_model
    except ImportError:
        raise MonitorError(MISSING) from None
    return load_model(folder)[0]


def _array(rows: Any) -> np.ndarray:
    import mlx.core as mx

    return np.array(rows.astype(mx.float32))
