"""Engines: a chat's tokens come with the activations that extraction stores, one conversation never hears another."""

import contextlib
import importlib.util
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candor.activations.extraction import batches, extract, plan
from candor.chat_text import render
from candor.config.captures import Capture
from candor.config.monitor_app import Quantisation
from candor.config.samplings import Sampling
from candor.generations.engine import Request
from candor.generations.transformers_engine import TransformersEngine as GenerationEngine
from candor.models import Subject
from candor.monitor.engine import MonitorError, Place, Read, converse, read_text, text
from candor.monitor.transcripts import watched
from candor.monitor.transformers_engine import TransformersEngine
from candor.monitor.watching import Watcher
from candor.probes.files import SavedProbe
from tests.small_models import BLOCKS, SENTENCES, WIDTH, small_folder, small_subject, small_tokenizer
from tests.unit.test_monitor_watching import probe_of

PLACE = Place("residual", 2)
CHATS = [[{"role": "user", "content": sentence}] for sentence in SENTENCES]
SAMPLING = Sampling(temperature=0.8, max_new_tokens=12)
NO_MLX = "MLX is not installed: pip install mlx-lm 'mlx[cpu]'"


def engine(family: str = "llama") -> TransformersEngine:
    return TransformersEngine(small_subject(small_tokenizer(), family), "tiny", "a" * 40)


def whole(reads: list[Read]) -> tuple[str, np.ndarray]:
    """The text and the activations of all that was read."""
    return "".join(piece for read in reads for piece in read.texts), np.concatenate([r.activations for r in reads])


@pytest.mark.parametrize("hook", ["residual", "input_layernorm"])
def test_a_text_is_read_as_extraction_reads_it(hook: str) -> None:
    capture = Capture(subject="tiny", layers=[2], hook=hook, max_tokens=9, generation_prompt=True, batch_tokens=1024)
    subject = small_subject(small_tokenizer())
    planned = plan(subject, CHATS, capture)
    rows = {
        i: row for found in extract(subject, planned, capture, batches(planned, capture)) for i, row in found.items()
    }
    for i, chat in enumerate(CHATS):
        given = text(chat, subject.tokenizer, 9, "left", generation_prompt=True)
        read = read_text(TransformersEngine(subject, "tiny", None), Place(hook, 2), given)
        np.testing.assert_allclose(read.activations[1:], rows[i].layers[2].float().numpy(), rtol=1e-4, atol=1e-5)
        assert len(read.roles) == len(read.texts) == 9 and given.truncated


def test_tokens_texts_together_are_the_text() -> None:
    tokenizer = small_tokenizer()
    for chat in [*CHATS, [{"role": "user", "content": "naïve 漢字 🙂 <b>\n\nYes."}]]:
        assert "".join(text(chat, tokenizer, 1000).texts) == render(chat, tokenizer, generation_prompt=False)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2", "gemma3"])
def test_an_answer_comes_token_by_token_with_the_activations_of_a_second_pass(family: str) -> None:
    own = engine(family)
    for chat in CHATS[:2]:
        reads = list(converse(own, PLACE, chat, SAMPLING))
        assert not reads[0].written and all(read.written and len(read.texts) == 1 for read in reads[1:])
        said, seen = whole(reads)
        prompt = render(chat, own.tokenizer, generation_prompt=True)
        assert said.startswith(prompt)
        answer = [{**turn} for turn in chat]
        again = own.activations(own.tokenizer(prompt, add_special_tokens=False)["input_ids"], PLACE)
        np.testing.assert_allclose(seen[: len(again)], again, rtol=1e-3, atol=1e-4)
        assert answer == chat


def test_the_likeliest_answer_is_that_of_the_generation_engine() -> None:
    subject, greedy = small_subject(small_tokenizer()), Sampling(temperature=0, max_new_tokens=10)
    prompts = [text(chat, subject.tokenizer, 1000, generation_prompt=True).token_ids for chat in CHATS]
    requests = [Request(str(i), 0, prompt, 10) for i, prompt in enumerate(prompts)]
    expected = {done.request.example_id: done.text for done in GenerationEngine(subject).generate(requests, greedy)}
    own = TransformersEngine(subject, "tiny", None)
    for i, chat in enumerate(CHATS):
        answer = "".join(piece for read in converse(own, PLACE, chat, greedy) if read.written for piece in read.texts)
        # what ends in the middle of a character waits for its other bytes
        assert expected[str(i)].rstrip("�").startswith(answer.rstrip("�"))


def test_the_same_chat_gets_the_same_answer_and_nothing_is_left_of_the_one_before() -> None:
    own = engine()
    first, _, again = (whole(list(converse(own, PLACE, CHATS[k], SAMPLING))) for k in (0, 1, 0))
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1], again[1])


def test_a_long_prompt_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    own = engine()
    expected = whole(list(converse(own, PLACE, CHATS[0], SAMPLING)))
    monkeypatch.setattr("candor.monitor.engine.AT_ONCE", 4)
    found = whole(list(converse(own, PLACE, CHATS[0], SAMPLING)))
    assert found[0] == expected[0]
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-4)


def test_two_conversations_at_once_do_not_mix() -> None:
    own, probe = engine(), wide_probe()
    alone = [scored(own, probe, chat) for chat in CHATS]
    with ThreadPoolExecutor(len(CHATS)) as people:
        together = list(people.map(lambda chat: scored(own, probe, chat), CHATS * 3))
    for found, expected in zip(together, alone * 3, strict=True):
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])
    # and in turns, token by token
    streams: list[Iterator[Read]] = [converse(own, PLACE, chat, SAMPLING) for chat in CHATS[:2]]
    heard: list[list[Read]] = [[], []]
    for _ in range(SAMPLING.max_new_tokens + 1):
        for stream, into in zip(streams, heard, strict=True):
            into.extend(read for read in [next(stream, None)] if read is not None)
    assert [whole(each)[0] for each in heard] == [text for text, _ in alone[:2]]


def scored(own: Any, probe: Watcher, chat: Any) -> tuple[str, np.ndarray]:
    *_, last = watched(probe, converse(own, PLACE, chat, SAMPLING))
    return "".join(last.texts), last.running


def wide_probe(strength: float = 1.0) -> Watcher:
    """A probe of attention as wide as the small model, that reads its layer."""
    saved = probe_of({"family": "attention"}, 2)
    weight = strength * torch.randn(2, 2, 2, WIDTH, 1, generator=torch.Generator().manual_seed(0))
    saved.header.width = WIDTH
    return Watcher(SavedProbe(weight, saved.bias, saved.header), Path("p"), 2, 7)


def test_what_cannot_be_read_is_a_sentence() -> None:
    own = engine()
    with pytest.raises(MonitorError, match="the text is empty"):
        own.tokenizer.chat_template = None
        text([{"role": "user", "content": ""}], own.tokenizer, 10)
    own = engine()
    own.context = 12
    with pytest.raises(MonitorError, match=r"the model reads 12 tokens, which leaves none for a chat"):
        list(converse(own, PLACE, CHATS[0], SAMPLING))
    with pytest.raises(MonitorError, match=r"the text has \d+ tokens, and the model reads 12"):
        read_text(own, PLACE, text(CHATS[0], own.tokenizer, 1000))
    broken = engine()
    with torch.no_grad():
        broken.network.get_output_embeddings().weight.fill_(torch.nan)
    with pytest.raises(MonitorError, match="logits are not finite"):
        list(converse(broken, PLACE, CHATS[0], SAMPLING))


@pytest.fixture(scope="module")
def on_mlx(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small Llama in MLX with 4-bit weights, and the same rounded weights in transformers."""
    if importlib.util.find_spec("mlx_lm") is None:
        pytest.skip(NO_MLX)
    from candor.monitor.mlx_engine import MlxEngine, rounded

    folder = small_folder(tmp_path_factory.mktemp("model") / "small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANDOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            made = rounded(folder, "weights", Quantisation(group_size=32))
        assert not said.getvalue()  # the standard output is for scores
        assert rounded(folder, "weights", Quantisation(group_size=32)) == made
        assert rounded(folder, "others", Quantisation(group_size=32)) != made
    tokenizer = small_tokenizer()
    own = MlxEngine(made, tokenizer, "tiny", "a" * 40)
    return own, TransformersEngine(same_weights(own, tokenizer), "tiny", "a" * 40)


def same_weights(own: Any, tokenizer: Any) -> Subject:
    """A transformers network with the weights that an MLX engine computes with."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    def work() -> dict[str, np.ndarray]:
        held = dict(tree_flatten(own.network.parameters()))
        found = {}
        for name, value in held.items():
            stem = name.removesuffix(".weight")
            if f"{stem}.scales" in held and name.endswith(".weight"):
                value = mx.dequantize(value, held[f"{stem}.scales"], held[f"{stem}.biases"], group_size=32, bits=4)
            elif name.endswith((".scales", ".biases")):
                continue
            found[name] = np.array(value.astype(mx.float32))
        return found

    weights = own._worker.submit(work).result()
    subject = small_subject(tokenizer)
    state = subject.model.state_dict()
    given = {name: torch.from_numpy(weights[name]) for name in state if name in weights}
    assert set(state) - set(given) <= {"lm_head.weight"}
    changed = sum(not torch.equal(given[name], state[name]) for name in given)
    assert changed > 4 * BLOCKS  # they were rounded
    subject.model.load_state_dict(given, strict=False)
    return subject


@pytest.mark.parametrize("hook", ["residual", "input_layernorm"])
def test_mlx_gives_the_decisions_of_transformers_on_the_same_rounded_weights(on_mlx: Any, hook: str) -> None:
    probe, place = wide_probe(), Place(hook, 2)
    words = " ".join(SENTENCES).split()
    prompts = [[{"role": "user", "content": " ".join(words[k : k + 4 + k % 5])}] for k in range(20)]
    decided: list[list[bool]] = []
    scores: list[list[float]] = []
    for own in on_mlx:
        found = []
        for prompt in prompts:
            [transcript] = watched(probe, [read_text(own, place, text(prompt, own.tokenizer, 1000))])
            found.append(transcript)
        scores.append([float(each.scores[0]) for each in found])
        probe.thresholds["high"] = float(np.median(scores[0]))  # so that half of them pass
        decided.append([bool(each.meaning.flags(each.scores)) for each in found])
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3, atol=1e-3)
    assert decided[0] == decided[1] and sum(decided[0]) == 10


def test_mlx_answers_as_transformers_does_and_two_conversations_do_not_mix(on_mlx: Any) -> None:
    probe, (own, other) = wide_probe(), on_mlx
    expected = [scored(other, probe, chat) for chat in CHATS]
    with ThreadPoolExecutor(len(CHATS)) as people:
        found = list(people.map(lambda chat: scored(own, probe, chat), CHATS))
    for (said, running), (wanted, known) in zip(found, expected, strict=True):
        assert said == wanted
        np.testing.assert_allclose(running, known, rtol=1e-3, atol=1e-3, equal_nan=True)


def test_without_mlx_its_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    from candor.monitor import mlx_engine

    monkeypatch.setitem(sys.modules, "mlx_lm", None)
    with pytest.raises(MonitorError, match=r"needs MLX: pip install mlx-lm on a Mac"):
        mlx_engine.rounded(tmp_path, "weights", Quantisation())
