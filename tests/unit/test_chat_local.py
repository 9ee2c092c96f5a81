"""The local client: a subject's replies by the engine, in order, whatever runs beside them, and on after a kill."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from candor.chat.local import LocalClient, client_of_job
from candor.chat.messages import ChatRequest, ChatSampling, Completion, Message, identity
from candor.chat_text import open_turn, token_ids
from candor.config.clients import Local, tracked
from candor.config.samplings import Sampling
from candor.generations import engine
from candor.generations.ablation import ablated
from candor.generations.engine import Request, Watch
from candor.generations.loading import Loaded
from candor.generations.transformers_engine import TransformersEngine
from candor.models import Subject
from tests.small_models import SENTENCES, WIDTH

Maker = Callable[..., Subject]
CONFIG = tracked(Local(provider="local", subject="tiny"))
GREEDY = ChatSampling(max_tokens=9)
DRAWN = ChatSampling(temperature=0.9, top_p=0.95, max_tokens=9, seed=3)


def user(text: str, sampling: ChatSampling = DRAWN, sample: int = 0, prefill: str | None = None) -> ChatRequest:
    """A request with a system message and one turn of the user's."""
    begun = [] if prefill is None else [Message("assistant", prefill)]
    turns = (Message("system", "You are a judge."), Message("user", text), *begun)
    return ChatRequest(turns, sampling, sample)


def requests(sampling: ChatSampling = DRAWN) -> list[ChatRequest]:
    """Requests of many lengths, each for two samples."""
    return [user(text[:end], sampling, sample) for text in SENTENCES for end in (9, 50) for sample in (0, 1)]


def texts(completions: Sequence[Completion]) -> list[str]:
    """What was replied."""
    return [each.text for each in completions]


class TestReplies:
    def test_completions_stand_in_the_order_of_the_requests_and_are_counted(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        told: list[int] = []
        subject = tiny()
        found = LocalClient(TransformersEngine(subject, 3, frozenset()), tokenizer, CONFIG).complete(
            requests(), told.append
        )
        assert told == list(range(1, 17))
        for request, completion in zip(requests(), found, strict=True):
            alone = LocalClient(TransformersEngine(subject, 1, frozenset()), tokenizer, CONFIG)
            assert alone.complete([request]) == [completion]
            turns = [message._asdict() for message in request.messages]
            assert completion.tokens_in == len(token_ids(open_turn(turns, tokenizer).text, tokenizer))
            assert (completion.status, completion.tokens_out) == ("truncated", 9)
            assert (completion.attempts, completion.usd, completion.remark, completion.cached) == (0, 0, None, False)
        assert len(set(texts(found))) == 16

    @pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
    def test_replies_repeat_in_batches_of_any_size_and_order(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast, sampling: ChatSampling
    ) -> None:
        subject, asked = tiny(), requests(sampling)
        found = LocalClient(TransformersEngine(subject, 16, frozenset()), tokenizer, CONFIG).complete(asked)
        for batch_size in (1, 5):
            client = LocalClient(TransformersEngine(subject, batch_size, frozenset()), tokenizer, CONFIG)
            assert client.complete(asked[::-1])[::-1] == found

    def test_a_greedy_reply_is_the_model_s_own(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject = tiny("qwen2")
        (found,) = LocalClient(TransformersEngine(subject), tokenizer, CONFIG).complete([user("Why?", GREEDY)])
        turns = [{"role": "system", "content": "You are a judge."}, {"role": "user", "content": "Why?"}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        theirs = subject.model.generate(**prompt, max_new_tokens=9, do_sample=False)
        new = theirs[0, prompt["input_ids"].shape[1] :]
        assert (found.text, found.tokens_out) == (tokenizer.decode(new, skip_special_tokens=True), len(new))

    def test_a_draw_depends_on_seed_and_sample(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        asked = [user("Why?", DRAWN._replace(seed=seed), sample) for seed in (3, 4) for sample in (0, 1)]
        found = LocalClient(TransformersEngine(tiny(), 4, frozenset()), tokenizer, CONFIG).complete(asked)
        assert len(set(texts(found))) == 4

    def test_requests_of_several_samplings_are_told_apart(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        asked = [user("Why?", GREEDY._replace(max_tokens=n)) for n in (4, 2, 4, 3)]
        found = LocalClient(TransformersEngine(tiny(), 4, frozenset()), tokenizer, CONFIG).complete(asked)
        assert [each.tokens_out for each in found] == [4, 2, 4, 3]
        assert found[0] == found[2]

    def test_an_ablated_subject_replies_otherwise(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject = tiny()
        client = LocalClient(TransformersEngine(subject, 16, frozenset()), tokenizer, CONFIG)
        plain = client.complete(requests(GREEDY))
        direction = torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
        with ablated(subject.model, direction / direction.norm()):
            assert texts(client.complete(requests(GREEDY))) != texts(plain)


class Scripted:
    """An engine that answers each prompt with what a function makes of its text, and counts its calls."""

    context: int | None = 200
    at_once = 3

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, answer: Callable[[str], tuple[str, str]] = lambda _: ("Yes.", "ok")
    ) -> None:
        self._tokenizer, self._answer = tokenizer, answer
        self.calls: list[list[Request]] = []
        self.samplings: list[Sampling] = []

    def prompts(self) -> list[str]:
        """The texts of all prompts, in the order in which they came."""
        return [str(self._tokenizer.decode(request.prompt)) for call in self.calls for request in call]

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch | None = None
    ) -> Iterator[engine.Completion]:
        self.calls.append(list(requests))
        self.samplings.append(sampling)
        for request in reversed(requests):
            text, status = self._answer(str(self._tokenizer.decode(request.prompt)))
            yield engine.Completion(request, self._tokenizer(text)["input_ids"], text, status)


class TestWhatTheEngineGets:
    def test_a_request_s_identity_names_its_draws(self, tokenizer: PreTrainedTokenizerFast) -> None:
        scripted, asked = Scripted(tokenizer), user("Why?", DRAWN, sample=2)
        LocalClient(scripted, tokenizer, CONFIG).complete([asked])
        ((request,),) = scripted.calls
        assert (request.example_id, request.sample_index) == (identity(asked, CONFIG), 2)
        assert (request.max_new_tokens, request.first_step) == (9, 0)

    def test_sampling_is_handed_over(self, tokenizer: PreTrainedTokenizerFast) -> None:
        scripted = Scripted(tokenizer)
        asked = ChatSampling(temperature=0.7, top_p=0.9, max_tokens=5, seed=6, stop=("a", "b"))
        LocalClient(scripted, tokenizer, CONFIG).complete(
            [user("Why?", asked), user("Why?", ChatSampling(temperature=None))]
        )
        assert scripted.samplings == [
            Sampling(temperature=0.7, top_p=0.9, max_new_tokens=5, seed=6, stop=["a", "b"]),
            Sampling(temperature=1.0, top_p=1.0, max_new_tokens=512, seed=0, stop=[]),
        ]

    def test_the_same_request_is_asked_once(self, tokenizer: PreTrainedTokenizerFast) -> None:
        scripted, told = Scripted(tokenizer), []
        same = [user("Why?"), user("How?"), user("Why?"), user("Why?")]
        found = LocalClient(scripted, tokenizer, CONFIG).complete(same, told.append)
        assert texts(found) == ["Yes."] * 4
        assert [len(call) for call in scripted.calls] == [2]
        assert told == [1, 4]

    @pytest.mark.parametrize("prefill", ['{"score": ', ""])
    def test_a_last_turn_of_the_assistant_s_is_continued_and_is_not_of_the_reply(
        self, tokenizer: PreTrainedTokenizerFast, prefill: str
    ) -> None:
        scripted = Scripted(tokenizer, lambda _: ("7}", "ok"))
        (found,) = LocalClient(scripted, tokenizer, CONFIG).complete([user("Why?", prefill=prefill)])
        assert found.text == "7}"
        assert scripted.prompts() == [
            "<|im_start|>system\nYou are a judge.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
            f"<|im_start|>assistant\n{prefill}"
        ]

    def test_reasoning_that_the_chat_template_opens_is_of_the_reply(self, tokenizer: PreTrainedTokenizerFast) -> None:
        tokenizer.chat_template = tokenizer.chat_template.replace("assistant\n' }}", "assistant\n<think>\n' }}")
        client = LocalClient(Scripted(tokenizer, lambda _: ("Hm.</think>7", "ok")), tokenizer, CONFIG)
        assert texts(client.complete([user("Why?")])) == ["<think>\nHm.</think>7"]


class TestWhatCannotBeReplied:
    def test_a_prompt_that_is_too_long_is_an_error_and_harms_no_other(self, tokenizer: PreTrainedTokenizerFast) -> None:
        scripted, told = Scripted(tokenizer), []
        asked = [user("a"), user("Wait. " * 200), user("b")]
        found = LocalClient(scripted, tokenizer, CONFIG).complete(asked, told.append)
        assert [each.status for each in found] == ["ok", "error", "ok"]
        long = found[1]
        assert (long.text, long.attempts, long.tokens_in, long.tokens_out, long.usd) == ("", 0, 0, 0, 0)
        assert long.remark is not None
        assert long.remark.endswith("tokens, and the model reads 200, its reply included")
        assert told == [1, 2, 3]

    def test_a_prompt_of_the_context_s_length_is_too_long_for_a_reply(self, tokenizer: PreTrainedTokenizerFast) -> None:
        scripted = Scripted(tokenizer)
        client = LocalClient(scripted, tokenizer, CONFIG)
        (found,) = client.complete([user("Why?")])
        for context, status in ((found.tokens_in, "error"), (found.tokens_in + 1, "ok")):
            scripted.context = context
            assert [each.status for each in client.complete([user("Why?")])] == [status]

    def test_the_context_cuts_a_reply(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject = tiny()
        subject.model.config.max_position_embeddings = 60
        client = LocalClient(TransformersEngine(subject, 1, frozenset()), tokenizer, CONFIG)
        (found,) = client.complete([user("Why?", GREEDY._replace(max_tokens=100))])
        assert (found.status, found.tokens_in + found.tokens_out) == ("truncated", 60)

    def test_logits_that_are_not_finite_are_an_error(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject = tiny()
        with torch.no_grad():
            subject.model.get_input_embeddings().weight.fill_(torch.nan)
        client = LocalClient(TransformersEngine(subject, 2, frozenset()), tokenizer, CONFIG)
        (found,) = client.complete([user("Why?")])
        assert (found.status, found.text, found.tokens_out) == ("error", "", 0)
        assert found.remark == "the model's logits are not finite"

    def test_an_empty_prompt_is_an_error(self, tokenizer: PreTrainedTokenizerFast) -> None:
        tokenizer.chat_template = None
        (found,) = LocalClient(Scripted(tokenizer), tokenizer, CONFIG).complete(
            [ChatRequest((Message("user", ""),), DRAWN)]
        )
        assert (found.status, found.remark) == ("error", "the prompt is empty")


class Killed(BaseException):
    """Stands in for a signal that ends the process."""


class TestKillAndResume:
    ASKED = (*(user(text) for text in "abcdefgh"), user("Wait. " * 200))

    def job(self, scripted: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> list[Completion]:
        """What a judge job does."""
        loaded = Loaded(scripted, tokenizer, nullcontext(), {})
        with client_of_job(loaded, CONFIG, folder, {"made": 1}) as client:
            return client.complete(self.ASKED)

    def test_a_killed_job_goes_on_with_the_call_that_it_was_killed_in(
        self, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
    ) -> None:
        def answer(prompt: str) -> tuple[str, str]:
            return prompt[::-1][20:40], "truncated" if "user\nc" in prompt else "ok"

        def fatal(prompt: str) -> tuple[str, str]:
            if "user\ng" in prompt:
                raise Killed
            return answer(prompt)

        expected = self.job(Scripted(tokenizer, answer), tokenizer, tmp_path / "other")
        with pytest.raises(Killed):
            self.job(Scripted(tokenizer, fatal), tokenizer, tmp_path)
        (journal,) = tmp_path.glob("*/journal.jsonl")
        assert len(journal.read_text().splitlines()) == 2
        journal.write_text(journal.read_text()[:-5])
        resumed = Scripted(tokenizer, answer)
        assert self.job(resumed, tokenizer, tmp_path) == expected
        assert [len(call) for call in resumed.calls] == [3, 2]
        assert list(tmp_path.iterdir()) == [tmp_path / "other"]

    def test_what_was_kept_of_other_requests_is_not_taken(
        self, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
    ) -> None:
        loaded = Loaded(Scripted(tokenizer), tokenizer, nullcontext(), {})
        with pytest.raises(Killed), client_of_job(loaded, CONFIG, tmp_path, 1) as client:
            client.complete([user("a")])
            raise Killed
        other = Scripted(tokenizer, lambda _: ("No.", "ok"))
        with client_of_job(loaded._replace(engine=other), CONFIG, tmp_path, 1) as client:
            assert texts(client.complete([user("b")])) == ["No."]
            assert texts(client.complete([user("a")])) == ["Yes."]
