"""Spans around the assistant's turn: the right tokens are found, and their means are those of a plain forward pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from candor.activations.extraction import extract_to_file, plan
from candor.activations.files import Activations, ActivationsError, Header
from candor.activations.hooks import blocks_of
from candor.activations.spans import span_tokens, turn_of
from candor.chat_text import encode, render
from candor.config.captures import Capture
from candor.errors import CandorError
from candor.models import Subject
from candor.responses import join, split
from tests.small_models import BLOCKS, CHATML, WIDTH

Maker = Callable[..., Subject]
Messages = list[dict[str, str]]
ALL = ["last_prompt", "reasoning", "answer_start", "end"]
TEMPLATE = (Path(__file__).parents[2] / "resources/chat_templates/reasoning.jinja").read_text(encoding="utf-8")
DROPS_REASONING = CHATML.replace("message['content']", "message['content'].split('</think>')[-1].strip()")
NOBODY = -1
"""A descriptor that progress cannot be written to."""


def asked(question: str, *turn: str) -> Messages:
    """A question, and the assistant's turn where there is one."""
    return [{"role": "user", "content": question}, *({"role": "assistant", "content": each} for each in turn)]


REASONED = asked("Is the reactor safe?", join("The pressure is 12 bar.", "Wait for it to fall."))
PLAIN = asked("Is the dog lazy?", "Yes.")
PROMPT = asked("Should we wait?")
UNCLOSED = asked("Is the fox quick?", "<think>\nThe fox jumps over")
CHATS = [
    REASONED,
    PLAIN,
    PROMPT,
    UNCLOSED,
    asked("You?", join("Answer briefly.", "") + " "),
    asked("Größer?", "Naïve 😀"),
]


def capture_of(**options: Any) -> Capture:
    return Capture(
        **{
            "subject": "tiny",
            "layers": "all",
            "store": "spans",
            "spans": ALL,
            "drop_first": 0,
            "batch_tokens": 512,
            **options,
        }
    )


def tokens(chat: Messages, tokenizer: PreTrainedTokenizerFast, **options: Any) -> dict[str, list[int]]:
    capture = capture_of(**options)
    return dict(zip(capture.spans, span_tokens(chat, tokenizer, capture), strict=True))


def ids_of(chat: Messages, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    return encode(chat, tokenizer, 10_000, "left", chat[-1]["role"] != "assistant").token_ids


def extract(subject: Subject, folder: Path, chats: list[Messages] = CHATS, **options: Any) -> Activations:
    """Extract conversations into FOLDER/000-of-001.safetensors."""
    capture = capture_of(**options)
    header = Header(
        subject="tiny",
        revision=None,
        hook=capture.hook,
        layers=capture.stored_layers(BLOCKS),
        mean_layers=[],
        store=capture.store,
        width=WIDTH,
        blocks=BLOCKS,
        dtype="float32",
        dataset="rows",
        dataset_sha256="d" * 64,
        shard="000-of-001",
        example_ids=[f"e{i}" for i in range(len(chats))],
        sample_indices=[0] * len(chats),
        spans=list(capture.spans),
    )
    output = folder / "000-of-001.safetensors"
    extract_to_file(subject, chats, capture, header, {}, output, folder / "partial", NOBODY)
    return Activations([output])


def one_at_a_time(subject: Subject, ids: list[int]) -> list[Tensor]:
    """Each block's output [tokens, width] from the model as transformers runs it: no batch, no padding."""
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _m, _i, o: seen.append(o[0] if isinstance(o, tuple) else o))
        for block in blocks_of(subject.model)
    ]
    with torch.no_grad():
        subject.model(input_ids=torch.tensor([ids]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return [each[0].float() for each in seen]


# --- which tokens


@pytest.mark.parametrize("template", [CHATML, TEMPLATE], ids=["chatml", "reasoning.jinja"])
def test_each_span_is_where_the_text_says(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    tokenizer.chat_template = template
    found, ids, text = tokens(REASONED, tokenizer), ids_of(REASONED, tokenizer), render(REASONED, tokenizer, False)
    [prompt], [start], [end] = found["last_prompt"], found["answer_start"], found["end"]
    assert tokenizer.decode(ids[: prompt + 1]) == render(REASONED[:1], tokenizer, True)
    assert tokenizer.decode(ids[: start + 1]) == text[: text.index("Wait for")]
    assert tokenizer.decode(ids[: end + 1]) == text[: text.index("to fall.") + len("to fall.")]
    reasoning = found["reasoning"]
    assert reasoning == list(range(reasoning[0], reasoning[-1] + 1))
    assert tokenizer.decode([ids[t] for t in reasoning]) == "\nThe pressure is 12 bar.\n"


def test_what_generation_would_read_ends_with_the_last_prompt_token(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = ids_of(REASONED[:1], tokenizer)
    [last] = tokens(REASONED, tokenizer)["last_prompt"]
    assert ids_of(REASONED, tokenizer)[: last + 1] == prompt
    assert tokens(REASONED[:1], tokenizer) == {**{span: [] for span in ALL}, "last_prompt": [len(prompt) - 1]}


def test_a_turn_without_reasoning_is_an_answer(tokenizer: PreTrainedTokenizerFast) -> None:
    found, ids = tokens(PLAIN, tokenizer), ids_of(PLAIN, tokenizer)
    assert found["reasoning"] == []
    assert found["answer_start"] == found["last_prompt"]
    assert tokenizer.decode(ids[found["last_prompt"][0] + 1 : found["end"][0] + 1]) == "Yes."


@pytest.mark.parametrize(
    ("turn", "there"),
    [
        ("<think>\nThe fox jumps over", {"last_prompt"}),
        ("<think>\nThe fox jumps over\n</think>\n\n", {"last_prompt", "reasoning"}),
        ("<think>\n\n</think>\n\nYes.", {"last_prompt", "answer_start", "end"}),
        ("Hm. <think>The fox.</think>No.<think>Or yes?</think>", set(ALL)),
        ("", set()),
        (" \n", set()),
    ],
)
def test_a_span_that_is_not_there_has_no_token(tokenizer: PreTrainedTokenizerFast, turn: str, there: set[str]) -> None:
    found = tokens(asked("Is the fox quick?", turn), tokenizer)
    assert {span for span, at in found.items() if at} == there


@pytest.mark.parametrize(
    "turn",
    [
        join("The pressure falls.", "Wait."),
        "Yes.",
        "<think>never closed",
        "<think></think>Yes.",
        "<think> a </think> b </think> c",
        "Hm. <think>one</think>two<think>three</think>",
        "</think>Yes.<think>No.</think> Or not.",
        "<think><think>nested</think></think> Yes.",
    ],
)
def test_a_turn_is_taken_apart_as_everywhere_else(turn: str) -> None:
    text, expected = f"before {turn} after", split(turn, reasoning="<think>" in turn)
    found = turn_of(text, len("before "), len("before ") + len(turn))
    assert (text[slice(*found.reasoning)].strip() if found.reasoning else None) == expected.reasoning
    assert (text[slice(*found.answer)] if found.answer else None) == expected.answer


def test_only_the_turn_that_ends_the_conversation_counts(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = [*REASONED, *PLAIN]
    ids, found = ids_of(chat, tokenizer), tokens(chat, tokenizer)
    assert found["reasoning"] == []
    assert ids[: found["last_prompt"][0] + 1] == ids_of(chat[:-1], tokenizer)


def test_words_of_several_tokens_a_character_have_their_end(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = asked("Größer?", "Naïve 😀")
    [end] = tokens(chat, tokenizer)["end"]
    assert tokenizer.decode(ids_of(chat, tokenizer)[: end + 1]).endswith("Naïve 😀")


def test_without_a_chat_template_the_turn_is_found_too(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    found, ids = tokens(REASONED, tokenizer), ids_of(REASONED, tokenizer)
    assert tokenizer.decode(ids[: found["last_prompt"][0] + 1]) == "Is the reactor safe?\n\n"
    assert tokenizer.decode([ids[t] for t in found["reasoning"]]).strip() == "The pressure is 12 bar."


@pytest.mark.parametrize(
    "template", [DROPS_REASONING, CHATML.replace("message['content']", "message['content'] | upper")]
)
def test_a_template_that_hides_the_turn_is_a_sentence(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(CandorError, match=r"drops its reasoning.* would not read it; give the model a `chat_template`"):
        tokens(REASONED, tokenizer)


def test_tokens_that_are_cut_off_are_in_no_span(tokenizer: PreTrainedTokenizerFast) -> None:
    whole, ids = tokens(REASONED, tokenizer), ids_of(REASONED, tokenizer)
    n, middle = len(ids), whole["reasoning"][3]
    left = tokens(REASONED, tokenizer, max_tokens=n - middle + 1)  # the first token, and those from the middle on
    assert left["last_prompt"] == []
    assert left["reasoning"] == [t - middle + 1 for t in whole["reasoning"][3:]]
    assert left["end"] == [whole["end"][0] - middle + 1]
    right = tokens(REASONED, tokenizer, max_tokens=middle, truncate="right")
    assert right == {**whole, "reasoning": whole["reasoning"][:3], "answer_start": [], "end": []}
    dropped = tokens(REASONED, tokenizer, drop_first=whole["last_prompt"][0] + 1)
    assert dropped == {**whole, "last_prompt": []}


# --- the numbers


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("bfloat16", 4e-2)])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_rows_are_means_of_a_plain_forward_pass(
    tiny: Maker, tmp_path: Path, family: str, dtype: str, tolerance: float
) -> None:
    subject = tiny(family, dtype)
    found = extract(subject, tmp_path, batch_tokens=128)
    for i, chat in enumerate(CHATS):
        hidden = one_at_a_time(subject, ids_of(chat, subject.tokenizer))
        for span, at in tokens(chat, subject.tokenizer).items():
            assert found.with_span(span)[i] == bool(at)
            for layer in range(BLOCKS) if at else ():
                expected = hidden[layer][at].mean(0)
                row = found.span(layer, span, [i])
                assert row.dtype == torch.float32
                torch.testing.assert_close(row[0], expected, rtol=0, atol=tolerance * hidden[layer].abs().max().item())


def test_the_budget_of_tokens_changes_nothing_but_rounding(tiny: Maker, tmp_path: Path) -> None:
    one, all_at_once = (extract(tiny(), tmp_path / str(n), batch_tokens=n) for n in (1, 100_000))
    torch.testing.assert_close(one.layer(3), all_at_once.layer(3), rtol=0, atol=1e-4)
    assert torch.equal(one.index("positions"), all_at_once.index("positions"))


def test_a_missing_span_is_marked_and_never_given_out(tiny: Maker, tmp_path: Path) -> None:
    found = extract(tiny(), tmp_path)
    assert found.lengths().tolist() == [4] * len(CHATS)
    assert found.with_span("reasoning") == [True, False, False, False, True, False]
    at = 4 + ALL.index("reasoning")  # of PLAIN
    assert [int(found.index(name)[at]) for name in ("positions", "token_ids", "roles")] == [-1, -1, 0]
    assert not found.layer(0)[at].any()
    with pytest.raises(ActivationsError, match=r"000-of-001.safetensors: 2 examples have no reasoning, first e1"):
        found.span(0, "reasoning", [0, 1, 2])
    assert found.span(0, "reasoning", [4, 0]).shape == (2, WIDTH)


def test_a_row_says_which_token_it_ends_with(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    found, ids = extract(subject, tmp_path), ids_of(REASONED, subject.tokenizer)
    expected = [at[-1] for at in tokens(REASONED, subject.tokenizer).values()]
    assert found.index("positions")[:4].tolist() == expected
    assert found.index("token_ids")[:4].tolist() == [ids[t] for t in expected]
    assert found.index("roles")[:4].tolist() == [0, 3, 3, 3]


def test_n_tokens_counts_each_token_of_any_span_once(tiny: Maker, tmp_path: Path) -> None:
    found = extract(tiny(), tmp_path)
    for chat, n in zip(CHATS, found.n_tokens, strict=True):
        assert n == len({t for at in tokens(chat, tiny().tokenizer).values() for t in at})


def test_an_example_without_any_span_is_empty(tiny: Maker, tmp_path: Path) -> None:
    found = extract(tiny(), tmp_path, [PLAIN, REASONED, PROMPT], spans=["reasoning"])
    assert found.statuses == ["empty", "ok", "empty"]
    assert found.lengths().tolist() == [0, 1, 0]
    assert found.with_span("reasoning") == [False, True, False]
    assert found.span(0, "reasoning", [1]).shape == (1, WIDTH)


def test_a_cut_conversation_is_truncated_and_keeps_what_is_left(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    found = extract(subject, tmp_path, [REASONED, PLAIN], max_tokens=40, truncate="right")
    assert found.statuses[0] == "truncated"
    assert found.with_span("end")[0] is False


def test_an_example_that_is_not_finite_in_a_span_is_marked_alone(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    broken = subject.tokenizer("lazy")["input_ids"][0]
    with torch.no_grad():
        subject.model.get_input_embeddings().weight[broken] = float("nan")
    holds = [broken in ids_of(chat, subject.tokenizer) for chat in CHATS]
    assert extract(subject, tmp_path).statuses == ["not_finite" if each else "ok" for each in holds]
    assert any(holds) and not all(holds)


def test_the_same_conversations_give_the_same_bytes(tiny: Maker, tmp_path: Path) -> None:
    paths = [extract(tiny(), tmp_path / name).paths[0] for name in ("one", "two")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_other_readers_refuse_spans(tiny: Maker, tmp_path: Path) -> None:
    found = extract(tiny(), tmp_path, spans=["end"])
    with pytest.raises(ActivationsError, match=r"holds chosen spans, and no mean over tokens of layer 0"):
        found.means(0)
    with pytest.raises(ActivationsError, match=r"holds no span reasoning, but end; add it to the `spans`"):
        found.span(0, "reasoning", [0])


def test_a_file_of_before_spans_is_still_read(tiny: Maker, tmp_path: Path) -> None:
    """Header.spans has a default, so that a capture of tokens need not be read from the model again."""
    facts = extract(tiny(), tmp_path).header.__dict__
    assert Header(**{name: value for name, value in facts.items() if name != "spans"}).spans == []


def test_only_examples_with_tokens_are_run(tiny: Maker) -> None:
    planned = plan(tiny(), CHATS, capture_of(spans=["answer_start"]))
    assert [bool(kept) for kept in planned.kept] == [True, True, False, False, False, True]
    assert planned.offsets == [0, 1, 2, 2, 2, 2, 3]


# --- the config


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"spans": []}, r"needs `spans` with `store: spans`, and only there"),
        ({"store": "tokens"}, r"needs `spans` with `store: spans`, and only there"),
        ({"positions": [0]}, r"needs `positions` with `store: positions`, and only there"),
        ({"mean_layers": [0]}, r"has `mean_layers`, but with `store: spans` no mean over all tokens is taken"),
        ({"spans": ["end", "end"]}, r"has spans \['end', 'end'\]; name each once"),
        ({"spans": ["middle"]}, r"Input should be 'last_prompt', 'reasoning', 'answer_start' or 'end'"),
        ({"generation_prompt": True}, r"has `generation_prompt`, which `store: spans` adds by itself after a prompt"),
    ],
)
def test_a_capture_that_cannot_be_is_a_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        capture_of(**options)
