"""What a language model says of a text, through a chat client; its replies are held to a contract.

The client of a job is opened by candor.judges.clients.remote or .local, which are imported by name: neither's code
bears on the verdicts of the other.
"""

import importlib
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from candor.chat.messages import ChatRequest, ChatSampling, Client, Completion, Message
from candor.config.judges import Chat
from candor.errors import CandorError
from candor.judges.contracts import OutsideContract, read, schema_of
from candor.judges.parts import Turns, lacking, part_of, status_of
from candor.judges.preparing import Judging, Prepared
from candor.judges.templates import Template, filled, read_template
from candor.judges.texts import Judged, Verdict

PACKAGES = ()
ANSWERED = ("ok", "truncated")
"""Statuses of completions that have a reply."""


def judge(
    texts: Sequence[Judged],
    config: Chat,
    client: Client,
    template: Template,
    finished: Callable[[int], None] = lambda _: None,
) -> list[Verdict]:
    """What the client says of each text; `finished` is told how many texts are through.

    A text without a part that the template shows is not asked about, and keeps its own status. A reply outside the
    contract is `invalid`, and the rationale says why; a refusal or an error of the client stays one. `raw` is the reply
    as it came, without the prefill.
    """
    requests = requests_of(texts, config, template)
    asked = [request for request in requests if request is not None]
    through = len(texts) - len(asked)
    completions = iter(client.complete(asked, lambda done: finished(through + done)) if asked else [])
    return [
        _absent(text, config, template) if request is None else _verdict(text, config, next(completions))
        for text, request in zip(texts, requests, strict=True)
    ]


def requests_of(texts: Sequence[Judged], config: Chat, template: Template) -> list[ChatRequest | None]:
    """What is asked about each text; None for one without a part that the template shows."""
    sampling = ChatSampling(config.temperature, config.top_p, config.max_tokens, config.seed, tuple(config.stop))
    schema = schema_of(config)
    begun = [Message("assistant", config.prefill)] if config.prefill else []
    requests: list[ChatRequest | None] = []
    for text in texts:
        parts = {name: part_of(text, name) for name in template.parts()}
        shown: dict[str, str | Turns] = {name: part for name, part in parts.items() if part is not None}
        if len(shown) < len(parts):
            requests.append(None)
            continue
        system, user = filled(template, shown, config)
        turns = (Message("system", system), Message("user", user), *begun)
        requests.append(ChatRequest(turns, sampling, schema=schema))
    return requests


def prepare(args: Namespace, config: Chat) -> Prepared:
    """The judge of a job: its template, and the client that the spec and the flag --pace tell of."""
    path = Path(args.template or config.template)
    template = read_template(path, config)

    def judging(client: Client) -> Judging:
        return lambda texts, finished: judge(texts, config, client, template, finished)

    entry = {**args.spec.get("clients", {}), **args.pace}
    if "provider" not in entry:
        raise CandorError(
            f"judge {args.judge!r} asks the client {config.client!r}, of which the spec says nothing; give its entry "
            'as "clients" in --spec.'
        )
    module = "local" if entry["provider"] == "local" else "remote"
    opening = importlib.import_module(f"candor.judges.clients.{module}")
    prepared: Prepared = opening.prepare(args, config.client, entry, judging)
    return prepared._replace(inputs=[path, *prepared.inputs])


def _absent(text: Judged, config: Chat, template: Template) -> Verdict:
    """The part that is judged tells why a text is not asked about, if it is the one that is not there."""
    parts = [config.reads, *template.parts()]
    part = next(name for name in parts if part_of(text, name) is None)
    return lacking(text, part)._replace(attempts=0)


def _verdict(text: Judged, config: Chat, completion: Completion) -> Verdict:
    found = _said(text, config, completion)
    return found._replace(
        raw=_writable(completion.text) or None,
        attempts=completion.attempts,
        tokens_in=completion.tokens_in,
        tokens_out=completion.tokens_out,
        usd=completion.usd,
    )


def _said(text: Judged, config: Chat, completion: Completion) -> Verdict:
    if completion.status not in ANSWERED:
        return Verdict(completion.status, rationale=completion.remark)
    try:
        said = read(completion.text, config)
    except OutsideContract as error:
        cut = f"cut off after {config.max_tokens} tokens: " if completion.status == "truncated" else ""
        return Verdict("invalid", rationale=f"{cut}{error}")
    status = status_of(text, config.reads)
    return Verdict(status, said.verdict, said.score, said.rationale, confidence=said.confidence)


def _writable(text: str) -> str:
    """A reply as a table can hold it: halves of characters, which no file can, are marked."""
    return text.encode("utf-8", "replace").decode("utf-8")
