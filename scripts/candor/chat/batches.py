"""Requests to a remote model by the provider's batch endpoint: cheaper, and done within a day.

A job that is killed finds its batches again by their files (see Intents) and pays for none twice: one whose id is known
is waited for; one that was being made when the job was killed is looked for at the service, and made anew only when it
is not there. Replies go into the cache that live requests use; rows that errored or expired are asked again in a next
batch, up to `retries` times. Batches that belong to other jobs are waited for where they hold what this one asks.
"""

import asyncio
import importlib
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from candor.chat.asking import LONGEST_REMARK, Asked, asked_once, completion_of, in_order
from candor.chat.batch_providers.endpoint import CANCELLED, Ends, Standing, perhaps_made
from candor.chat.failures import ChatStop, Failure
from candor.chat.intents import Intent, Intents
from candor.chat.keys import key_of, scrub
from candor.chat.ledger import Ledger
from candor.chat.messages import ChatRequest, Completion, nothing
from candor.chat.pricing import usd, worst_case
from candor.chat.replies import Replies, Reply
from candor.config.clients import RemoteClient

FIRST_POLL, LONGEST_POLL = 1.0, 60.0
"""Seconds between looks at a batch, growing from the first to the longest."""
GRACE = 60.0
"""Seconds after which a batch that the service does not list was never made."""
SKEW = 3600.0
"""Seconds by which the service's clock may be behind this one."""


@dataclass
class BatchClient:
    """A client of a remote model, in batch mode. `name` is what its errors call it; `folder` holds what is under way.

    `budget` is charged with the most that a batch can cost before it is made, and gets the rest back when it has ended;
    where not all rows fit, batches follow each other.
    """

    config: RemoteClient
    replies: Replies
    folder: Path
    name: str
    budget: Ledger | None = None
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.time

    def complete(self, requests: Sequence[ChatRequest], finished: Callable[[int], None] = nothing) -> list[Completion]:
        """One completion per request, in the order of the requests; `finished` hears how many are done so far.

        A request that has come to nothing has the status error and is not kept: the next run asks again. Raises
        ChatStop where no request can succeed, and MissingKey where one is to be sent and there is no key.
        """
        rows = asked_once(self.config, requests)
        call = _Call(self, {asked.identity: len(where) for asked, where in rows}, finished)
        call.todo = {asked.identity: asked for asked, _ in rows}
        call.take_cached([asked for asked, _ in rows])
        if call.todo:
            key = key_of(self.config)
            asyncio.run(call.run(key))
        return in_order(rows, call.completions)


class _Call:
    """One call of `complete`: what is still to be answered, and what went wrong how often."""

    def __init__(self, client: BatchClient, rows: dict[str, int], finished: Callable[[int], None]) -> None:
        self.client, self.rows, self.finished = client, rows, finished
        self.todo: dict[str, Asked] = {}
        self.completions: dict[str, Completion] = {}
        self.rows_done = 0
        self.intents = Intents(client.folder, client.config.provider, client.config.service)
        self.rounds: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self.others: set[str] = set()
        self.said: set[str] = set()

    def done(self, asked: Asked, completion: Completion) -> None:
        del self.todo[asked.identity]
        self.completions[asked.identity] = completion
        self.rows_done += self.rows[asked.identity]
        self.finished(self.rows_done)

    def take_cached(self, rows: Sequence[Asked]) -> None:
        """Take what of some rows is in the cache."""
        for asked in rows:
            reply = self.client.replies.find(asked.identity)
            if reply is not None:
                self.done(asked, completion_of(reply, self.client.replies.attempts(asked.identity), cached=True))

    async def run(self, key: str | None) -> None:
        """Make batches and wait for them until nothing is to be answered any more."""
        config = self.client.config
        self.keys = [key] if key else []
        self.provider = importlib.import_module(f"candor.chat.providers.{config.provider}")
        self.endpoint = importlib.import_module(f"candor.chat.batch_providers.{config.provider}")
        async with self.provider.open_sdk(config, key) as self.sdk:
            poll = FIRST_POLL
            with self.intents.alone():
                self._sweep()
            while self.todo:
                left, self.least_wait = len(self.todo), 0.0
                with self.intents.alone():
                    for intent in await self._under_way():
                        await self._look(intent)
                poll = FIRST_POLL if len(self.todo) < left else min(poll * 1.5, LONGEST_POLL)
                if self.todo:
                    await self.client.wait(max(poll, self.least_wait))

    # what is under way

    def _sweep(self) -> None:
        """Take rows out of files whose replies were kept by a job that was killed before it could do this."""
        for intent in self.intents.all():
            kept = {identity: self.client.replies.find(identity) for identity in intent.rows}
            paid = {identity: reply.usd for identity, reply in kept.items() if reply is not None and reply.batch}
            if intent.id is not None and paid:
                self._fetched(intent, paid)

    async def _under_way(self) -> list[Intent]:
        """The batches that hold what is to be answered: those that are there, and new ones for the rest."""
        found = []
        for intent in self.intents.all():
            if self.todo.keys() & intent.rows.keys():
                traced = intent if intent.id is not None else await self._traced(intent)
                found += [] if traced is None else [traced]
        claimed = {identity for intent in found for identity in intent.rows}
        self.take_cached(
            [asked for identity, asked in self.todo.items() if identity not in claimed]
        )  # others fetched it
        rest = [asked for identity, asked in self.todo.items() if identity not in claimed]
        for rows in self._portions(self._affordable(rest, bool(found))):
            made = await self._made(rows)
            if made is None:
                break
            found.append(made)
        return [intent for intent in found if intent.id is not None]

    async def _traced(self, intent: Intent) -> Intent | None:
        """A batch of which only the intent is known: with its id, or as it is while nothing is sure, or None."""
        client = self.client
        standings = await self.endpoint.recent(self.sdk, intent.made - SKEW)
        if isinstance(standings, Failure):
            self._trouble("list", standings)
            return intent
        self.troubles["list"] = 0
        known = {each.id for each in self.intents.all()} | self.others
        unsure = client.clock() < intent.made + GRACE
        for standing in standings:
            if standing.mark == intent.mark:
                return self.intents.named(intent, standing.id)
            if self.endpoint.MARKED or standing.size != intent.size or standing.id in known:
                continue
            if not standing.ended:  # it may be the one, and tells nobody before its end
                self._say(
                    f"batch {standing.id} may be the one that a job was making when it was killed; waiting for it"
                )
                unsure = True
                continue
            ends = await self.endpoint.results(self.sdk, standing)
            if isinstance(ends, Failure):
                unsure = True
                self._trouble("list", ends)
            elif ends.keys() & intent.rows.keys():
                return self.intents.named(intent, standing.id)
            else:
                self.others.add(standing.id)
        if unsure:
            return intent
        self._fetched(intent, dict.fromkeys(intent.rows, 0.0))
        return None

    def _say(self, words: str) -> None:
        """Tell the log, once."""
        if words not in self.said:
            self.said.add(words)
            print(f"{self.client.name}: {words}", file=sys.stderr)

    # new batches

    def _portions(self, rest: Sequence[Asked]) -> Iterator[list[tuple[Asked, dict[str, Any]]]]:
        """Requests with their bodies, in as many as a batch may hold."""
        portion: list[tuple[Asked, dict[str, Any]]] = []
        size = 0
        for asked in rest:
            body = self.provider.body_of(self.client.config, asked.request)
            length = len(json.dumps(body)) + 256
            if portion and (len(portion) == self.endpoint.MOST_ROWS or size + length > self.endpoint.MOST_BYTES):
                yield portion
                portion, size = [], 0
            portion.append((asked, body))
            size += length
        if portion:
            yield portion

    def _affordable(self, rest: Sequence[Asked], waiting: bool) -> Sequence[Asked]:
        """The first rows for whose worst cases the budget has room; none is fine while `waiting` for others' ends."""
        budget = self.client.budget
        if budget is None or not rest:
            return rest
        spent = budget.spent()
        room, fit = budget.budget_usd - spent, 0
        for asked in rest:
            room -= self._worst(asked)
            if room < 0:
                break
            fit += 1
        if not fit and not waiting:
            raise ChatStop(
                f"client {self.client.name} stops: the budget of {budget.budget_usd:g} US dollars has {spent:g} spent "
                f"or set aside, and the next request may cost {self._worst(rest[0]):g}; raise budget_usd, then run "
                "again. The replies so far are kept and will not be paid again."
            )
        return rest[:fit]

    def _worst(self, asked: Asked) -> float:
        return worst_case(asked.request, self.client.config.price, batch=True)

    async def _made(self, rows: Sequence[tuple[Asked, dict[str, Any]]]) -> Intent | None:
        """A new batch; without an id where it is not known whether it was made, None where it was not."""
        client, budget = self.client, self.client.budget
        worst = {asked.identity: self._worst(asked) for asked, _ in rows}
        if budget is not None and not budget.reserve(sum(worst.values())):
            self._trouble("reserve", Failure("the budget has no room for a batch", heals=True))  # a job was faster
            return None
        ledger = str(budget.path.absolute()) if budget is not None else None
        intent = self.intents.write(Intent(uuid.uuid4().hex, client.clock(), len(rows), worst, ledger))
        for asked, _ in rows:
            client.replies.sending(asked.identity)
        standing = await self.endpoint.create(self.sdk, intent.mark, [(asked.identity, body) for asked, body in rows])
        if isinstance(standing, Standing):
            return self.intents.named(intent, standing.id)
        if not perhaps_made(standing):
            self._fetched(intent, dict.fromkeys(worst, 0.0))
        self._trouble("make", standing)
        return None

    # their ends

    async def _look(self, intent: Intent) -> None:
        """See how a batch stands, and fetch the replies of one that has ended."""
        standing = await self.endpoint.look(self.sdk, intent.id)
        if isinstance(standing, Failure):
            if standing.remark.startswith("HTTP 404"):
                path = self.intents.path(intent)
                advice = f"use the key that its batch {intent.id} was made with, or delete {path} to pay anew"
                standing = standing._replace(stop=advice)
            self._trouble("look", standing)
            return
        self.troubles["look"] = 0
        if standing.refused is not None:
            self._fetched(intent, dict.fromkeys(intent.rows, 0.0))
            self._trouble("make", standing.refused)
        elif standing.ended:
            ends = await self.endpoint.results(self.sdk, standing)
            if isinstance(ends, Failure):
                self._trouble("fetch", ends)
                return
            self.troubles["make"] = self.troubles["fetch"] = 0
            self._collect(intent, standing, ends)

    def _collect(self, intent: Intent, standing: Standing, ends: Ends) -> None:
        """Keep the replies of a batch to what this job asks; the rest stays for those who ask it."""
        missing = CANCELLED if standing.cancelled else Failure("the batch's results do not tell of it", heals=True)
        costs: dict[str, float] = {}
        failures: list[tuple[Asked, Failure]] = []
        for identity, worst in intent.rows.items():
            asked = self.todo.get(identity)
            if asked is None:
                continue
            end = ends.get(identity, missing)
            outcome = end if isinstance(end, Failure) else self.provider.reply_of(end, asked.request)
            if isinstance(outcome, Reply):
                reply = self._priced(outcome, worst)
                self.client.replies.keep(identity, asked.canonical, reply, self.keys)
                costs[identity] = reply.usd
                self.done(asked, completion_of(reply, self.client.replies.attempts(identity), cached=False))
            else:
                costs[identity] = worst if outcome.billed else 0.0
                failures.append((asked, outcome))
        self._fetched(intent, costs)
        for asked, failure in failures:
            self.rounds[asked.identity] += 1
            if failure.stop is not None:
                raise self._stop(failure.remark, failure.stop)
            if not failure.heals or self.rounds[asked.identity] > self.client.config.retries:
                remark = scrub(failure.remark, self.keys)[:LONGEST_REMARK]
                attempts = self.client.replies.attempts(asked.identity)
                self.done(asked, Completion("error", "", attempts, 0, 0, 0.0, remark, False))

    def _priced(self, reply: Reply, worst: float) -> Reply:
        """A reply without keys, and with what it cost: the worst case where the service has not counted its tokens."""
        price = self.client.config.price
        cost = usd(reply.tokens_in, reply.tokens_out, price, batch=True) if reply.counted else worst
        return reply._replace(text=scrub(reply.text, self.keys), batch=True, usd=cost)

    def _fetched(self, intent: Intent, costs: dict[str, float]) -> None:
        """Take rows out of a batch's file, and put what they cost in the place of what was set aside for them.

        In this order: a job that is killed in between leaves the budget with too much spent, never too little.
        """
        self.intents.without(intent, costs)
        if intent.ledger is not None:
            worst = sum(intent.rows[identity] for identity in costs)
            Ledger(Path(intent.ledger), 0.0).settle(worst, sum(costs.values()))

    def _trouble(self, what: str, failure: Failure) -> None:
        """A call about batches has failed: raises ChatStop where that cannot heal, or has been so too often."""
        self.least_wait = max(self.least_wait, failure.after or 0.0)
        self.troubles[what] += 1
        if failure.stop is not None or not failure.heals:
            raise self._stop(failure.remark, failure.stop or "change the judge or its client, then run again")
        if self.troubles[what] > self.client.config.retries:
            raise self._stop(failure.remark, "run again later; batches that are under way go on, and are found again")

    def _stop(self, remark: str, advice: str) -> ChatStop:
        remark = scrub(remark, self.keys)[:LONGEST_REMARK]
        return ChatStop(
            f"client {self.client.name} stops: {remark}. What to do: {advice}. The replies so far are kept and will "
            "not be paid again."
        )
