"""Which tokens of a prompt and its response are stored, and whose words they are."""

from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import PreTrainedTokenizerFast

from candor.activations.places import evenly, places, prompt_roles
from candor.chat_text import ROLE_CODES, encode, open_turn
from candor.config.captures import Capture
from candor.config.capturing import unfit_sampling
from candor.config.samplings import Sampling

PROMPT, READ = 6, 16
"""A prompt of six tokens, at 0 to 5, and ten of a response that were read."""


def capture_of(**keys: Any) -> Capture:
    return Capture(subject="tiny", layers=[1], **{"sampling": "drawn", "store": "positions", **keys})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"positions": "even", "k": 4, "of": "response"}, [6, 9, 12, 15]),
        ({"positions": "even", "k": 1, "of": "response"}, [15]),
        ({"positions": "even", "k": 10, "of": "response"}, list(range(6, 16))),
        ({"positions": "even", "k": 99, "of": "response"}, list(range(6, 16))),
        ({"positions": "even", "k": 3, "of": "prompt"}, [1, 3, 5]),
        ({"positions": "even", "k": 3, "of": "prompt", "drop_first": 4}, [4, 5]),
        ({"positions": "even", "k": 3, "of": "text"}, [1, 8, 15]),
        ({"positions": "even", "k": 3, "of": "text", "drop_first": 10}, [10, 13, 15]),
        ({"positions": "last_prompt"}, [5]),
        ({"positions": "last_prompt", "drop_first": 6}, []),
        ({"positions": "ends"}, [6, 15]),
        ({"positions": "ends", "drop_first": 9}, [9, 15]),
        ({"positions": "all", "of": "response"}, list(range(6, 16))),
        ({"positions": "all", "of": "prompt"}, list(range(1, 6))),
        ({"positions": "all", "of": "text", "drop_first": 0}, list(range(16))),
        ({"positions": [0, -1, 14, 15, -15, -16]}, [1, 15]),
        ({"store": "tokens"}, list(range(1, 16))),
        ({"store": "tokens", "drop_first": 99}, []),
    ],
)
def test_each_policy_chooses_its_tokens(keys: dict[str, Any], expected: list[int]) -> None:
    assert places(capture_of(**keys), PROMPT, READ) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"positions": "even", "k": 5, "of": "response"}, []),
        ({"positions": "ends"}, []),
        ({"positions": "all", "of": "response"}, []),
        ({"positions": "last_prompt"}, [5]),
        ({"positions": "even", "k": 2, "of": "text"}, [1, 5]),
    ],
)
def test_a_response_that_ended_at_once_has_no_token_that_was_read(keys: dict[str, Any], expected: list[int]) -> None:
    assert places(capture_of(**keys), PROMPT, PROMPT) == expected


def test_a_response_of_one_token_has_one_row_not_two() -> None:
    assert places(capture_of(positions="ends"), PROMPT, PROMPT + 1) == [PROMPT]


def test_a_token_that_two_indices_name_is_stored_once_in_their_order() -> None:
    assert places(capture_of(positions=[0, -1]), 1, 2) == [1]
    assert places(capture_of(positions=[-1, 0, 2]), PROMPT, 4) == [3, 1]


@pytest.mark.parametrize("n", range(1, 40))
def test_evenly_spread_tokens_are_distinct_ascending_and_reach_both_ends(n: int) -> None:
    for k in range(2, 45):
        found = evenly(range(100, 100 + n), k)
        assert len(found) == min(n, k) and found == sorted(set(found))
        assert (found[0], found[-1]) == (100, 99 + n)
        gaps = {b - a for a, b in pairwise(found)}
        assert max(gaps, default=0) - min(gaps, default=0) <= 1


class TestRoles:
    def test_a_prompt_has_the_roles_of_its_chat_text(self, tokenizer: PreTrainedTokenizerFast) -> None:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Is the user safe? "}]
        expected = encode(messages, tokenizer, 999, "right", generation_prompt=True).roles
        assert prompt_roles(messages, tokenizer) == expected
        assert {*expected} == {ROLE_CODES[role] for role in ("template", "system", "user")}

    @pytest.mark.parametrize(("begun", "prefill"), [("Well, I", ""), ("", "Well, I"), ("Well, ", "I")])
    def test_what_begins_the_assistant_s_turn_is_the_assistant_s(
        self, tokenizer: PreTrainedTokenizerFast, begun: str, prefill: str
    ) -> None:
        messages = [{"role": "user", "content": "Is it safe?"}]
        if begun:
            messages.append({"role": "assistant", "content": begun})
        ids = tokenizer(open_turn(messages, tokenizer, prefill).text)["input_ids"]
        roles = prompt_roles(messages, tokenizer, prefill)
        assert len(roles) == len(ids)
        words = [id for id, role in zip(ids, roles, strict=True) if role == ROLE_CODES["assistant"]]
        assert tokenizer.decode(words) == "Well, I"
        assert roles[-len(words) :] == [ROLE_CODES["assistant"]] * len(words)


class TestConfig:
    @pytest.mark.parametrize(
        ("keys", "sentence"),
        [
            (
                {"positions": "ends", "sampling": None},
                "`positions: ends`, which tells prompt from response and so needs a",
            ),
            ({"positions": "even", "of": "text"}, "needs `k` with `positions: even`, and only there"),
            ({"positions": "ends", "k": 3}, "needs `k` with `positions: even`, and only there"),
            ({"positions": "even", "k": 3}, "needs `of` with `positions: even` or `positions: all`, and only there"),
            ({"positions": [-1], "of": "text"}, "needs `of` with `positions: even` or `positions: all`, and only"),
            ({"positions": "ends", "store": "tokens"}, "needs `positions` with `store: positions`, and only there"),
            ({}, "needs `positions` with `store: positions`, and only there"),
            ({"positions": [0, -1, 0]}, "has positions [0, -1, 0]; name each once"),
            (
                {"store": "mean"},
                "has `store: mean`, which is read in a second pass; with a `sampling` take `store: pos",
            ),
            ({"store": "spans", "spans": ["end"]}, "has `store: spans`, which is read in a second pass"),
            ({"positions": "ends", "hook": "input_layernorm"}, "the output of blocks is read: take `hook: residual`"),
            ({"positions": "ends", "max_tokens": 9}, "has `max_tokens`, which bears on a second pass alone"),
            ({"store": "tokens", "mean_layers": [0]}, "has `mean_layers`, which bears on a second pass alone"),
            ({"store": "tokens", "log_probs": True}, "has `log_probs`, which bears on a second pass alone"),
            (
                {"store": "tokens", "sampling": None, "checkpoint_every": 3},
                "has `checkpoint_every`, which is of captures with a `sampling`",
            ),
        ],
    )
    def test_what_does_not_fit_is_a_sentence(self, keys: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValidationError) as error:
            capture_of(**keys)
        assert sentence in str(error.value)

    def test_a_capture_stays_one_when_its_defaults_are_written_out(self) -> None:
        capture = capture_of(positions="even", k=5, of="response", checkpoint_every=100)
        assert Capture.model_validate({**capture.model_dump(mode="json"), "batch_tokens": 1024}).k == 5

    @pytest.mark.parametrize(
        ("keys", "sentence"),
        [
            ({}, None),
            ({"reasoning": "native"}, None),
            ({"reasoning": "prompted"}, "take reasoning: native or none"),
            ({"n": 3}, "draws 3 responses a prompt, where activations are stored of one; take n: 1"),
            ({"engine": "vllm"}, "has engine: vllm, which cannot be watched; take engine: transformers"),
        ],
    )
    def test_which_samplings_fit(self, keys: dict[str, Any], sentence: str | None) -> None:
        found = list(unfit_sampling(Sampling(**keys)))
        assert len(found) == (sentence is not None)
        assert sentence is None or sentence in found[0]
