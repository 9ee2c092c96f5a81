"""How an assistant's turn is taken apart and put together."""

import pytest

from candor.responses import Response, join, split

TURNS = {
    "a whole turn": ("<think>\nWhy.\n</think>\n\nYes.", Response("Why.", "Yes.", "ok")),
    "no space anywhere": ("<think>Why.</think>Yes.", Response("Why.", "Yes.", "ok")),
    "lines and space inside are kept": ("<think> a\n\n b </think> c\n\n d ", Response("a\n\n b", "c\n\n d", "ok")),
    "braces are text": ("<think>{x}</think>{prompt} {", Response("{x}", "{prompt} {", "ok")),
    "words before the reasoning are neither": ("Well, <think>Why.</think>Yes.", Response("Why.", "Yes.", "ok")),
    "nested tags: the first close ends it": (
        "<think>a <think>b</think> c</think> d",
        Response("a <think>b", "c</think> d", "ok"),
    ),
    "several blocks: the first is the reasoning": (
        "<think>a</think> b <think>c</think> d",
        Response("a", "b <think>c</think> d", "ok"),
    ),
    "a close before the open does not count": ("</think> a <think>b</think> c", Response("b", "c", "ok")),
    "no tags": (" Yes. ", Response(None, "Yes.", "no_reasoning")),
    "only a close": ("Why.</think>Yes.", Response(None, "Why.</think>Yes.", "no_reasoning")),
    "not closed": ("<think>Why. Yes.", Response(None, None, "no_reasoning")),
    "empty reasoning": ("<think> \n</think>Yes.", Response(None, "Yes.", "no_reasoning")),
    "no answer": ("<think>Why.</think> \n", Response("Why.", None, "empty")),
    "neither": ("<think></think>", Response(None, None, "no_reasoning")),
    "nothing": ("", Response(None, None, "no_reasoning")),
}


@pytest.mark.parametrize(("text", "expected"), TURNS.values(), ids=TURNS.keys())
def test_a_turn_in_which_reasoning_is_expected(text: str, expected: Response) -> None:
    assert split(text, reasoning=True) == expected


@pytest.mark.parametrize("text", ["Yes.", " Yes.\n", "<think>Why.</think>Yes.", "{}"])
def test_where_no_reasoning_is_expected_the_answer_is_the_text(text: str) -> None:
    assert split(text, reasoning=False) == Response(None, text, "ok")


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_text_of_space_is_empty(text: str) -> None:
    assert split(text, reasoning=False) == Response(None, None, "empty")


@pytest.mark.parametrize(
    ("reasoning", "answer"), [("Why.", "Yes."), ("{a}\n<think>", "b</think> {c}"), ("ä\n\nb", "c")]
)
def test_parts_are_found_again(reasoning: str, answer: str) -> None:
    assert split(join(reasoning, answer), reasoning=True) == Response(reasoning, answer, "ok")


def test_the_one_format() -> None:
    assert join("Why.", "Yes.") == "<think>\nWhy.\n</think>\n\nYes."
    assert join(" Why.\n", "\nYes. ") == join("Why.", "Yes.")


def test_a_close_inside_the_reasoning_does_not_end_it() -> None:
    assert split(join("a </think> b", "c"), reasoning=True) == Response("a  b", "c", "ok")
