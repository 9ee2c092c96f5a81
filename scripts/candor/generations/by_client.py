"""One generation job whose subject is a chat client at a server, from its command line to its table.

A job that was killed goes on where it was: replies that are there are found in the client's cache. The server knows
its own context and counts its own tokens, so that `max_prompt_tokens`, like `batch_size` and `engine`, has no meaning.
"""

import hashlib
import json
import math
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from candor import provenance, tables
from candor.chat.connecting import connect
from candor.chat.messages import ChatRequest, ChatSampling, Client, Completion, Message
from candor.config.clients import RemoteClient
from candor.config.samplings import Sampling
from candor.generations.engine import GenerationError
from candor.generations.responding import Prompt, Turn, counts_of, items_of, prefill_of, respond
from candor.progress import Progress
from candor.responses import CLOSE, OPEN, join
from candor.schemas.generation import GENERATION
from candor.schemas.status import SCORED


def generate(args: Namespace) -> dict[str, Any]:
    """Generate for a shard of a dataset table with the sampling and client of the spec; return counts and costs."""
    sampling = Sampling.model_validate(args.spec["samplings"])
    config = client_config({**args.spec["clients"], **args.pace}, sampling)
    items = items_of(args.data, args.shard, sampling.n)
    made = provenance.record(__file__, args.code, args.spec, [args.data], [config.provider])
    made["script"] = "generate_by_client.py"
    client = connect(config, budget=None)
    teacher = Teacher(client, sampling, config.provider, f"generate {args.data.stem}", args.progress)
    rows = respond(teacher, sampling, items)
    facts = {**counts_of(rows), **teacher.costs()}
    tables.write(args.output, rows, GENERATION, {**made, **facts})
    return facts


class Teacher:
    """Continues prompts by the client of a provider, and keeps count of what that costs.

    Its progress is told under a name, and not without one.
    """

    def __init__(
        self, client: Client, sampling: Sampling, provider: str, name: str | None = None, descriptor: int = 2
    ) -> None:
        self._client, self._sampling, self._provider = client, sampling, provider
        self._name, self._descriptor = name, descriptor
        self._completions: list[Completion] = []

    def __call__(self, prompts: Sequence[Prompt], finished: Callable[[int], None]) -> list[Turn]:
        """The turn of each prompt; what the client says of those without one is said in the log."""
        progress = Progress(self._name, len(prompts), "requests", self._descriptor) if self._name else None

        def through(done: int) -> None:
            if progress:
                progress.update(done)
            finished(done)

        requests = [request_of(prompt, self._sampling, self._provider) for prompt in prompts]
        completions = self._client.complete(requests, through) if requests else []
        self._completions += completions
        _tell(prompts, completions)
        return [_turn(*each, self._sampling) for each in zip(requests, completions, strict=True)]

    def costs(self) -> dict[str, Any]:
        """Requests ever sent for the prompts so far, over all runs, and what the replies cost when they were paid."""
        return {
            "attempts": sum(each.attempts for each in self._completions),
            "usd": round(math.fsum(each.usd for each in self._completions), 9),
        }


def request_of(prompt: Prompt, sampling: Sampling, provider: str) -> ChatRequest:
    """What a client is asked for a prompt.

    A top_p of 1 is not sent, nor is a temperature of 1 to Anthropic, where it is the default: its newer models refuse
    both keys, and older ones both at once. Servers that speak OpenAI's protocol have defaults of their own.
    """
    given = prefill_of(prompt.messages, sampling)
    begun = [Message("assistant", given)] if given else []
    drawn = ChatSampling(
        temperature=None if sampling.temperature == 1 and provider == "anthropic" else sampling.temperature,
        top_p=None if sampling.top_p == 1 else sampling.top_p,
        max_tokens=prompt.max_new_tokens,
        seed=_seed(prompt, sampling.seed) if sampling.temperature else None,
        stop=tuple(sampling.stop),
    )
    turns = (*(Message(turn["role"], turn["content"]) for turn in prompt.messages), *begun)
    return ChatRequest(turns, drawn, prompt.sample_index)


def client_config(entry: Mapping[str, Any], sampling: Sampling) -> RemoteClient:
    """The client of an entry of the config; GenerationError where it cannot serve a sampling."""
    if entry.get("provider") == "local":
        raise GenerationError(
            f"the client is this study's own subject {entry.get('subject')!r}; generate with the subject itself"
        )
    if sampling.top_k:
        raise GenerationError(
            f"the sampling has top_k: {sampling.top_k}, which candor asks of no chat client, since OpenAI's protocol "
            f"has none; leave it 0, or put top_k into the `extra_body` of the client, where the server of "
            f"{entry.get('model')} knows it"
        )
    config: RemoteClient = TypeAdapter(RemoteClient).validate_python(entry)
    return config


def _seed(prompt: Prompt, seed: int) -> int:
    """The seed of a prompt's first sample, below 2 to the 30th, which every server can take."""
    name = json.dumps([seed, prompt.example_id, prompt.first_step]).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "little") >> 2


def _turn(request: ChatRequest, completion: Completion, sampling: Sampling) -> Turn:
    """The turn of a completion; reasoning that the server gives apart is put into its tags where some is expected."""
    begun = request.prefill or "" if completion.status in SCORED else ""
    text, apart = begun + completion.text, completion.reasoning
    if sampling.reasoning == "native" and apart and CLOSE not in completion.text:
        text = join(apart, completion.text) if completion.text.strip() else f"{OPEN}\n{apart}"
    text = text.encode("utf-8", "replace").decode("utf-8")  # no table holds half a character
    return Turn(text, [], completion.tokens_in, completion.tokens_out, completion.status)


def _tell(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> None:
    """Say in the log why prompts have no turn: the table has a place for the status alone."""
    for prompt, completion in zip(prompts, completions, strict=True):
        if completion.status not in SCORED:
            where = f"example {prompt.example_id}, sample {prompt.sample_index}"
            print(f"{where}: {completion.status}: {completion.remark}", file=sys.stderr)
