"""The workflow's own subjects as a chat client: a model, an adapter or an ablation, through the generation engine.

A JSON schema is not enforced here; the model reads what the prompt says of it, and the reply contract parses strictly.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from candor import provenance
from candor.chat.messages import ChatRequest, ChatSampling, Completion, Status, identity, nothing
from candor.chat_text import open_turn, token_ids
from candor.config.samplings import Sampling
from candor.generations.engine import Engine, Request
from candor.generations.loading import Loaded
from candor.partial import Journal, journalled, workplace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class _Asked(NamedTuple):
    """A request as the engine gets it; `begun` is what of the reply the chat template has written already."""

    request: Request
    begun: str


class LocalClient:
    """Completes requests with an engine; in float32, a reply depends on nothing but its own request.

    The engine gets requests of one sampling in calls of a fixed number. With a journal, each call's replies are put
    into it, and taken from it where it has them. `tracked` is what of the client bears on its replies.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: "PreTrainedTokenizerBase",
        tracked: Mapping[str, Any],
        journal: Journal | None = None,
    ) -> None:
        self._engine, self._tokenizer, self._tracked = engine, tokenizer, tracked
        self._known: dict[str, list[Completion]] = {}
        self._add = None if journal is None else journal.add
        for call, completions in [] if journal is None else journal.done:
            self._known[call] = [Completion(*fields) for fields in completions]

    def complete(self, requests: Sequence[ChatRequest], finished: Callable[[int], None] = nothing) -> list[Completion]:
        """The completions of requests, in their order; the same request is asked once, since it draws the same tokens.

        `finished` is told how many are through. A prompt that does not fit into the model's context is an error, and
        so is a reply whose logits are not finite.
        """
        names = [identity(request, self._tracked) for request in requests]
        times = Counter(names)
        found: dict[str, Completion] = {}
        waiting: dict[ChatSampling, list[_Asked]] = defaultdict(list)
        for name, request in dict(zip(names, requests, strict=True)).items():
            asked = self._asked(name, request)
            if isinstance(asked, Completion):
                found[name] = asked
            else:
                waiting[request.sampling].append(asked)
        through = sum(times[name] for name in found)
        if through:
            finished(through)
        for sampling, all_asked in waiting.items():
            for at in range(0, len(all_asked), self._engine.at_once):
                for name, completion in self._call(all_asked[at : at + self._engine.at_once], sampling):
                    found[name] = completion
                    through += times[name]
                    finished(through)
        return [found[name] for name in names]

    def _asked(self, name: str, request: ChatRequest) -> _Asked | Completion:
        """A request for the engine, or why it cannot be one."""
        opened = open_turn([message._asdict() for message in request.messages], self._tokenizer)
        prompt, context = token_ids(opened.text, self._tokenizer), self._engine.context
        if not prompt:
            return _failed("the prompt is empty")
        if context is not None and len(prompt) >= context:
            return _failed(f"the prompt has {len(prompt)} tokens, and the model reads {context}, its reply included")
        asked = Request(name, request.sample_index, prompt, request.sampling.max_tokens)
        return _Asked(asked, "" if request.prefill else opened.turn)

    def _call(self, call: Sequence[_Asked], sampling: ChatSampling) -> Iterator[tuple[str, Completion]]:
        """Name and completion of each request of a call: from the journal, or from the engine as they are finished."""
        names = [asked.request.example_id for asked in call]
        key = provenance.digest(names)
        if key in self._known:
            yield from zip(names, self._known[key], strict=True)
            return
        begun = {asked.request.example_id: asked.begun for asked in call}
        fresh: dict[str, Completion] = {}
        for done in self._engine.generate([asked.request for asked in call], _engine_sampling(sampling)):
            name = done.request.example_id
            tokens = len(done.request.prompt), len(done.token_ids)
            if done.status == "not_finite":
                fresh[name] = _failed("the model's logits are not finite", *tokens)
            else:
                status: Status = "truncated" if done.status == "truncated" else "ok"
                fresh[name] = Completion(status, begun[name] + done.text, 0, *tokens, 0.0, None, False)
            yield name, fresh[name]
        if self._add is not None:
            self._add([key, [fresh[name] for name in names]])


@contextmanager
def client_of_job(loaded: Loaded, tracked: Mapping[str, Any], partial: Path, job: Any) -> Iterator[LocalClient]:
    """A job's client; what is done is kept in a folder below `partial` until the job has written its table.

    `job` is a JSON value that holds all that bears on the table: its provenance, and its shard.
    """
    folder = partial / provenance.digest(job)[:24]
    with workplace(folder), loaded.around, journalled(folder / "journal.jsonl") as journal:
        yield LocalClient(loaded.engine, loaded.tokenizer, tracked, journal)


def _engine_sampling(sampling: ChatSampling) -> Sampling:
    """A request's sampling as the engine takes it; what is not given is as with other providers."""
    return Sampling(
        temperature=1.0 if sampling.temperature is None else sampling.temperature,
        top_p=1.0 if sampling.top_p is None else sampling.top_p,
        seed=sampling.seed or 0,
        stop=list(sampling.stop),
        max_new_tokens=sampling.max_tokens,
    )


def _failed(remark: str, tokens_in: int = 0, tokens_out: int = 0) -> Completion:
    return Completion("error", "", 0, tokens_in, tokens_out, 0.0, remark, False)
