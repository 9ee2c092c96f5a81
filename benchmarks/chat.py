"""Time candor's chat client against a bare loop over the same SDK, both asking a server of 200 ms latency.

PYTHONPATH=scripts python benchmarks/chat.py --requests 1280 --rounds 5

The server runs on loopback in a process of its own. The bare loop has `--concurrency` workers that await the SDK's own
method one request after the other, without retries, and throw the replies away. candor counts attempts, sets aside the
worst case of a budget, keeps to rates that are never reached, and has each reply in the cache before it counts as done.
Both ask the same new requests, in turn, each with a new SDK client, whose making is measured. It measures and asserts
nothing.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anthropic
import openai

from candor.chat.connecting import connect
from candor.chat.ledger import Ledger
from candor.chat.messages import ChatRequest, ChatSampling, Message
from candor.config.clients import Anthropic, OpenAI, Price

SERVER = Path(__file__).parents[1] / "tests" / "chat_server.py"
RATE = 1e9
"""Requests and tokens per minute: reckoned with, never reached."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=["openai", "anthropic"], default="openai")
    parser.add_argument("--requests", type=int, default=1280)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds that the server waits before each answer")
    parser.add_argument("--words", type=int, default=300, help="length of each request")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    most = args.concurrency / args.latency
    print(
        f"{args.provider}, {args.requests:,} requests of {args.words} words, {args.concurrency} at once, "
        f"{1000 * args.latency:g} ms: {most:,.0f} a second at the most"
    )
    rates: dict[str, list[float]] = {"bare": [], "candor": []}
    cpu: dict[str, list[float]] = {"bare": [], "candor": []}
    with serving(args.latency) as url, tempfile.TemporaryDirectory() as folder:
        client = client_of(args.provider, url, args.concurrency)
        for number in range(args.rounds + 1):  # the first is not measured: imports, and a cold server
            asked = requests(number, args.requests if number else args.concurrency, args.words)
            order = ["bare", "candor"] if number % 2 else ["candor", "bare"]
            for name in order:
                wall, process = time.perf_counter(), time.process_time()
                if name == "bare":
                    asyncio.run(bare(client, asked))
                else:
                    candor(client, asked, Path(folder, str(number)))
                if number:
                    rates[name].append(len(asked) / (time.perf_counter() - wall))
                    cpu[name].append(1000 * (time.process_time() - process) / len(asked))
            if number:
                said = ", ".join(f"{name} {rates[name][-1]:,.1f}" for name in rates)
                ratio = rates["candor"][-1] / rates["bare"][-1]
                print(f"round {number}: requests/s: {said}; ratio {ratio:.3f}", flush=True)
    for name in rates:
        milliseconds = statistics.median(cpu[name])
        print(f"median of {name}: {statistics.median(rates[name]):,.1f} requests/s, {milliseconds:.2f} ms of CPU each")
    ratios = [ours / theirs for ours, theirs in zip(rates["candor"], rates["bare"], strict=True)]
    print(f"candor / bare: {statistics.median(ratios):.3f} (median of rounds; {min(ratios):.3f} to {max(ratios):.3f})")


def requests(number: int, count: int, words: int) -> list[ChatRequest]:
    """Requests that no other round has."""
    text = "lorem " * words
    sampling = ChatSampling(temperature=None, max_tokens=64)
    return [ChatRequest((Message("user", f"{number} {i} {text}"),), sampling) for i in range(count)]


def client_of(provider: str, url: str, concurrency: int) -> OpenAI | Anthropic:
    """A client of the test server, which asks for no key."""
    price = Price(input=1, output=5)
    kind, base_url = (OpenAI, f"{url}/v1") if provider == "openai" else (Anthropic, url)
    return kind(
        provider=provider,
        model="m",
        base_url=base_url,
        key_variable=None,
        concurrency=concurrency,
        requests_per_minute=RATE,
        tokens_per_minute=RATE,
        price=price,
    )


async def bare(client: OpenAI | Anthropic, asked: Sequence[ChatRequest]) -> None:
    """The SDK alone, with so many workers."""
    queue = iter(asked)
    if isinstance(client, OpenAI):
        async with openai.AsyncOpenAI(api_key="none", base_url=client.base_url, max_retries=0) as sdk:

            async def ask() -> None:
                for request in queue:
                    await sdk.chat.completions.create(
                        model=client.model,
                        messages=[{"role": "user", "content": request.messages[0].content}],
                        max_tokens=request.sampling.max_tokens,
                    )

            await asyncio.gather(*(ask() for _ in range(client.concurrency)))
    else:
        async with anthropic.AsyncAnthropic(api_key="none", base_url=client.base_url, max_retries=0) as other:

            async def ask_other() -> None:
                for request in queue:
                    await other.messages.create(
                        model=client.model,
                        messages=[{"role": "user", "content": request.messages[0].content}],
                        max_tokens=request.sampling.max_tokens,
                    )

            await asyncio.gather(*(ask_other() for _ in range(client.concurrency)))


def candor(client: OpenAI | Anthropic, asked: Sequence[ChatRequest], folder: Path) -> None:
    """What a judge's job does."""
    completions = connect(client, budget=Ledger(folder / "ledger", 1e6), jobs=1, cache=folder).complete(asked)
    if any(completion.status != "ok" or completion.cached for completion in completions):
        sys.exit("not every request was answered: the times mean nothing")


@contextmanager
def serving(latency: float) -> Iterator[str]:
    """The address of a test server in a process of its own."""
    command = [sys.executable, str(SERVER), "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
