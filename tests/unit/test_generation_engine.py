"""The transformers engine: the same texts whatever runs beside them, where they end, and what is seen on the way."""

import sys
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerFast

from candor.activations.hooks import reading
from candor.chat_text import open_turn, token_ids
from candor.config.samplings import Sampling
from candor.errors import CandorError
from candor.generations.ablation import ablated, read_direction
from candor.generations.attention import GROWTH
from candor.generations.engine import Completion, GenerationError, Request, Watch, before_stop, end_tokens, text_of
from candor.generations.packing import MOST_ROWS, Packed, served
from candor.generations.sampling import draw, uniforms
from candor.generations.transformers_engine import TransformersEngine
from candor.models import Subject
from tests.small_models import BLOCKS, SENTENCES, SHAPES, WIDTH, small_folder

Maker = Callable[..., Subject]
SAMPLING = Sampling(temperature=0.8, top_k=50, top_p=0.95, seed=3)


def requests(tokenizer: PreTrainedTokenizerFast, samples: int = 2) -> list[Request]:
    """Prompts of many lengths, some asked for several samples, with limits of many lengths."""
    texts = [sentence[:end] for sentence in SENTENCES for end in (5, 20, 60)]
    prompts = [token_ids(open_turn([{"role": "user", "content": text}], tokenizer).text, tokenizer) for text in texts]
    return [
        Request(f"e{i}", k, prompt, 3 + (7 * i + 5 * k) % 19)
        for i, prompt in enumerate(prompts)
        for k in range(1 + i % samples)
    ]


def by_key(completions: Sequence[Completion] | Any) -> dict[tuple[str, int], Completion]:
    """Completions by example and sample, each there once."""
    listed = list(completions)
    found = {(each.request.example_id, each.request.sample_index): each for each in listed}
    assert len(found) == len(listed)
    return found


def one_by_one(subject: Subject, request: Request, sampling: Sampling, ends: frozenset[int]) -> list[int]:
    """New tokens of a request, by the plainest loop: the whole text through the network for each of them."""
    numbers = uniforms(sampling.seed, request.example_id, request.sample_index, 1000)[request.first_step :]
    new: list[int] = []
    while len(new) < request.max_new_tokens and not (new and new[-1] in ends):
        with torch.inference_mode():
            logits = subject.model(torch.tensor([request.prompt + new])).logits[0, -1:]
        new.append(int(draw(logits, torch.tensor(numbers[len(new) : len(new) + 1]), sampling)))
    return new


class TestTheSameTexts:
    """In float32 a text depends on nothing but its own request."""

    @pytest.mark.parametrize("family", SHAPES)
    def test_as_one_by_one_without_a_cache_in_batches_of_1_8_and_64_and_shuffled(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast, family: str
    ) -> None:
        subject, asked = tiny(family), requests(tokenizer)
        ends = frozenset(range(0, 400, 37))
        expected = {(each.example_id, each.sample_index): one_by_one(subject, each, SAMPLING, ends) for each in asked}
        shuffled = [asked[i] for i in torch.randperm(len(asked), generator=torch.Generator().manual_seed(0)).tolist()]
        for order in (asked, shuffled):
            for batch_size in (1, 8, 64):
                found = by_key(TransformersEngine(subject, batch_size, ends).generate(order, SAMPLING))
                assert {key: each.token_ids for key, each in found.items()} == expected
        assert len({len(new) for new in expected.values()}) > 5
        assert {each.status for each in found.values()} == {"ok", "truncated"}

    def test_past_the_room_that_slots_have_at_first(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject = tiny()
        long = [each._replace(max_new_tokens=GROWTH + 10 * i) for i, each in enumerate(requests(tokenizer)[:4])]
        found = by_key(TransformersEngine(subject, 3, frozenset()).generate(long, SAMPLING))
        for each in long:
            assert found[each.example_id, each.sample_index].token_ids == one_by_one(
                subject, each, SAMPLING, frozenset()
            )

    def test_samples_of_one_prompt_differ(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        prompt = token_ids("The quick brown", tokenizer)
        asked = [Request("e", k, prompt, 12) for k in range(5)]
        found = by_key(TransformersEngine(tiny(), 4, frozenset()).generate(asked, SAMPLING))
        assert len({tuple(each.token_ids) for each in found.values()}) == 5

    def test_draws_go_on_at_the_first_step_of_a_request(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject, prompt = tiny(), token_ids("The quick brown", tokenizer)
        later = Request("e", 0, prompt, 12, first_step=7)
        (found,) = TransformersEngine(subject, 4, frozenset()).generate([later], SAMPLING)
        assert found.token_ids == one_by_one(subject, later, SAMPLING, frozenset())
        (other,) = TransformersEngine(subject, 4, frozenset()).generate([later._replace(first_step=0)], SAMPLING)
        assert other.token_ids != found.token_ids

    def test_the_likeliest_tokens_at_temperature_0_are_those_of_transformers_own_loop(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        subject, asked = tiny("qwen2"), requests(tokenizer, samples=1)
        for each in list(TransformersEngine(subject, 8).generate(asked, Sampling(temperature=0))):
            prompt = torch.tensor([each.request.prompt])
            theirs = subject.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=each.request.max_new_tokens,
                do_sample=False,
            )
            assert theirs[0, prompt.shape[1] :].tolist() == each.token_ids

    def test_the_network_is_left_as_it_was(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject, ids = tiny(), torch.tensor([[5, 6, 7]])
        before, usual = subject.model(ids).logits, subject.model.config._attn_implementation
        running = TransformersEngine(subject, 2).generate(requests(tokenizer)[:4], SAMPLING)
        next(running)
        with pytest.raises(GenerationError, match="in use"):
            subject.model(ids)
        running.close()
        assert subject.model.config._attn_implementation == usual
        assert torch.equal(subject.model(ids).logits, before)

    def test_nothing_is_asked(self, tiny: Maker) -> None:
        assert list(TransformersEngine(tiny()).generate([], SAMPLING)) == []


class TestWhereATextEnds:
    def test_end_tokens_come_from_config_tokenizer_and_chat_template(self, tokenizer: PreTrainedTokenizerFast) -> None:
        end, other = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"])
        assert end_tokens(None, tokenizer) == {end}
        assert end_tokens(GenerationConfig(eos_token_id=[7, 8]), tokenizer) == {7, 8, end}
        tokenizer.eos_token = "<|im_start|>"
        assert end_tokens(GenerationConfig(eos_token_id=9), tokenizer) == {9, other, end}
        tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}. {% endfor %}"
        assert end_tokens(None, tokenizer) == {other}

    def test_the_end_token_is_kept_in_the_tokens_and_not_in_the_text(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        ends = frozenset(range(0, 400, 11))
        found = list(TransformersEngine(tiny(), 4, ends).generate(requests(tokenizer), SAMPLING))
        ended = [each for each in found if each.status == "ok"]
        assert 3 < len(ended) < len(found)
        for each in found:
            assert (each.token_ids[-1] in ends) == (each.status == "ok")
            spoken = each.token_ids[:-1] if each.status == "ok" else each.token_ids
            assert each.text == tokenizer.decode(spoken)
            assert not ends & set(spoken)
            assert each.status == "ok" or len(each.token_ids) == each.request.max_new_tokens

    def test_a_stop_string_ends_a_text_and_is_cut_off(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject, asked = tiny(), [each._replace(max_new_tokens=40) for each in requests(tokenizer)]
        free = by_key(TransformersEngine(subject, 8, frozenset()).generate(asked, SAMPLING))
        stop = ["th", "e s", "ä"]
        found = by_key(
            TransformersEngine(subject, 8, frozenset()).generate(asked, SAMPLING.model_copy(update={"stop": stop}))
        )
        stopped = {key for key, each in found.items() if each.status == "ok"}
        assert stopped == {key for key, each in free.items() if any(s in each.text for s in stop)} != set()
        for key, each in found.items():
            assert each.text == before_stop(free[key].text, stop)
            assert each.token_ids == free[key].token_ids[: len(each.token_ids)]
            whole = tokenizer.decode(each.token_ids)
            assert key not in stopped or any(s in whole for s in stop)
            assert not any(s in tokenizer.decode(each.token_ids[:-1]) for s in stop)

    @pytest.mark.parametrize(("text", "expected"), [("a stop b halt", "a "), ("halt", ""), ("none", "none")])
    def test_the_first_stop_string_counts(self, text: str, expected: str) -> None:
        assert before_stop(text, ["halt", "stop"]) == expected

    def test_the_context_of_the_model_ends_a_text(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject = tiny()
        subject.model.config.max_position_embeddings = 20
        prompt = token_ids("The quick brown fox", tokenizer)
        (found,) = TransformersEngine(subject, 1, frozenset()).generate([Request("e", 0, prompt, 100)], SAMPLING)
        assert (len(found.token_ids), found.status) == (20 - len(prompt), "truncated")
        with pytest.raises(GenerationError, match="example e: a prompt of 20 tokens cannot be continued"):
            list(TransformersEngine(subject, 1).generate([Request("e", 0, [5] * 20, 100)], SAMPLING))

    def test_an_empty_prompt_is_refused(self, tiny: Maker) -> None:
        with pytest.raises(GenerationError, match="example e: a prompt of 0 tokens"):
            list(TransformersEngine(tiny()).generate([Request("e", 0, [], 5)], SAMPLING))

    def test_text_keeps_the_space_between_prompt_and_continuation(self, tokenizer: PreTrainedTokenizerFast) -> None:
        whole = tokenizer("The quick brown fox – größer")["input_ids"]
        for cut in range(len(whole) + 1):
            before = tokenizer.decode(whole[:cut])
            if "\ufffd" not in before:
                assert before + text_of(whole[cut:], whole[:cut], tokenizer) == tokenizer.decode(whole)


class TestNotFinite:
    @pytest.mark.parametrize("batch_size", [1, 3, 64])
    def test_a_text_whose_logits_are_not_finite_is_marked_and_harms_no_other(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast, batch_size: int
    ) -> None:
        subject, asked = tiny(), requests(tokenizer)
        healthy = by_key(TransformersEngine(subject, batch_size, frozenset()).generate(asked, SAMPLING))
        used = {token for each in healthy.values() for token in [*each.request.prompt, *each.token_ids]}
        poison = next(token for token in range(len(tokenizer) - 1, 0, -1) if token not in used)
        with torch.no_grad():
            subject.model.get_input_embeddings().weight[poison] = torch.nan
        broken = Request("broken", 0, [5, poison, 6], 9)
        found = by_key(
            TransformersEngine(subject, batch_size, frozenset()).generate([*asked[:9], broken, *asked[9:]], SAMPLING)
        )
        lost = found.pop(("broken", 0))
        assert (lost.status, lost.token_ids, lost.text) == ("not_finite", [], "")
        assert {key: each.status for key, each in found.items()} == {k: each.status for k, each in healthy.items()}


class TestWatching:
    @pytest.mark.parametrize("family", ["llama", "gemma3"])
    def test_what_is_seen_while_decoding_is_what_a_second_pass_reads(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast, family: str
    ) -> None:
        subject, seen, layers = tiny(family), {}, [0, 2, BLOCKS - 1]

        def see(request: Request, positions: Sequence[int], held: dict[int, Tensor]) -> None:
            seen[request.example_id, request.sample_index] = positions, held

        engine = TransformersEngine(subject, 5, frozenset(range(0, 400, 37)))
        watched = by_key(engine.generate(requests(tokenizer), SAMPLING, Watch(layers, see)))
        assert seen.keys() == watched.keys()
        with reading(subject.model, "residual", layers) as reader:
            for key, each in watched.items():
                positions, held = seen[key]
                read = each.request.prompt + each.token_ids[:-1]
                assert positions == range(len(read))
                again = reader.read(torch.tensor([read])) if BLOCKS - 1 in layers else {}
                for layer in layers:
                    torch.testing.assert_close(held[layer], again[layer][0], rtol=1e-4, atol=1e-4)
        unwatched = by_key(engine.generate(requests(tokenizer), SAMPLING))
        assert {k: v.token_ids for k, v in unwatched.items()} == {k: v.token_ids for k, v in watched.items()}

    def test_the_positions_that_are_wanted_alone_are_seen(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        whole: dict[Any, Tensor] = {}
        ends: dict[Any, tuple[Sequence[int], Tensor]] = {}

        def see_all(request: Request, positions: Sequence[int], held: dict[int, Tensor]) -> None:
            whole[request.example_id, request.sample_index] = held[1]

        def see(request: Request, positions: Sequence[int], held: dict[int, Tensor]) -> None:
            ends[request.example_id, request.sample_index] = positions, held[1]

        def wanted(request: Request, read: int) -> list[int]:
            return [len(request.prompt) - 1, read - 1]

        engine = TransformersEngine(tiny(), 5, frozenset(range(0, 400, 37)))
        list(engine.generate(requests(tokenizer), SAMPLING, Watch([1], see_all)))
        list(engine.generate(requests(tokenizer), SAMPLING, Watch([1], see, wanted)))
        assert ends.keys() == whole.keys()
        for key, (positions, held) in ends.items():
            assert positions[1] == len(whole[key]) - 1
            assert torch.equal(held, whole[key][positions])

    def test_a_block_that_is_not_there_is_a_sentence(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        watch = Watch([BLOCKS], lambda *_: None)
        with pytest.raises(GenerationError, match=f"there is no block {BLOCKS} to watch: the model has {BLOCKS}"):
            list(TransformersEngine(tiny()).generate(requests(tokenizer)[:1], SAMPLING, watch))


class TestAblation:
    def test_no_block_writes_the_direction(self, tiny: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
        subject = tiny()
        direction = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
        direction /= direction.norm()
        sizes: list[float] = []

        def see(request: Request, positions: Sequence[int], held: dict[int, Tensor]) -> None:
            sizes.extend(float((held[layer] @ direction).abs().max()) for layer in held)

        engine = TransformersEngine(subject, 4, frozenset())
        plain = by_key(engine.generate(requests(tokenizer), SAMPLING, Watch([1, 3], see)))
        assert max(sizes) > 0.1
        sizes.clear()
        with ablated(subject.model, direction):
            without = by_key(engine.generate(requests(tokenizer), SAMPLING, Watch([1, 3], see)))
        assert max(sizes) < 1e-4
        assert {k: v.token_ids for k, v in without.items()} != {k: v.token_ids for k, v in plain.items()}
        after = by_key(engine.generate(requests(tokenizer), SAMPLING))
        assert {k: v.token_ids for k, v in after.items()} == {k: v.token_ids for k, v in plain.items()}

    def test_a_direction_is_read_and_scaled(self, tmp_path: Any) -> None:
        save_file({"one": torch.full((4,), 2.0), "two": torch.ones(3)}, tmp_path / "d.safetensors")
        assert read_direction(tmp_path / "d.safetensors", "one", 4).tolist() == [0.5] * 4

    @pytest.mark.parametrize(
        ("tensors", "sentence"),
        [
            ({"one": torch.ones(5)}, r"one is \[5\], not 4 finite numbers"),
            ({"one": torch.zeros(4)}, "not 4 finite numbers"),
            ({"one": torch.full((4,), torch.nan)}, "not 4 finite numbers"),
            ({"other": torch.ones(4)}, "no direction 'one' can be read"),
        ],
    )
    def test_what_is_no_direction_is_a_sentence(self, tmp_path: Any, tensors: dict[str, Tensor], sentence: str) -> None:
        save_file(tensors, tmp_path / "d.safetensors")
        with pytest.raises(CandorError, match=sentence):
            read_direction(tmp_path / "d.safetensors", "one", 4)


class TestWhatIsNotServed:
    def test_an_architecture_whose_attention_cannot_be_taken_over(
        self, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subject = tiny()
        monkeypatch.setattr(type(subject.model), "_supports_attention_backend", False)
        with pytest.raises(GenerationError, match="LlamaForCausalLM: transformers cannot give its attention"):
            TransformersEngine(subject)

    def test_layers_of_another_kind(self, tiny: Maker) -> None:
        subject = tiny("qwen2")
        subject.model.config.layer_types = ["full_attention", "chunked_attention"] * 2
        with pytest.raises(GenerationError, match="Qwen2ForCausalLM: has chunked_attention, which"):
            TransformersEngine(subject)

    def test_more_texts_than_memory_holds(
        self, tiny: Maker, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any, **__: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        subject = tiny()
        monkeypatch.setattr(type(subject.model), "forward", full)
        with pytest.raises(
            GenerationError, match=r"64 texts side by side do not fit .* lower the sampling's `batch_size`"
        ):
            list(TransformersEngine(subject, 64).generate(requests(tokenizer), SAMPLING))


class TestPacking:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("bias", [False, True])
    def test_packed_layers_give_the_same(self, dtype: torch.dtype, bias: bool) -> None:
        torch.manual_seed(0)
        layer = torch.nn.Linear(48, 80, bias=bias).to(dtype)
        if not served(layer.weight):
            pytest.skip("this machine's torch packs no such weights")
        network, exact = torch.nn.Sequential(layer), 1e-5 if dtype == torch.float32 else 1e-2
        with torch.inference_mode():
            for shape in ((1, 1, 48), (1, 7, 48), (64, 48), (1, MOST_ROWS + 1, 48)):
                x = torch.randn(shape).to(dtype)
                usual = network(x)
                with Packed(network).used():
                    assert "forward" in layer.__dict__
                    torch.testing.assert_close(network(x), usual, rtol=exact, atol=exact)
                assert "forward" not in layer.__dict__
                assert torch.equal(network(x), usual)


class TestVllm:
    """The engine over vLLM, against a stand-in for its public interface."""

    def test_without_the_package_there_is_a_sentence(
        self, tokenizer: PreTrainedTokenizerFast, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from candor.generations.vllm_engine import VllmEngine

        monkeypatch.setitem(sys.modules, "vllm", None)
        with pytest.raises(GenerationError, match="vllm, which is not installed here; use the GPU environment"):
            VllmEngine(tmp_path, tokenizer, "bfloat16")

    def test_requests_are_handed_over_and_come_back(
        self, tokenizer: PreTrainedTokenizerFast, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from candor.generations.vllm_engine import VllmEngine, seed_of

        made: dict[str, Any] = {}
        words = tokenizer("the lazy dog")["input_ids"]
        end = tokenizer.eos_token_id

        class LLM:
            def __init__(self, **options: Any) -> None:
                made["model"] = options

            def generate(self, prompts: Any, options: Any, use_tqdm: bool, lora_request: Any) -> list[Any]:
                made["calls"] = list(zip(prompts, options, strict=True)), lora_request
                endings = [([*words, end], "stop"), (words, "length")]
                return [
                    SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(ids), finish_reason=reason)])
                    for ids, reason in endings
                ]

        vllm, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
        vllm.LLM, vllm.SamplingParams, request.LoRARequest = LLM, SimpleNamespace, lambda *a: a  # type: ignore[attr-defined]
        for name, module in (("vllm", vllm), ("vllm.lora", lora), ("vllm.lora.request", request)):
            monkeypatch.setitem(sys.modules, name, module)
        adapter = tmp_path / "adapter"
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text('{"r": 12}')
        engine = VllmEngine(small_folder(tmp_path / "model"), tokenizer, "bfloat16", 16, adapter)
        assert made["model"]["max_lora_rank"] == 16
        assert made["model"]["max_num_seqs"] == 16
        asked = [Request("a", 0, [5, 6], 9), Request("a", 1, [5, 6, 7], 9, first_step=4)]
        found = list(engine.generate(asked, Sampling(temperature=0.6, top_k=50, stop=["dog"])))
        assert [(each.text, each.status) for each in found] == [("the lazy ", "ok"), ("the lazy ", "truncated")]
        assert found[0].token_ids == [*words, end]
        calls, lora_request = made["calls"]
        assert lora_request == ("adapter", 1, str(adapter))
        assert [prompt for prompt, _ in calls] == [{"prompt_token_ids": each.prompt} for each in asked]
        assert [(each.temperature, each.top_k, each.max_tokens) for _, each in calls] == [(0.6, 50, 9)] * 2
        assert [each.seed for _, each in calls] == [seed_of(each, 0) for each in asked]
        assert len({seed_of(r._replace(sample_index=k), s) for r in asked for k in (0, 1) for s in (0, 1)}) == 8
        with pytest.raises(GenerationError, match="vllm cannot be watched"):
            list(engine.generate(asked, SAMPLING, Watch([0], lambda *_: None)))


class TestOpenTurn:
    """The prompt's text up to where the model goes on."""

    USER: Sequence[dict[str, str]] = ({"role": "user", "content": "Is it safe?"},)

    def test_the_assistant_s_turn_is_opened(self, tokenizer: PreTrainedTokenizerFast) -> None:
        found = open_turn(self.USER, tokenizer)
        assert found == ("<|im_start|>user\nIs it safe?<|im_end|>\n<|im_start|>assistant\n", "")

    def test_a_prefill_and_a_last_turn_of_the_assistant_s_are_continued(
        self, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        header = open_turn(self.USER, tokenizer).text
        begun = [*self.USER, {"role": "assistant", "content": "<think>\nHm"}]
        assert open_turn(self.USER, tokenizer, "<think>\n") == (header + "<think>\n", "<think>\n")
        assert open_turn(begun, tokenizer) == (header + "<think>\nHm", "<think>\nHm")
        assert open_turn(begun, tokenizer, ", ") == (header + "<think>\nHm, ", "<think>\nHm, ")

    def test_reasoning_that_the_template_opens_is_opened_once_and_is_of_the_turn(
        self, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        tokenizer.chat_template = str(tokenizer.chat_template).replace(
            "assistant\n' }}{% endif", "assistant\n<think>\n' }}{% endif"
        )
        header = "<|im_start|>user\nIs it safe?<|im_end|>\n<|im_start|>assistant\n"
        begun = [*self.USER, {"role": "assistant", "content": "<think>\nHm"}]
        assert open_turn(self.USER, tokenizer) == (header + "<think>\n", "<think>\n")
        assert open_turn(self.USER, tokenizer, "<think>\n") == (header + "<think>\n", "<think>\n")
        assert open_turn(begun, tokenizer) == (header + "<think>\nHm", "<think>\nHm")

    def test_without_a_template_the_text_goes_on(self, tokenizer: PreTrainedTokenizerFast) -> None:
        tokenizer.chat_template = None
        begun = [*self.USER, {"role": "assistant", "content": "Yes"}]
        assert open_turn(self.USER, tokenizer) == ("Is it safe?", "")
        assert open_turn(begun, tokenizer, ", ") == ("Is it safe?\n\nYes, ", "Yes, ")
