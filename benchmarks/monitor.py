"""Time a probe on tokens as they come, against the model that it watches, on the default model and prompts that ship.

PYTHONPATH=scripts python benchmarks/monitor.py --texts 6 --tokens 60 --threads 2

The model answers each prompt; its time is that of its passes, the probe's that of `Watching.read`, which projects the
activations and keeps the running score. Both are wall-clock seconds of one process. The prompt is read in one pass, the
answer token by token. The probe's directions are random, since the time does not depend on them. It measures and
asserts nothing.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from extraction import MODEL, prompts
from transformers.utils import logging

from candor import models
from candor.config.samplings import Sampling
from candor.monitor.choosing import revision_of
from candor.monitor.engine import Place, Read, converse
from candor.monitor.transformers_engine import TransformersEngine
from candor.monitor.watching import Watcher
from candor.probes.files import Header, SavedProbe

LAYER = 15
FAMILIES: dict[str, tuple[dict[str, Any], int, int]] = {
    "mean": ({"family": "mean"}, 1, 2),
    "mean, 3 classes": ({"family": "mean"}, 1, 3),
    "last": ({"family": "last"}, 1, 2),
    "max": ({"family": "max"}, 1, 2),
    "multimax": ({"family": "multimax"}, 10, 2),
    "softmax": ({"family": "softmax"}, 1, 2),
    "attention": ({"family": "attention"}, 2, 2),
    "rolling_mean_max": ({"family": "rolling_mean_max"}, 1, 2),
    "rolling_attention": ({"family": "rolling_attention"}, 2, 2),
    "gated_attention": ({"family": "gated_attention"}, 3, 2),
    "mlp, 3 classes": ({"family": "mlp"}, 64, 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=6, help="prompts, taken evenly from all that ship")
    parser.add_argument("--tokens", type=int, default=60, help="longest answer")
    parser.add_argument("--rounds", type=int, default=5, help="times that each probe watches the same conversations")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    facts = models.fetch(MODEL)._asdict()
    engine = TransformersEngine(models.load(MODEL, facts), "smollm2-135m", revision_of(facts))
    sampling = Sampling(temperature=0.7, max_new_tokens=args.tokens)
    place, chats = Place("residual", LAYER), prompts(args.texts)
    list(converse(engine, place, chats[0], sampling))  # once unmeasured: kernels are chosen at first use
    conversations, reading, writing = [], 0.0, 0.0
    for chat in chats:
        reads, seconds = timed(converse(engine, place, chat, sampling))
        conversations.append(reads)
        for read, second in zip(reads, seconds, strict=True):
            reading, writing = (reading, writing + second) if read.written else (reading + second, writing)
    asked, written = (count(conversations, kind) for kind in (False, True))
    print(f"{MODEL.name}, {args.threads} threads: {asked} tokens read, {written} written")
    print(f"model: {1e6 * reading / asked:,.0f} us a token read, {1e6 * writing / written:,.0f} us a token written")
    print(f"{'probe':20} {'us read':>9} {'share':>8} {'us written':>11} {'share':>8}")
    for name, (config, projections, classes) in FAMILIES.items():
        own = watched_for(probe_of(config, projections, classes, facts["width"]), conversations, args.rounds)
        read, wrote = own[False] / args.rounds / asked, own[True] / args.rounds / written
        print(
            f"{name:20} {1e6 * read:9.2f} {read * asked / reading:8.3%} {1e6 * wrote:11.1f} "
            f"{wrote * written / writing:8.3%}"
        )


def timed(reads: Iterator[Read]) -> tuple[list[Read], list[float]]:
    """A conversation, and the seconds that each of its pieces took."""
    found, seconds, start = [], [], time.perf_counter()
    for read in reads:
        found.append(read)
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    return found, seconds


def count(conversations: list[list[Read]], written: bool) -> int:
    """Tokens that the model wrote, or was given."""
    return sum(len(read.roles) for reads in conversations for read in reads if read.written == written)


def watched_for(watcher: Watcher, conversations: list[list[Read]], rounds: int) -> dict[bool, float]:
    """Seconds that a probe takes for what was given (False) and for what was written (True)."""
    found = {False: 0.0, True: 0.0}
    for number in range(rounds + 1):
        for reads in conversations:
            watching = watcher.begin()
            for read in reads:
                start = time.perf_counter()
                watching.read(read.activations, read.roles, read.written)
                if number:  # the first round is not measured
                    found[read.written] += time.perf_counter() - start
    return found


def probe_of(config: dict[str, Any], projections: int, classes: int, width: int) -> Watcher:
    """A probe with random directions."""
    outputs, rows = (1 if classes == 2 else classes), width + 2 * (config["family"] == "mlp")
    names = [f"class {k}" for k in range(classes)]
    weight = torch.randn(1, 1, projections, rows, outputs, generator=torch.Generator().manual_seed(0)) * width**-0.5
    header = Header(
        family=config["family"],
        probe=config,
        task="benchmark",
        classes=names,
        layers=[LAYER],
        seeds=[0],
        subject="smollm2-135m",
        revision=None,
        hook="residual",
        width=width,
        standardisation="",
        train="",
        train_sha256="",
        n_train=0,
        control="",
        target_fpr=0.01,
        thresholds={str(LAYER): {"0": {name: 0.0 for name in names}}},
        metrics={str(LAYER): {"cross_validated_auroc": 0.5}},
        best_epochs={},
    )
    return Watcher(SavedProbe(weight, torch.zeros(1, 1, outputs), header), Path("benchmark"), LAYER)


if __name__ == "__main__":
    main()
