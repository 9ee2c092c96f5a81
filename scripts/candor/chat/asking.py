"""Requests to a remote model, many at once: cached, identical ones asked once, paced, sent again where that may heal.

Every reply is in the cache before it counts as done, so none that was paid for is asked for again; a job that is killed
repeats what it had under way, at most `concurrency` requests, and their attempts count on. When nothing more can
succeed (a refused key, a used-up quota, a budget) the job stops with a ChatStop: what is under way has been sent and
may be paid for, so it is awaited and kept first.
"""

import asyncio
import importlib
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from candor.chat.failures import ChatStop, Failure
from candor.chat.keys import key_of, scrub
from candor.chat.ledger import Ledger
from candor.chat.messages import ChatRequest, Completion, canonical, digest, nothing
from candor.chat.pacing import Pace
from candor.chat.pricing import estimated_input, usd, worst_case
from candor.chat.replies import Replies, Reply
from candor.config.clients import Anthropic, RemoteClient, takes_both, takes_prefill, tracked

BACK_OFF = 0.5
"""Seconds of the first back-off at the most; it doubles with each further try."""
LONGEST_BACK_OFF = 60.0
PATIENCE = 900.0
"""Seconds that a service may ask to wait; one that asks for more has stopped serving for now."""
IN_VAIN = 8
"""Requests that come to nothing, one after the other, before the service counts as down; `concurrency` if greater."""
LONGEST_REMARK = 500
FILE_THREADS = 4


class Asked(NamedTuple):
    """A request with its canonical form and identity."""

    request: ChatRequest
    canonical: str
    identity: str


async def wait(seconds: float, stopping: asyncio.Event) -> None:
    """Wait so long, or until the job stops."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass


@dataclass
class AskingClient:
    """A client of a remote model, in live mode. `name` is what its errors call it.

    `budget` is charged before a request is sent with the most that it can cost; a time-out or a connection that is cut
    after sending may have been billed, and stays charged so (see Ledger).
    """

    config: RemoteClient
    replies: Replies
    pace: Pace
    name: str
    budget: Ledger | None = None
    draw: Callable[[float, float], float] = random.uniform

    def complete(self, requests: Sequence[ChatRequest], finished: Callable[[int], None] = nothing) -> list[Completion]:
        """One completion per request, in the order of the requests; `finished` hears how many are done so far.

        A request that has come to nothing has the status error and is not kept: the next run asks again. Raises
        ChatStop where no request can succeed, and MissingKey where one is to be sent and there is no key.
        """
        rows = asked_once(self.config, requests)
        call = _Call(self, {asked.identity: len(where) for asked, where in rows}, finished)
        todo = []
        for asked, _ in rows:
            reply = self.replies.find(asked.identity)
            if reply is None:
                todo.append(asked)
            else:
                call.done(asked, completion_of(reply, self.replies.attempts(asked.identity), cached=True))
        if todo:
            key = key_of(self.config)
            asyncio.run(call.run(todo, key))
        return in_order(rows, call.completions)


class _Call:
    """One call of `complete`: what is done, and whether it must stop."""

    def __init__(self, client: AskingClient, rows: dict[str, int], finished: Callable[[int], None]) -> None:
        self.client, self.rows, self.finished = client, rows, finished
        self.completions: dict[str, Completion] = {}
        self.rows_done = 0
        self.error: Exception | None = None
        self.stopping, self.settled = asyncio.Event(), asyncio.Event()
        self.under_way = self.in_vain = 0
        self.replied = False

    def done(self, asked: Asked, completion: Completion) -> None:
        self.completions[asked.identity] = completion
        self.rows_done += self.rows[asked.identity]
        self.finished(self.rows_done)

    async def run(self, todo: Sequence[Asked], key: str | None) -> None:
        """Ask for replies; raises what stopped it, when nothing is under way any more."""
        config = self.client.config
        self.provider: Any = importlib.import_module(f"candor.chat.providers.{config.provider}")
        self.keys = [key] if key else []
        self.workers = min(config.concurrency, len(todo))
        with ThreadPoolExecutor(min(self.workers, FILE_THREADS)) as self.threads:
            async with self.provider.open_sdk(config, key) as self.sdk:
                await self._work(todo)
        if self.error is not None:
            raise self.error from None

    async def _work(self, todo: Sequence[Asked]) -> None:
        queue = iter(todo)

        async def work() -> None:
            for asked in queue:  # shared: each takes the next
                if self.stopping.is_set():
                    return
                try:
                    await self._ask(asked)
                except Exception as error:  # the others must end what they have sent
                    self._stop(error)

        await asyncio.gather(*(work() for _ in range(self.workers)))

    async def _ask(self, asked: Asked) -> None:
        """See a request through to its completion, unless the job stops before."""
        client, config, request = self.client, self.client.config, asked.request
        worst = worst_case(request, config.price)
        body = self.provider.body_of(config, request)
        tokens = estimated_input(request) + request.sampling.max_tokens
        failure = Failure("never sent")
        answered = False
        for turn in range(config.retries + 1):
            if turn:
                await wait(self._back_off(turn, failure.after), self.stopping)
            if seconds := client.pace.take(tokens):
                await wait(seconds, self.stopping)
            found = await self._cleared(asked, worst)
            if found is not None:
                self.done(asked, completion_of(found, client.replies.attempts(asked.identity), cached=True))
            if found is not None or self.stopping.is_set():
                return
            outcome = await self._send(asked, body, worst)
            if isinstance(outcome, Reply):
                client.pace.correct(tokens, outcome.tokens_in + outcome.tokens_out)
                self.in_vain, self.replied = 0, True
                self.done(asked, completion_of(outcome, client.replies.attempts(asked.identity), cached=False))
                return
            failure = outcome
            answered = answered or not failure.unreachable
            client.pace.correct(tokens, tokens if failure.billed else 0)
            advice = failure.stop
            if failure.after is not None and failure.after > PATIENCE:
                advice = f"it asks to wait {round(failure.after / 60)} minutes; run again after that"
            if advice is not None:
                self._stop(self._sentence(failure, advice))
                return
            if not failure.heals:
                break
        self._given_up(asked, failure, nobody_there=not answered and not self.replied)

    async def _send(self, asked: Asked, body: Any, worst: float) -> Reply | Failure:
        """Send a request once; its reply is in the cache, and the budget is right, before anybody hears of it."""
        try:
            outcome: Reply | Failure
            outcome = await self.provider.send(self.sdk, self.client.config, asked.request, body)
            if isinstance(outcome, Failure) and outcome.refused:
                outcome = Reply("refused", "", self._remark(outcome), 0, 0, None)
            if isinstance(outcome, Reply):
                outcome = self._priced(outcome, worst)
                await self._aside(self._keep, asked, outcome, worst)
            elif not outcome.billed:
                await self._aside(self._settle, worst, 0.0)
            return outcome
        finally:
            self.under_way -= 1
            self.settled.set()

    def _given_up(self, asked: Asked, failure: Failure, *, nobody_there: bool) -> None:
        """A request has come to nothing; where too many have, the job stops."""
        attempts = self.client.replies.attempts(asked.identity)
        self.done(asked, Completion("error", "", attempts, 0, 0, 0.0, self._remark(failure), False))
        self.in_vain += 1
        if self.in_vain >= (self.workers if nobody_there else max(self.client.config.concurrency, IN_VAIN)):
            if failure.heals:
                self._stop(self._sentence(failure, "see that `base_url` is right and the service up, then run again"))
            elif not self.replied:
                self._stop(self._sentence(failure, "it refuses every request; change the judge or the client"))

    def _back_off(self, turn: int, after: float | None) -> float:
        """Exponential back-off with full jitter; never less than what the service asks for."""
        most = min(BACK_OFF * 2 ** (turn - 1), LONGEST_BACK_OFF)
        return (after or 0.0) + self.client.draw(0.0, most)

    async def _cleared(self, asked: Asked, worst: float) -> Reply | None:
        """Count a sending, and set its cost aside; the reply where another job has got it in the meantime.

        Waits for room in the budget while requests of this job are under way, and stops the job where there is none.
        """
        while not self.stopping.is_set():
            self.under_way += 1
            found = await self._aside(self._clear, asked, worst)
            if found is None and not self.stopping.is_set():
                return None  # and under way
            self.under_way -= 1
            if found is None:
                await self._aside(self._settle, worst, 0.0)
            elif isinstance(found, Reply):
                self.settled.set()
                return found
            elif not self.under_way:
                self._stop(self._no_room(worst))
            else:
                self.settled.clear()
                await self.settled.wait()
        return None

    def _clear(self, asked: Asked, worst: float) -> Reply | Literal[False] | None:
        """None: go; a reply: it is there; False: no room in the budget."""
        client = self.client
        found = client.replies.find(asked.identity)
        if found is None:
            if client.budget is not None and not client.budget.reserve(worst):
                return False
            client.replies.sending(asked.identity)
        return found

    def _keep(self, asked: Asked, reply: Reply, worst: float) -> None:
        self.client.replies.keep(asked.identity, asked.canonical, reply, self.keys)
        self._settle(worst, reply.usd)

    def _settle(self, worst: float, actual: float) -> None:
        if self.client.budget is not None:
            self.client.budget.settle(worst, actual)

    async def _aside(self, work: Callable[..., Any], *values: Any) -> Any:
        """Read or write files in one of a few threads: a shared file system may take longer than a loop can wait."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *values)

    def _priced(self, reply: Reply, worst: float) -> Reply:
        """A reply without keys, and with what it cost: the worst case where the service has not counted its tokens."""
        cost = usd(reply.tokens_in, reply.tokens_out, self.client.config.price) if reply.counted else worst
        return reply._replace(text=scrub(reply.text, self.keys), usd=cost)

    def _remark(self, failure: Failure) -> str:
        return scrub(failure.remark, self.keys)[:LONGEST_REMARK]

    def _no_room(self, worst: float) -> ChatStop:
        budget = self.client.budget
        assert budget is not None
        spent = f"of {budget.budget_usd:g} US dollars {budget.spent():.4g} are spent or set aside"
        return self._sentence(
            Failure(f"{spent}, and the next request may cost {worst:.4g}"), "raise budget_usd, then run again"
        )

    def _sentence(self, failure: Failure, advice: str) -> ChatStop:
        return ChatStop(
            f"client {self.client.name} stops: {self._remark(failure)}. What to do: {advice}. The replies so far are "
            "kept and will not be paid again."
        )

    def _stop(self, error: Exception) -> None:
        self.error = self.error or error
        self.stopping.set()
        self.settled.set()  # whoever waits for room in the budget


def asked_once(config: RemoteClient, requests: Sequence[ChatRequest]) -> list[tuple[Asked, list[int]]]:
    """The distinct requests, in order, each with the places where it stands; refuses those no service would take."""
    client = tracked(config)
    rows: dict[str, tuple[Asked, list[int]]] = {}
    for i, request in enumerate(requests):
        check(config, request)
        text = canonical(request, client)
        asked = Asked(request, text, digest(text))
        rows.setdefault(asked.identity, (asked, []))[1].append(i)
    return list(rows.values())


def in_order(rows: Sequence[tuple[Asked, list[int]]], found: Mapping[str, Completion]) -> list[Completion]:
    """The completions of the rows of `asked_once`, by identity, each at its places: only the first was paid for."""
    completions: dict[int, Completion] = {}
    for asked, places in rows:
        again = found[asked.identity]._replace(attempts=0, usd=0.0)
        completions |= dict.fromkeys(places, again) | {places[0]: found[asked.identity]}
    return [completions[i] for i in range(len(completions))]


def check(config: RemoteClient, request: ChatRequest) -> None:
    """Raise ChatStop for a request that this client could only send in vain."""
    if not request.messages or all(message.role == "system" for message in request.messages):
        raise ChatStop(f"a request to {config.model!r} has no message to answer; give its prompt a user's turn.")
    if request.prefill is None:
        return
    if not takes_prefill(config):
        raise ChatStop(
            f"a request to {config.model!r} begins its reply (prefill), which this service does not take; leave the "
            "prefill out, or set `prefill: true` on a client whose server goes on with a last assistant's turn."
        )
    if request.schema is not None and not takes_both(config):
        raise ChatStop(
            f"a request to {config.model!r} has a prefill and a schema, which exclude each other; leave the prefill "
            "out, or set the client's `structured: none`."
        )
    if isinstance(config, Anthropic) and request.prefill != request.prefill.rstrip():
        raise ChatStop(f"the prefill of a request to {config.model!r} ends with white space; Anthropic refuses that.")


def completion_of(reply: Reply, attempts: int, *, cached: bool) -> Completion:
    """What a caller gets of a reply."""
    remark = "the model or its service refused" if reply.status == "refused" else None
    if remark and reply.finish not in (None, "stop", "refusal"):
        remark += f": {reply.finish}"
    tokens = reply.tokens_in, reply.tokens_out
    return Completion(reply.status, reply.text, attempts, *tokens, reply.usd, remark, cached, reply.reasoning)
