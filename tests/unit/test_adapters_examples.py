"""What of a conversation is prompt, and what is completion."""

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from candor.adapters.examples import encode, encode_all
from candor.chat_text import open_turn, token_ids
from candor.errors import CandorError

LLAMA = (
    "{{ '<|im_start|>' }}{% for message in messages %}"
    "{{ '[' + message['role'] + ']\n\n' + message['content'] | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]\n\n' }}{% endif %}"
)
OPENS_REASONING = (
    "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]<think>\n{% endif %}"
)
DROPS_REASONING = (
    "{% for message in messages %}[{{ message['role'] }}]{{ message['content'].split('</think>')[-1] }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
ENDS_NO_TURN = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
REASONED = "<think>\nIs it safe? I do not know.\n</think>\n\nWait for the pressure to fall."
CHAT = [{"role": "user", "content": "Is the reactor safe?"}, {"role": "assistant", "content": REASONED}]


def parts(tokenizer: PreTrainedTokenizerFast, chat: list[dict[str, str]] = CHAT) -> tuple[str, str]:
    """The texts of an example's prompt and completion."""
    found = encode(chat, tokenizer)
    prompt, completion = found.token_ids[: found.n_prompt], found.token_ids[found.n_prompt :]
    assert found.n_completion == len(completion)
    return str(tokenizer.decode(prompt)), str(tokenizer.decode(completion))


def test_the_completion_is_the_last_turn_with_its_end_token(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt, completion = parts(tokenizer)
    assert prompt == "<|im_start|>user\nIs the reactor safe?<|im_end|>\n<|im_start|>assistant\n"
    assert completion == REASONED + "<|im_end|>"  # without the line break that the template puts between turns


@pytest.mark.parametrize("template", [None, LLAMA, OPENS_REASONING], ids=["chatml", "llama", "opens reasoning"])
def test_prompt_and_completion_are_the_whole_conversation_and_the_prompt_what_generation_sees(
    tokenizer: PreTrainedTokenizerFast, template: str | None
) -> None:
    tokenizer.chat_template = template or tokenizer.chat_template
    found = encode(CHAT, tokenizer)
    whole = list(tokenizer.apply_chat_template(CHAT, return_dict=True)["input_ids"])
    assert found.token_ids == whole[: len(found.token_ids)]
    assert str(tokenizer.decode(whole[len(found.token_ids) :])).strip() == ""
    assert found.token_ids[: found.n_prompt] == token_ids(open_turn(CHAT[:-1], tokenizer).text, tokenizer)


def test_a_template_that_opens_the_reasoning_leaves_its_words_to_be_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = OPENS_REASONING
    prompt, completion = parts(tokenizer)
    assert prompt.endswith("[assistant]<think>\n")
    assert completion == REASONED.removeprefix("<think>\n") + "<|im_end|>"


def test_where_tokens_would_reach_across_the_border_both_parts_are_cut_for_themselves(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}{% endif %}"
    )
    whole = "The quick"
    for cut in range(1, len(whole)):
        chat = [{"role": "user", "content": whole[:cut]}, {"role": "assistant", "content": whole[cut:]}]
        found = encode(chat, tokenizer)
        assert found.token_ids[: found.n_prompt] == token_ids(whole[:cut], tokenizer)
        assert parts(tokenizer, chat) == (whole[:cut], whole[cut:] + "<|im_end|>")


@pytest.mark.parametrize("template", [ENDS_NO_TURN, ""], ids=["no end of turn", "no template"])
def test_without_an_end_of_turn_the_end_token_is_learned(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    tokenizer.chat_template = template
    assert parts(tokenizer)[1].split("pressure to fall.")[1].strip() == "<|im_end|>"


def test_earlier_turns_of_the_assistant_are_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt, completion = parts(tokenizer, [*CHAT, {"role": "user", "content": "How long?"}, CHAT[1]])
    assert REASONED in prompt
    assert completion == REASONED + "<|im_end|>"


def rows(*lengths: int) -> list[dict[str, Any]]:
    return [
        {"example_id": f"r{n}", "messages": [CHAT[0], {"role": "assistant", "content": "brown fox " * n}]}
        for n in lengths
    ]


def test_long_examples_are_left_out_whole_and_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    lengths = [len(each.token_ids) for each in encode_all(rows(1, 2, 3, 9), tokenizer, 1000, "d@train").examples]
    found = encode_all(rows(1, 2, 3, 9), tokenizer, lengths[1], "d@train")
    assert [len(each.token_ids) for each in found.examples] == lengths[:2]
    assert found.n_skipped == 2


def test_when_all_are_too_long_the_error_says_how_long_the_shortest_is(tokenizer: PreTrainedTokenizerFast) -> None:
    shortest = len(encode(rows(5)[0]["messages"], tokenizer).token_ids)
    sentence = f"d@train: all 2 examples are longer than max_tokens: 8, the shortest has {shortest} tokens"
    with pytest.raises(CandorError, match=sentence):
        encode_all(rows(9, 5), tokenizer, 8, "d@train")


@pytest.mark.parametrize("chat", [CHAT[:1], CHAT[1:], [*CHAT, CHAT[0]]], ids=["no answer", "no prompt", "no last"])
def test_a_row_that_teaches_nothing_is_named(tokenizer: PreTrainedTokenizerFast, chat: list[dict[str, str]]) -> None:
    with pytest.raises(CandorError, match="d@train, example r1: does not end with an assistant's turn"):
        encode_all([{"example_id": "r1", "messages": chat}], tokenizer, 100, "d@train")


def test_a_template_that_rewrites_the_turn_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = DROPS_REASONING
    with pytest.raises(CandorError, match="chat template rewrites the last turn"):
        encode(CHAT, tokenizer)
