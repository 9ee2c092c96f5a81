"""What a language model says of a subject's state when it is shown what the subject read; it sees no activation."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from candor.chat.messages import ChatRequest, ChatSampling, Client, Completion, Message
from candor.config.verbalisers import ChatVerbaliser
from candor.schemas.status import SCORED
from candor.verbalisers.explanation import Explanation
from candor.verbalisers.templates import Template, filled


class Shown(NamedTuple):
    """What the verbaliser is shown of one text: the prompt's turns, and the response where it is to see that.

    `status` is the response's; one without a text is not asked about.
    """

    prompt: Sequence[Mapping[str, str]]
    response: str | None = None
    status: str = "ok"


class Said(NamedTuple):
    """The words on one text, and the completion that they were taken from; None where nothing was asked."""

    explanation: Explanation
    completion: Completion | None


def verbalise(
    texts: Sequence[Shown],
    config: ChatVerbaliser,
    client: Client,
    template: Template,
    finished: Callable[[int], None] = lambda _: None,
) -> list[Said]:
    """What the client says of each text; `finished` is told how many texts are through.

    A text whose response was to be shown, and is not there, keeps its status; a refusal or an error stays one.
    """
    requests = [_request(text, config, template) for text in texts]
    asked = [request for request in requests if request is not None]
    through = len(texts) - len(asked)
    completions = iter(client.complete(asked, lambda done: finished(through + done)) if asked else [])
    found = []
    for text, request in zip(texts, requests, strict=True):
        if request is None:
            found.append(Said(Explanation("", "empty" if text.status in SCORED else text.status), None))
        else:
            completion = next(completions)
            found.append(Said(_explanation(completion), completion))
    return found


def _request(text: Shown, config: ChatVerbaliser, template: Template) -> ChatRequest | None:
    """What is asked about a text; None where what is to be shown is not there."""
    if not any(turn["content"].strip() for turn in text.prompt):
        return None
    if config.response and (text.status not in SCORED or not (text.response or "").strip()):
        return None
    system, user = filled(template, text.prompt, text.response if config.response else None)
    drawn = bool(config.temperature)
    sampling = ChatSampling(
        temperature=config.temperature,
        top_p=None if config.top_p == 1 else config.top_p,
        max_tokens=config.max_tokens,
        seed=config.seed if drawn else None,
        stop=tuple(config.stop),
    )
    return ChatRequest((Message("system", system), Message("user", user)), sampling)


def _explanation(completion: Completion) -> Explanation:
    if completion.status not in SCORED:
        return Explanation("", completion.status)
    words = completion.text.strip().encode("utf-8", "replace").decode("utf-8")  # no table holds half a character
    return Explanation(words, completion.status if words else "empty")
