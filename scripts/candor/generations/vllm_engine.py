"""The engine over vLLM, for the GPU environment: vLLM's own scheduling, kernels and random numbers.

Each request has a seed of its own, made of the sampling's seed, the example, the sample and the first step, so that a
draw does not depend on what runs beside it but for rounding; the draws are vLLM's, other than the transformers
engine's for the same seed. Neither a watch nor an ablation reaches into its network.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from candor.config.samplings import Sampling
from candor.generations.engine import Completion, GenerationError, Request, Watch, before_stop, end_tokens, text_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RANKS = (8, 16, 32, 64, 128, 256, 512)
"""Ranks of adapters that vLLM makes room for."""


class VllmEngine:
    """Continues prompts with the model of a folder, and with an adapter's folder over it."""

    def __init__(
        self,
        folder: Path,
        tokenizer: "PreTrainedTokenizerBase",
        dtype: str,
        batch_size: int | Literal["auto"] = "auto",
        adapter: Path | None = None,
    ) -> None:
        try:
            from vllm import LLM
            from vllm.lora.request import LoRARequest
        except ImportError:
            raise GenerationError(
                "engine: vllm needs the package vllm, which is not installed here; "
                "use the GPU environment (envs/gpu.yaml), or engine: transformers"
            ) from None
        import torch
        from transformers import AutoConfig, GenerationConfig

        # each matrix is cut into a part for every GPU of the job, which work at one time; heads divide by powers of two
        gpus = max(1, torch.cuda.device_count())
        options: dict[str, Any] = {"tensor_parallel_size": 1 << (gpus.bit_length() - 1)}
        if batch_size != "auto":
            options["max_num_seqs"] = batch_size
        if adapter is not None:
            rank = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
            options |= {"enable_lora": True, "max_lora_rank": next((r for r in RANKS if r >= rank), rank)}
        self._adapter = None if adapter is None else LoRARequest("adapter", 1, str(adapter))
        self._llm = LLM(
            model=str(folder), dtype=dtype, seed=0, trust_remote_code=False, load_format="safetensors", **options
        )
        self._tokenizer = tokenizer
        try:
            endings = GenerationConfig.from_pretrained(folder, local_files_only=True)
        except OSError:
            endings = None
        self._ends = end_tokens(endings, tokenizer)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True).get_text_config()
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        self.at_once = 4096

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch | None = None
    ) -> Iterator[Completion]:
        """Yield the completions, in the order of the requests, when all are done."""
        from vllm import SamplingParams

        if watch is not None:
            raise GenerationError("engine: vllm cannot be watched; use engine: transformers to capture activations")
        options = [
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                max_tokens=request.max_new_tokens,
                stop=sampling.stop or None,
                stop_token_ids=sorted(self._ends),
                seed=seed_of(request, sampling.seed),
                skip_special_tokens=False,
            )
            for request in requests
        ]
        prompts: list[Any] = [{"prompt_token_ids": request.prompt} for request in requests]
        answers = self._llm.generate(prompts, options, use_tqdm=False, lora_request=self._adapter)
        for request, answer in zip(requests, answers, strict=True):
            found = answer.outputs[0]
            tokens = list(found.token_ids)
            spoken = tokens[:-1] if tokens and tokens[-1] in self._ends else tokens
            text = before_stop(text_of(spoken, request.prompt, self._tokenizer), sampling.stop)
            yield Completion(request, tokens, text, "truncated" if found.finish_reason == "length" else "ok")


def seed_of(request: Request, seed: int) -> int:
    """The seed of one request, below 2 to the 63rd."""
    name = json.dumps([seed, request.example_id, request.sample_index, request.first_step]).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") >> 1
