"""Whose words each token of a conversation is, and how a long one is cut."""

import pytest
from transformers import PreTrainedTokenizerFast

from candor.chat_text import ROLE_CODES, encode, render
from candor.errors import CandorError

LLAMA = (
    "{{ '<|begin|>' }}{% for message in messages %}"
    "{{ '<|header|>' + message['role'] + '<|/header|>\n\n' + message['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|header|>assistant<|/header|>\n\n' }}{% endif %}"
)
QWEN = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' and '</think>' in message['content'] %}"
    "{{ message['content'].split('</think>')[-1].lstrip() }}{% else %}{{ message['content'] }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOLLM = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
)
TEMPLATES = {"llama": LLAMA, "qwen": QWEN, "smollm": SMOLLM}
CHAT = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "Is the reactor safe?"},
    {"role": "assistant", "content": "Wait for the pressure to fall."},
    {"role": "user", "content": "How long?"},
]


def words(
    messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerFast, template: str | None, **options: bool
) -> list[tuple[str, str]]:
    """(role, text) of each run of tokens with one role, without the runs of the template."""
    tokenizer.chat_template = template
    encoded = encode(messages, tokenizer, 10_000, "left", **options)
    assert len(encoded.token_ids) == len(encoded.roles)
    names = {code: name for name, code in ROLE_CODES.items()}
    runs: list[tuple[str, list[int]]] = []
    for token, role in zip(encoded.token_ids, encoded.roles, strict=True):
        if not runs or runs[-1][0] != names[role]:
            runs.append((names[role], []))
        runs[-1][1].append(token)
    return [(role, tokenizer.decode(ids).strip()) for role, ids in runs if role != "template"]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_each_message_has_its_own_words(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    assert words(CHAT, tokenizer, template) == [(m["role"], m["content"]) for m in CHAT]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_the_generation_prompt_is_of_the_template(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    assert words(CHAT, tokenizer, template, generation_prompt=True) == words(CHAT, tokenizer, template)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_messages_that_repeat_each_other_are_told_apart(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    chat = [{"role": role, "content": "Again."} for role in ("user", "assistant", "user", "assistant")]
    assert words(chat, tokenizer, template) == [(m["role"], "Again.") for m in chat]


@pytest.mark.parametrize("content", ["user", "a", "s", "assistant", "You are a helpful", "Hugging Face", "header"])
@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_words_that_the_template_holds_too_are_found_in_their_own_place(
    tokenizer: PreTrainedTokenizerFast, template: str, content: str
) -> None:
    chat = [{"role": "user", "content": content}, {"role": "assistant", "content": content}]
    assert words(chat, tokenizer, template) == [("user", content), ("assistant", content)]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_an_empty_message_has_no_words(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    chat = [{"role": "system", "content": ""}, CHAT[1], {"role": "assistant", "content": " \n"}, CHAT[3]]
    assert words(chat, tokenizer, template) == [("user", CHAT[1]["content"]), ("user", CHAT[3]["content"])]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_space_around_a_message_does_not_matter(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    chat = [{"role": m["role"], "content": f"\n {m['content']} \n\n"} for m in CHAT]
    assert words(chat, tokenizer, template) == words(CHAT, tokenizer, template)


def test_reasoning_that_the_template_drops_leaves_the_answer_to_its_author(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = [CHAT[1], {"role": "assistant", "content": "<think>Hm.</think>\n\nNo."}, CHAT[3]]
    assert words(chat, tokenizer, QWEN) == [
        ("user", CHAT[1]["content"]),
        ("assistant", "No."),
        ("user", CHAT[3]["content"]),
    ]


def test_without_a_template_the_turns_follow_each_other(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    assert render(CHAT, tokenizer, False) == "\n\n".join(m["content"] for m in CHAT)
    assert words(CHAT, tokenizer, None) == [(m["role"], m["content"]) for m in CHAT]


def test_accents_of_several_bytes_keep_their_role(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = [{"role": "user", "content": "größer 😀"}, {"role": "assistant", "content": "Ünïcödé"}]
    assert words(chat, tokenizer, LLAMA) == [("user", "größer 😀"), ("assistant", "Ünïcödé")]


def test_messages_that_a_template_refuses_are_a_sentence(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(CandorError, match=r"refuses messages with the roles system, user.*System role not supported"):
        words(CHAT[:2], tokenizer, GEMMA)


def test_a_long_conversation_is_cut_on_the_left_behind_its_first_token(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = encode(CHAT, tokenizer, 10_000, "left")
    cut = encode(CHAT, tokenizer, 12, "left")
    assert cut.token_ids == [whole.token_ids[0], *whole.token_ids[-11:]]
    assert cut.roles == [whole.roles[0], *whole.roles[-11:]]
    assert (whole.truncated, cut.truncated) == (False, True)


def test_a_long_conversation_is_cut_on_the_right(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = encode(CHAT, tokenizer, 10_000, "right")
    cut = encode(CHAT, tokenizer, 12, "right")
    assert (cut.token_ids, cut.roles, cut.truncated) == (whole.token_ids[:12], whole.roles[:12], True)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_conversation_of_just_the_longest_length_is_not_cut(tokenizer: PreTrainedTokenizerFast, side: str) -> None:
    n = len(encode(CHAT, tokenizer, 10_000, side).token_ids)
    assert not encode(CHAT, tokenizer, n, side).truncated
    assert len(encode(CHAT, tokenizer, 1, side).token_ids) == 1
