"""A small chat service on loopback, for tests without the network: OpenAI's protocol and Anthropic's, with faults.

    with ChatServer(reply=lambda asked: Answer(f"you said {asked.text}")) as server:
        ...  # OpenAI: base_url=f"{server.url}/v1"; Anthropic: base_url=server.url; api_key=server.key
        server.counts  # content of a request -> how often it was asked, and how often answered whole

or in a process of its own, which prints its address (and answers /counts with what `counts` holds):

    python tests/chat_server.py --latency 0.2 --fault 429=0.1 --fault cut-within=0.05

`reply` makes the answer of a request from what it asks: an Answer, or the name of a fault where this request must
always fail. Without one, answers are drawn from the content, and fit the JSON schema where one is asked for. `faults`
gives the share of requests that meet each fault; MIXED is every kind that a client must outlive, 30 % in all. Which
ones is drawn from the seed, a request's content and how often it was seen; but for OUTCOMES, which are replies and
follow from the content alone, so that a job that was killed gets the answers of one that was not. Content is the
request's body.

A batch is done after `batch_polls` looks or lists, or never while `held` is true; `rows` gives the shares of its rows
that end as errored, expired or canceled, `faults_on_batches` the shares of calls about batches that meet a fault: the
service has then done what it was asked if the fault is a lost answer (time-outs, cuts, malformed). `faults_on_making`
holds what the next calls that make a batch meet, the last first; `batches_refused` the codes with which batches of
OpenAI's protocol are refused after they were made.

`on_request` is called with the number of chat requests so far, when one has come in, `on_call` with the method and path
of each call about batches, and `on_batch` with a batch's id, before its maker hears of it: the moments to kill the job.
"""

import argparse
import asyncio
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesParser
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

MIXED = dict.fromkeys(
    (
        *("429", "429-retry-after", "429-retry-after-ms", "500", "529", "timeout", "cut-before", "cut-within"),
        *("malformed", "hollow", "empty", "refusal"),
    ),
    0.025,
)
"""Shares of the faults that a client must outlive."""
OUTCOMES = ("empty", "refusal", "truncated")
"""Faults that are replies."""
LOST = ("timeout", "cut-before", "cut-within", "malformed", "hollow")
"""Faults that lose an answer on its way."""
ERRORS: dict[str, tuple[int, str, str, str]] = {
    "400": (400, "invalid_request_error", "invalid_request", "this request cannot be read"),
    "401": (401, "authentication_error", "invalid_api_key", "Incorrect API key provided: {key}"),
    "402": (402, "billing_error", "billing", "payment is due"),
    "403": (403, "permission_error", "forbidden", "the key {key} may not use this resource"),
    "404": (404, "not_found_error", "model_not_found", "model: no such model"),
    "408": (408, "timeout_error", "timeout", "the request took too long"),
    "409": (409, "conflict_error", "conflict", "try again"),
    "429": (429, "rate_limit_error", "rate_limit_exceeded", "too many requests"),
    "429-retry-after": (429, "rate_limit_error", "rate_limit_exceeded", "too many requests"),
    "429-retry-after-ms": (429, "rate_limit_error", "rate_limit_exceeded", "too many requests"),
    "500": (500, "api_error", "server_error", "something broke"),
    "503": (503, "api_error", "server_error", "out for lunch"),
    "529": (529, "overloaded_error", "overloaded", "Overloaded"),
    "quota": (429, "rate_limit_error", "insufficient_quota", "You exceeded your current quota"),
    "credit": (400, "invalid_request_error", "billing", "Your credit balance is too low to access the API"),
}
"""Status, Anthropic's type, OpenAI's code, and the words of an error."""


class Answer(NamedTuple):
    """A reply: finish is stop, length, refusal or filter; tokens are counted from the text where none are given."""

    text: str
    finish: str = "stop"
    tokens_in: int | None = None
    tokens_out: int | None = None


class Asked(NamedTuple):
    """A chat request: the body that was sent, and how many requests of this content came before it."""

    protocol: str
    body: Mapping[str, Any]
    seen: int

    @property
    def text(self) -> str:
        """The last user message."""
        return next(_plain(turn["content"]) for turn in reversed(self.body["messages"]) if turn["role"] == "user")

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON schema that the reply must fit, from whichever place it was asked for."""
        if self.body.get("tools"):
            tool = self.body["tools"][0]
            found: Mapping[str, Any] = tool.get("input_schema") or tool["function"]["parameters"]
            return found
        asked = (self.body.get("output_config") or {}).get("format") or self.body.get("response_format") or {}
        return asked.get("schema") or (asked.get("json_schema") or {}).get("schema")


class Received(NamedTuple):
    """A chat request as it came in, and the fault that it met, if any."""

    protocol: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    fault: str | None


@dataclass
class Count:
    """How often a request of some content came in, live or in a batch, and was answered whole."""

    asked: int = 0
    answered: int = 0


@dataclass
class Batch:
    """A batch of either protocol, as (custom id, body) pairs; `done` holds each row's end, once it has ended."""

    id: str
    protocol: str
    rows: list[tuple[str, dict[str, Any]]]
    created: float
    polls: int
    facts: dict[str, Any]
    cancelled: bool = False
    failed: str | None = None
    done: dict[str, Any] = field(default_factory=dict)


class _Refused(Exception):
    """A request that meets an error; `words` say more than its kind does."""

    def __init__(self, kind: str, words: str | None = None) -> None:
        self.kind, self.words = kind, words


class ChatServer:
    """The server, in a thread of its own; see the module's docstring.

    A `quota` is the number of replies after which there is none left. `key` None: none is asked for.
    """

    def __init__(
        self,
        reply: "Callable[[Asked], Answer | str] | None" = None,
        *,
        latency: float = 0.0,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        key: str | None = "key-of-the-test-server",
        models: Sequence[str] | None = None,
        quota: int | None = None,
        retry_after: float = 0.02,
        rows: Mapping[str, float] | None = None,
        faults_on_batches: Mapping[str, float] | None = None,
        batch_polls: int = 1,
        on_request: Callable[[int], None] | None = None,
        on_batch: Callable[[str], None] | None = None,
        port: int = 0,
    ) -> None:
        self.reply = reply or scripted
        self.latency, self.seed, self.key, self.models, self.quota = latency, seed, key, models, quota
        self.faults, self.rows, self.faults_on_batches = faults or {}, rows or {}, faults_on_batches or {}
        self.retry_after, self.batch_polls, self.held = retry_after, batch_polls, False
        self.on_request, self.on_batch = on_request, on_batch
        self.received: list[Received] = []
        self.calls: list[str] = []
        self.counts: dict[str, Count] = {}
        self.batches: dict[str, Batch] = {}
        self.batches_refused: list[str] = []
        self.faults_on_making: list[str] = []
        self.on_call: Callable[[str], None] | None = None
        self.files: dict[str, bytes] = {}
        self.at_once = self.most_at_once = 0
        self._called: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._port = port
        self.url = ""

    def __enter__(self) -> "ChatServer":
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        listening = asyncio.start_server(self._connected, "127.0.0.1", self._port, limit=1 << 20, backlog=1024)
        server = self._loop.run_until_complete(listening)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    # requests come in

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # it has hung up, or we are closing
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is to be closed."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        sent = await reader.readexactly(int(headers.get("content-length", 0)))
        method, address = first.split(" ")[:2]
        path = urlsplit(address).path.removeprefix("/v1")
        query = {name: values[-1] for name, values in parse_qs(urlsplit(address).query).items()}
        if path == "/counts":
            counts = {content: [count.asked, count.answered] for content, count in self.counts.items()}
            return await _send(writer, 200, json.dumps(counts).encode())
        protocol = "anthropic" if path.startswith("/messages") else "openai"
        if path in ("/messages", "/chat/completions"):
            return await self._chat(protocol, headers, sent, reader, writer)
        self.calls.append(f"{method} {path}")
        self._called[self.calls[-1]] += 1
        kind = self._drawn(self.faults_on_batches, self.calls[-1], self._called[self.calls[-1]])
        if self.faults_on_making and method == "POST" and path.endswith("/batches"):
            kind = self.faults_on_making.pop()
        if self.on_call is not None:
            self.on_call(self.calls[-1])
        try:
            self._checked_key(protocol, headers)
            if kind in ERRORS:
                raise _Refused(kind)
            body = self._about_batches(protocol, method, path, query, headers, sent)
        except _Refused as refused:
            return await self._refuse(writer, protocol, headers, refused)
        return await self._answer(reader, writer, kind, body)

    async def _chat(
        self,
        protocol: str,
        headers: Mapping[str, str],
        sent: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            try:
                body = json.loads(sent)
            except ValueError:
                return await self._refuse(writer, protocol, headers, _Refused("400", "the body is not JSON"))
            count = self.counts.setdefault(content_of(body), Count())
            count.asked += 1
            fault: str | None = None
            try:
                self._checked_key(protocol, headers)
                self._checked(protocol, body)
                answer, fault = self._decided(Asked(protocol, body, count.asked - 1))
            except _Refused as refused:
                self.received.append(Received(protocol, body, headers, refused.kind))
                return await self._refuse(writer, protocol, headers, refused)
            finally:
                if self.on_request is not None:
                    self.on_request(sum(each.asked for each in self.counts.values()))
            self.received.append(Received(protocol, body, headers, fault))
            await asyncio.sleep(self.latency)
            shaped = json.dumps(SHAPES[protocol](body, answer, content_of([body, count.asked]))).encode()
            kept = await self._answer(reader, writer, fault, shaped)
            count.answered += fault not in LOST
            return kept
        finally:
            self.at_once -= 1

    def _decided(self, asked: Asked) -> tuple[Answer, str | None]:
        """The answer of a request, and the fault that meets it."""
        content = content_of(asked.body)
        answer = self.reply(asked)
        fault = answer if isinstance(answer, str) else self._fault(content, asked.seen)
        if fault in ERRORS:
            raise _Refused(fault)
        if self.quota is not None and sum(count.answered for count in self.counts.values()) >= self.quota:
            raise _Refused("402" if asked.protocol == "anthropic" else "quota")
        said = answer if isinstance(answer, Answer) else scripted(asked)
        if fault == "empty":
            said = said._replace(text="")
        if fault in ("refusal", "truncated"):
            said = said._replace(finish={"refusal": "refusal", "truncated": "length"}[fault])
        return said, fault

    def _fault(self, content: str, seen: int) -> str | None:
        outcome = self._drawn(self.faults, content, "outcome")
        if outcome in OUTCOMES:
            return outcome
        fault = self._drawn(self.faults, content, seen)
        return None if fault in OUTCOMES else fault

    def _drawn(self, shares: Mapping[str, float], *what: object) -> str | None:
        """One of some kinds, or none, by their shares: the same for the same things."""
        number = int(content_of([self.seed, *what])[:12], 16) / 16**12
        for kind, share in shares.items():
            number -= share
            if number < 0:
                return kind
        return None

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: str | None, body: bytes
    ) -> bool:
        """Send a body, in the way that a fault spoils it; False when the connection is to be closed."""
        if fault == "timeout":
            await reader.read(1)  # until the client gives up
            return False
        if fault == "cut-before":
            writer.transport.abort()
            return False
        if fault == "malformed":
            body = body[: len(body) // 2]
        if fault == "hollow":
            body = b'{"object": "error", "message": "upstream"}'
        return await _send(writer, 200, body, cut=fault == "cut-within")

    async def _refuse(
        self, writer: asyncio.StreamWriter, protocol: str, headers: Mapping[str, str], refused: _Refused
    ) -> bool:
        status, kind, code, words = ERRORS[refused.kind]
        words = (refused.words or words).format(key=_key_of(headers))
        error = {"type": kind, "message": words}
        body: dict[str, Any] = {"type": "error", "error": error, "request_id": "req_0"}
        if protocol == "openai":
            body = {"error": {**error, "param": None, "code": code}}
        wait = {"429-retry-after": {"retry-after": str(self.retry_after)}}
        wait["429-retry-after-ms"] = {"retry-after-ms": str(1000 * self.retry_after)}
        return await _send(writer, status, json.dumps(body).encode(), wait.get(refused.kind, {}))

    def _checked_key(self, protocol: str, headers: Mapping[str, str]) -> None:
        if protocol == "anthropic" and "anthropic-version" not in headers:
            raise _Refused("400", "anthropic-version: header is required")
        if self.key is not None and _key_of(headers) != self.key:
            raise _Refused("401")

    def _checked(self, protocol: str, body: Mapping[str, Any]) -> None:
        """What the real services refuse."""
        if self.models is not None and body.get("model") not in self.models:
            raise _Refused("404")
        messages = body.get("messages")
        if not messages or not all(isinstance(turn.get("content"), (str, list)) for turn in messages):
            raise _Refused("400", "messages: at least one message is required, with content")
        if protocol == "openai":
            return
        if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
            raise _Refused("400", "max_tokens: Field required")
        if unknown := sorted(set(body) - ANTHROPIC_FIELDS):
            raise _Refused("400", f"{unknown[0]}: Extra inputs are not permitted")
        if {turn["role"] for turn in messages} - {"user", "assistant"}:
            raise _Refused("400", "messages: Unexpected role")
        if messages[-1]["role"] == "assistant":
            if (body.get("output_config") or {}).get("format"):
                raise _Refused("400", "Prefilling assistant messages is not compatible with output_config.format")
            if _plain(messages[-1]["content"]) != _plain(messages[-1]["content"]).rstrip():
                raise _Refused("400", "messages: final assistant content cannot end with trailing whitespace")

    # batches

    def _about_batches(
        self,
        protocol: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        sent: bytes,
    ) -> bytes:
        found: Any
        parts = path.strip("/").removeprefix("messages/").split("/")
        match method, *parts:
            case "POST", "files":
                found = self._file(_form(headers, sent))
            case "GET", "files", id, "content" if id in self.files:
                return self.files[id]
            case "POST", "batches":
                found = self._create(protocol, json.loads(sent))
            case "GET", "batches":
                found = self._listed(protocol, query)
            case "GET", "batches", id if id in self.batches:
                self._polled(self.batches[id])
                found = self._shaped(self.batches[id])
            case "POST", "batches", id, "cancel" if id in self.batches:
                self.batches[id].cancelled = True
                found = self._shaped(self.batches[id])
            case "GET", "batches", id, "results" if id in self.batches and self.batches[id].done:
                return _lines(self.batches[id].done.values())
            case _:
                raise _Refused("404", f"no {method} {path} here")
        return json.dumps(found).encode()

    def _file(self, form: Mapping[str, bytes]) -> dict[str, Any]:
        if form.get("purpose") != b"batch":
            raise _Refused("400", "purpose: must be batch")
        id = f"file-{len(self.files)}"
        self.files[id] = form["file"]
        return {
            "id": id,
            "object": "file",
            "bytes": len(form["file"]),
            "created_at": int(time.time()),
            "filename": "batch.jsonl",
            "purpose": "batch",
            "status": "processed",
        }

    def _create(self, protocol: str, body: Mapping[str, Any]) -> dict[str, Any]:
        failed = None
        if protocol == "anthropic":
            rows = [(row["custom_id"], row["params"]) for row in body["requests"]]
            for _, params in rows:
                self._checked(protocol, params)
        else:
            lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines() if line.strip()]
            rows = [(row["custom_id"], row["body"]) for row in lines]
            if self.batches_refused:
                failed = self.batches_refused.pop()
            elif any(row["url"] != body["endpoint"] or row["method"] != "POST" for row in lines):
                failed = "invalid_url"
            elif len({row["model"] for _, row in rows}) > 1:
                failed = "mismatched_model"
        if not rows or len({id for id, _ in rows}) < len(rows) or any(not 0 < len(id) <= 64 for id, _ in rows):
            if protocol == "anthropic":
                raise _Refused("400", "requests: custom ids must be given, unique and of at most 64 characters")
            failed = "duplicate_custom_id" if rows else "empty_file"
        id = f"{'msgbatch' if protocol == 'anthropic' else 'batch'}_{len(self.batches):04}"
        facts = {name: body.get(name) for name in ("endpoint", "input_file_id", "completion_window", "metadata")}
        batch = Batch(id, protocol, rows, time.time(), self.batch_polls, facts, failed=failed)
        self.batches[id] = batch
        for _, row in rows if failed is None else []:
            self.counts.setdefault(content_of(row), Count()).asked += 1
        if self.on_batch is not None:
            self.on_batch(id)
        return self._shaped(batch)

    def _listed(self, protocol: str, query: Mapping[str, str]) -> dict[str, Any]:
        """A page, newest first."""
        found = [batch for batch in reversed(self.batches.values()) if batch.protocol == protocol]
        for batch in found:
            self._polled(batch)
        after = query.get("after_id") or query.get("after")
        start = next((i + 1 for i, batch in enumerate(found) if batch.id == after), 0)
        stop = start + int(query.get("limit", 20))
        page = found[start:stop]
        return {
            "object": "list",
            "data": [self._shaped(batch) for batch in page],
            "has_more": stop < len(found),
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }

    def _polled(self, batch: Batch) -> None:
        """A batch comes closer to its end; at its end, every row has one."""
        if batch.done or batch.failed or (self.held and not batch.cancelled):
            return
        if batch.polls > 0 and not batch.cancelled:
            batch.polls -= 1
            return
        for id, body in sorted(batch.rows, key=lambda row: content_of(row[0])):  # not in the order of the requests
            count = self.counts[content_of(body)]
            end = "canceled" if batch.cancelled else self._drawn(self.rows, content_of(body), count.asked)
            batch.done[id] = self._row(batch.protocol, id, body, count, end)
        if batch.protocol == "openai":
            good = [row for row in batch.done.values() if row["response"] and row["response"]["status_code"] == 200]
            bad = [row for row in batch.done.values() if row not in good]
            for name, rows in (("output_file_id", good), ("error_file_id", bad)):
                batch.facts[name] = f"file-{len(self.files)}" if rows else None
                self.files[f"file-{len(self.files)}"] = _lines(rows)

    def _row(self, protocol: str, id: str, body: dict[str, Any], count: Count, end: str | None) -> dict[str, Any]:
        """What became of one row of a batch."""
        kind = "500"
        try:
            answer, _ = self._decided(Asked(protocol, body, count.asked - 1))
        except _Refused as refused:
            end, kind = end or "errored", refused.kind
        status, name, code, words = ERRORS[kind]
        if protocol == "anthropic":
            result: dict[str, Any] = {"type": end or "succeeded"}
            if end == "errored":
                error = {"type": name, "message": words}
                result["error"] = {"type": "error", "error": error, "request_id": None}
            if end is None:
                result["message"] = SHAPES[protocol](body, answer, content_of([id, count.asked]))
            count.answered += end is None
            return {"custom_id": id, "result": result}
        row: dict[str, Any] = {"id": f"batch_req_{id[:12]}", "custom_id": id, "response": None, "error": None}
        if end in ("expired", "canceled"):
            ending = {"expired": "batch_expired", "canceled": "batch_cancelled"}[end]
            row["error"] = {"code": ending, "message": "This request could not be executed."}
        elif end == "errored":
            wrong = {"error": {"type": name, "message": words, "param": None, "code": code}}
            row["response"] = {"status_code": status, "request_id": "req_0", "body": wrong}
        else:
            shaped = SHAPES[protocol](body, answer, content_of([id, count.asked]))
            row["response"] = {"status_code": 200, "request_id": "req_0", "body": shaped}
            count.answered += 1
        return row

    def _shaped(self, batch: Batch) -> dict[str, Any]:
        ended = bool(batch.done)
        if batch.protocol == "anthropic":
            ends = Counter(row["result"]["type"] for row in batch.done.values())
            kinds = ("canceled", "errored", "expired", "succeeded")
            moving = "canceling" if batch.cancelled else "in_progress"
            return {
                "id": batch.id,
                "type": "message_batch",
                "processing_status": "ended" if ended else moving,
                "request_counts": {**{k: ends[k] for k in kinds}, "processing": 0 if ended else len(batch.rows)},
                "created_at": _moment(batch.created),
                "expires_at": _moment(batch.created + 86400),
                "ended_at": _moment(time.time()) if ended else None,
                "archived_at": None,
                "cancel_initiated_at": _moment(batch.created) if batch.cancelled else None,
                "results_url": f"{self.url}/v1/messages/batches/{batch.id}/results" if ended else None,
            }
        codes = [row["error"]["code"] for row in batch.done.values() if row["error"]]
        good = sum(row["response"] is not None and row["response"]["status_code"] == 200 for row in batch.done.values())
        status = "validating" if batch.polls == self.batch_polls else "in_progress"
        if ended:
            status = "expired" if "batch_expired" in codes else "completed"
        if batch.cancelled:
            status = "cancelled" if ended else "cancelling"
        errors = [{"code": batch.failed, "message": f"the file is refused: {batch.failed}", "line": 1, "param": None}]
        return {
            "id": batch.id,
            "object": "batch",
            **batch.facts,
            "status": "failed" if batch.failed else status,
            "errors": {"object": "list", "data": errors} if batch.failed else None,
            "created_at": int(batch.created),
            "expires_at": int(batch.created) + 86400,
            "request_counts": {
                "total": len(batch.rows),
                "completed": good,
                "failed": len(batch.done) - good,
            },
        }


def content_of(value: Any) -> str:
    """What names a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def scripted(asked: Asked) -> Answer:
    """An answer drawn from a request's content: it fits the schema where one is asked for."""
    content = content_of(asked.body)
    return Answer(json.dumps(_fitting(asked.schema, content)) if asked.schema else f"reply {content[:12]}")


def _fitting(schema: Mapping[str, Any], content: str) -> Any:
    """A value that fits a schema of objects, arrays, choices, numbers and texts."""
    draw = int(content[:8], 16)
    if "enum" in schema:
        return schema["enum"][draw % len(schema["enum"])]
    kind = schema.get("type", "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            fields = schema.get("properties", {}).items()
            return {name: _fitting(of, content_of([content, name])) for name, of in fields}
        case "array":
            return [_fitting(schema["items"], content)]
        case "integer" | "number":
            low = schema.get("minimum", 0)
            return low + draw % (schema.get("maximum", low + 9) - low + 1)
        case "boolean":
            return draw % 2 == 0
    return f"text {content[:12]}"


ANTHROPIC_FIELDS = {
    *("model", "messages", "system", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "stream"),
    *("metadata", "tools", "tool_choice", "thinking", "output_config", "service_tier", "container", "cache_control"),
}


def _message(body: Mapping[str, Any], answer: Answer, id: str) -> dict[str, Any]:
    """A reply of Anthropic's Messages API."""
    stop = {"stop": "end_turn", "length": "max_tokens"}.get(answer.finish, "refusal")
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text, "citations": None}]
    if stop == "refusal" or not answer.text:
        content = []
    elif body.get("tools") and stop == "end_turn":
        stop, name = "tool_use", body["tools"][0]["name"]
        content = [{"type": "tool_use", "id": f"toolu_{id[:12]}", "name": name, "input": json.loads(answer.text)}]
    tokens_in, tokens_out = _usage(body, answer)
    return {
        "id": f"msg_{id[:24]}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens_in,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": tokens_out,
            "service_tier": "standard",
        },
    }


def _completion(body: Mapping[str, Any], answer: Answer, id: str) -> dict[str, Any]:
    """A reply of OpenAI's chat completions API."""
    refused = answer.finish == "refusal"
    message = {
        "role": "assistant",
        "content": None if refused else answer.text,
        "refusal": "I cannot help with that." if refused else None,
    }
    finish = {"length": "length", "filter": "content_filter"}.get(answer.finish, "stop")
    tokens_in, tokens_out = _usage(body, answer)
    return {
        "id": f"chatcmpl-{id[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": finish,
            }
        ],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        },
        "system_fingerprint": None,
    }


SHAPES = {"anthropic": _message, "openai": _completion}


def _usage(body: Mapping[str, Any], answer: Answer) -> tuple[int, int]:
    """Tokens in and out; every four letters are one where the answer does not say."""
    words = _plain(body.get("system") or "") + "".join(_plain(turn["content"]) for turn in body["messages"])
    tokens_in = len(words) // 4 + 1 if answer.tokens_in is None else answer.tokens_in
    return tokens_in, len(answer.text) // 4 + 1 if answer.tokens_out is None else answer.tokens_out


def _plain(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def _key_of(headers: Mapping[str, str]) -> str:
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")


def _form(headers: Mapping[str, str], sent: bytes) -> dict[str, bytes]:
    """The parts of a form by name."""
    parsed = BytesParser().parsebytes(f"content-type: {headers['content-type']}\r\n\r\n".encode() + sent)
    parts: Any = parsed.get_payload()
    return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}


def _lines(rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


async def _send(
    writer: asyncio.StreamWriter, status: int, body: bytes, more: Mapping[str, str] | None = None, cut: bool = False
) -> bool:
    """Send an answer, or the first half of one; False when the connection is to be closed."""
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(more or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    sent = body[: len(body) // 2] if cut else body
    writer.write(f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + sent)
    await writer.drain()
    return not cut


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", default=None, help="the key that is asked for; none without")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=SHARE")
    parser.add_argument("--mixed", action="store_true", help="30 %% of faults, of all kinds")
    args = parser.parse_args()
    faults = dict(MIXED) if args.mixed else {}
    faults |= {kind: float(share) for kind, _, share in (each.partition("=") for each in args.fault)}
    server = ChatServer(latency=args.latency, faults=faults, seed=args.seed, key=args.key, port=args.port)
    with server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
