"""A client that sends nothing: it tells what a run would ask for, and what that would cost."""

from collections.abc import Callable, Sequence
from pathlib import Path

from candor.cache import cache_folder
from candor.chat.asking import asked_once, completion_of
from candor.chat.messages import ChatRequest, Completion, nothing
from candor.chat.pricing import estimated_input, usd
from candor.chat.replies import Replies
from candor.config.clients import RemoteClient


class Rehearsal:
    """Completes what the cache holds, and counts the rest.

    `requests` are distinct ones, of which `missing` are not in the cache. Of those, `tokens_in` is an estimate from
    their text, `tokens_out` the most that the replies can have, and `usd` what both cost at the client's price.
    """

    def __init__(self, config: RemoteClient, cache: Path | None = None) -> None:
        self._config, self._replies = config, Replies((cache or cache_folder()) / "replies")
        self._seen: set[str] = set()
        self.requests = self.missing = self.tokens_in = self.tokens_out = 0
        self.usd = 0.0

    def complete(self, requests: Sequence[ChatRequest], finished: Callable[[int], None] = nothing) -> list[Completion]:
        """Replies that the cache has; in the place of others, a text of about the greatest length."""
        completions: dict[int, Completion] = {}
        for asked, places in asked_once(self._config, requests):
            reply = self._replies.find(asked.identity)
            if asked.identity not in self._seen:
                self._seen.add(asked.identity)
                self.requests += 1
                if reply is None:
                    self._count(asked.request)
            found = _blank(asked.request) if reply is None else completion_of(reply, 0, cached=True)
            completions |= dict.fromkeys(places, found)
        return [completions[i] for i in range(len(requests))]

    def _count(self, request: ChatRequest) -> None:
        tokens_in, tokens_out = estimated_input(request), request.sampling.max_tokens
        self.missing += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.usd += usd(tokens_in, tokens_out, self._config.price, batch=self._config.mode == "batch")


def longest(tokens: int) -> str:
    """A text of about so many tokens, which stands for one that nobody has written yet."""
    return "word" * tokens


def _blank(request: ChatRequest) -> Completion:
    return Completion("ok", longest(request.sampling.max_tokens), 0, 0, 0, 0.0, None, cached=False)
