"""The engine over a transformers network: continuous batching with a decode loop of its own.

Every running text has a slot for its keys and values. One pass reads the newest token of each and, as slots become
free, new prompts beside them (attention.py); only the tokens that are drawn from go through the output head. Slots in
use always come first: where a text is finished, the last one takes its place, so that no pass works on dead rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from candor.activations.hooks import blocks_of
from candor.config.samplings import Sampling
from candor.generations.attention import NAME, Pass, Slots
from candor.generations.engine import Completion, GenerationError, Request, Watch, before_stop, end_tokens, text_of
from candor.generations.packing import Packed
from candor.generations.sampling import draw, uniforms
from candor.hardware import auto_batch_tokens
from candor.models import Subject

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HANDLED = {"full_attention", "sliding_attention"}
"""Kinds of attention that slots serve."""
ROUNDS = 8
"""Requests to a slot in one call: what a job that is killed does again, against the passes that end with few texts."""


@dataclass
class _Text:
    """A text in a slot; `length` counts the tokens that have been read."""

    request: Request
    uniforms: np.ndarray
    limit: int
    length: int = 0
    new: list[int] = field(default_factory=list)


class TransformersEngine:
    """Continues prompts with a loaded subject model.

    `ends` are the tokens that end a text, by default the model's own. GenerationError for an architecture whose
    attention or memory is of a kind that slots do not serve.
    """

    def __init__(
        self, subject: Subject, batch_size: int | Literal["auto"] = "auto", ends: frozenset[int] | None = None
    ) -> None:
        self.network, self.tokenizer = subject.model, subject.tokenizer
        refuse_unserved(self.network)
        self.device = next(self.network.get_input_embeddings().parameters()).device
        self.batch_size = auto_batch_size(self.device.type) if batch_size == "auto" else batch_size
        self._packed = Packed(self.network)
        self.at_once = ROUNDS * self.batch_size
        self.prompt_tokens = auto_batch_tokens(self.device.type)
        self.ends = end_tokens(self.network.generation_config, self.tokenizer) if ends is None else ends
        self.context: int | None = getattr(self.network.config.get_text_config(), "max_position_embeddings", None)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch | None = None
    ) -> Iterator[Completion]:
        """Yield completions as they finish; while it runs, the network is of no other use."""
        if not requests:
            return
        first: dict[tuple[int, ...], int] = {}
        for number, request in enumerate(requests):
            first.setdefault(tuple(request.prompt), number)
        # the longest first, which shows at once whether memory is enough; samples of one prompt beside each other
        order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].prompt), first[tuple(requests[i].prompt)]))
        waiting = [self._text(requests[i], sampling) for i in reversed(order)]
        run = _Run(self, waiting, sampling, watch)
        usual = self.network.config._attn_implementation
        with ExitStack() as cleanup:
            cleanup.callback(self.network.set_attn_implementation, usual)
            self.network.set_attn_implementation(NAME)
            cleanup.enter_context(self._packed.used())
            cleanup.enter_context(run.watching())
            while run.unfinished():
                try:
                    with torch.inference_mode():
                        done = run.step()
                except torch.OutOfMemoryError:
                    raise GenerationError(
                        f"{self.batch_size} texts side by side do not fit into the device's memory; "
                        "lower the sampling's `batch_size`"
                    ) from None
                yield from done

    def _text(self, request: Request, sampling: Sampling) -> _Text:
        room = request.max_new_tokens if self.context is None else self.context - len(request.prompt)
        if not request.prompt or room < 1:
            raise GenerationError(
                f"example {request.example_id}: a prompt of {len(request.prompt)} tokens cannot be continued "
                f"by a model that reads 1 to {self.context}; lower `max_prompt_tokens`"
            )
        limit = min(request.max_new_tokens, room)
        last = request.first_step + limit
        drawn = uniforms(sampling.seed, request.example_id, request.sample_index, last)[request.first_step :]
        return _Text(request, drawn, limit)


class _Run:
    """One call of `generate`: the texts that wait, and those in slots 0, 1, …"""

    def __init__(self, engine: TransformersEngine, waiting: list[_Text], sampling: Sampling, watch: Watch | None):
        self._engine, self._waiting, self._sampling, self._watch = engine, waiting, sampling, watch
        self._tokenizer = engine.tokenizer
        self._texts: list[_Text] = []
        self._room = min(engine.batch_size, len(waiting))
        self._slots = Slots(self._room)
        self._pass: Pass | None = None
        self._stop_tokens = max((len(stop.encode()) for stop in sampling.stop), default=0)

    def unfinished(self) -> bool:
        """Whether a text waits or runs."""
        return bool(self._waiting or self._texts)

    def step(self) -> list[Completion]:
        """Read the newest tokens and new prompts in one pass, draw a token for each text; return the finished ones."""
        engine, running = self._engine, self._texts
        groups = self._admit()
        prompts = [group[0].request.prompt for group in groups]
        for text in running:
            text.length += 1
        self._texts = [*running, *(text for group in groups for text in group)]
        for text in self._texts[len(running) :]:
            text.length = len(text.request.prompt)
        lengths = [text.length for text in running]
        self._slots.reserve(max(text.length for text in self._texts))
        now = Pass(self._slots, lengths, [len(p) for p in prompts], [len(g) for g in groups], engine.device)
        ids = [text.new[-1] for text in running]
        for prompt in prompts:
            ids.extend(prompt)
        self._pass = now
        logits = engine.network(
            input_ids=torch.tensor([ids]).to(engine.device),
            position_ids=now.reads[None],
            use_cache=False,
            logits_to_keep=now.ends,  # a list, which suits a head on any device
            candor_pass=now,
        ).logits[0]
        return self._take(*self._draw(logits))

    def _admit(self) -> list[list[_Text]]:
        """Texts for the free slots, those of one prompt together, within the tokens that a pass may read."""
        groups: list[list[_Text]] = []
        free, tokens = self._room - len(self._texts), 0
        while free and self._waiting:
            prompt = self._waiting[-1].request.prompt
            if groups and groups[-1][0].request.prompt == prompt:
                groups[-1].append(self._waiting.pop())
            elif not groups or tokens + len(prompt) <= self._engine.prompt_tokens:
                tokens += len(prompt)
                groups.append([self._waiting.pop()])
            else:
                break
            free -= 1
        return groups

    def _draw(self, logits: Tensor) -> tuple[list[int], list[bool]]:
        """A token for each text, and whether its logits were finite."""
        numbers = torch.tensor([text.uniforms[len(text.new)] for text in self._texts], dtype=torch.float64)
        finite = logits.amax(-1).isfinite()
        if not bool(finite.all()):
            logits = logits.masked_fill(~finite[:, None], 0)
        return draw(logits, numbers.to(logits.device), self._sampling).tolist(), finite.tolist()

    def _take(self, tokens: list[int], finite: list[bool]) -> list[Completion]:
        """Give each text its token; take the finished ones out of their slots."""
        done: list[Completion] = []
        gone: list[int] = []
        for slot, (text, token) in enumerate(zip(self._texts, tokens, strict=True)):
            text.new.append(token)
            status = self._status(text, token) if finite[slot] else "not_finite"
            if status is not None:
                gone.append(slot)
                done.append(self._finish(slot, text, status))
        if gone:
            self._close(gone)
        return done

    def _status(self, text: _Text, token: int) -> str | None:
        if token in self._engine.ends:
            return "ok"
        if self._stop_tokens:
            # every token but a special one is a byte at least, so a stop string that is new ends in the last few
            cut = max(0, len(text.new) - self._stop_tokens)
            tail = text_of(text.new[cut:], text.new[:cut] or text.request.prompt, self._tokenizer)
            if any(stop in tail for stop in self._sampling.stop):
                return "ok"
        return "truncated" if len(text.new) == text.limit else None

    def _finish(self, slot: int, text: _Text, status: str) -> Completion:
        ended = text.new[-1] in self._engine.ends
        tokens = text.new[:-1] if status == "not_finite" else text.new
        words = text_of(tokens[:-1] if ended and status == "ok" else tokens, text.request.prompt, self._tokenizer)
        if self._watch is not None:
            wanted = self._watch.wanted(text.request, text.length)
            held = {k: self._slots.take(("residual", k), slot, wanted)[:, 0] for k in self._watch.layers}
            self._watch.see(text.request, wanted, held)
        if status == "not_finite":
            self._slots.clear(slot)
        return Completion(text.request, tokens, before_stop(words, self._sampling.stop), status)

    def _close(self, gone: list[int]) -> None:
        """Free some slots, and let the last texts take their places."""
        free = set(gone)
        left = [slot for slot in range(len(self._texts)) if slot not in free]
        late, holes = [slot for slot in left if slot >= len(left)], [slot for slot in gone if slot < len(left)]
        if holes:
            self._slots.move(late, holes, max(self._texts[slot].length for slot in late))
        for source, target in zip(late, holes, strict=True):
            self._texts[target] = self._texts[source]
        del self._texts[len(left) :]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what the watched blocks put out, for as long as their texts have slots."""
        layers = self._watch.layers if self._watch is not None else []
        blocks = blocks_of(self._engine.network)
        for layer in layers:
            if not 0 <= layer < len(blocks):
                raise GenerationError(f"there is no block {layer} to watch: the model has {len(blocks)}")
        handles = [blocks[layer].register_forward_hook(self._keep(layer)) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, layer: int) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            assert self._pass is not None
            self._pass.write(("residual", layer), hidden[0][:, None])

        return keep


def auto_batch_size(device: str) -> int:
    """Texts side by side: what the caches of a CPU's cores feed, enough to fill a GPU elsewhere."""
    return 32 if device == "cpu" else 128


def refuse_unserved(network: "PreTrainedModel") -> None:
    """GenerationError for a network whose attention cannot be taken over, or is of another kind than slots serve."""
    name, config = type(network).__name__, network.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if not network.is_backend_compatible() or network.config.is_encoder_decoder:
        raise GenerationError(f"{name}: transformers cannot give its attention to another engine; use engine: vllm")
    shared = getattr(config, "num_kv_shared_layers", 0)
    if kinds - HANDLED or shared:
        unserved = ", ".join(sorted(kinds - HANDLED)) or "layers that share keys"
        raise GenerationError(f"{name}: has {unserved}, which the transformers engine does not serve; use engine: vllm")
