"""Budgets and prices: nothing is sent that could pass the budget."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from candor.chat.ledger import Ledger, LedgerError
from candor.chat.messages import ChatRequest, ChatSampling, Message
from candor.chat.pricing import estimated_input, estimated_tokens, usd, worst_case
from candor.config.clients import Price

PRICE = Price(input=3, output=15)


def test_what_is_set_aside_gives_way_to_what_was_spent(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "ledger", 1.0)
    assert ledger.spent() == 0
    assert ledger.reserve(0.6)
    assert ledger.spent() == 0.6
    ledger.settle(0.6, 0.1)
    assert ledger.spent() == 0.1


def test_a_budget_is_used_up_to_its_last_cent_and_not_passed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", 0.3)
    assert [ledger.reserve(0.1) for _ in range(4)] == [True, True, True, False]
    assert ledger.spent() == 0.3


def test_requests_without_a_price_need_no_budget(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "ledger", 0.0).reserve(0.0)


def test_what_a_killed_job_had_set_aside_counts_as_spent(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger", 1.0).reserve(0.75)
    assert not Ledger(tmp_path / "ledger", 1.0).reserve(0.5)


def test_a_greater_budget_goes_on_where_the_smaller_one_stopped(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger", 1.0).reserve(1.0)
    assert Ledger(tmp_path / "ledger", 1.5).reserve(0.5)


def test_many_at_once_do_not_pass_the_budget(tmp_path: Path) -> None:
    def spend(i: int) -> bool:
        ledger = Ledger(tmp_path / "ledger", 0.05)
        if not ledger.reserve(0.001):
            return False
        ledger.settle(0.001, 0.001 if i % 2 else 0.0005)
        return True

    with ThreadPoolExecutor(4) as pool:
        sent = sum(pool.map(spend, range(200)))
    assert 50 <= sent < 100
    assert 0.049 <= Ledger(tmp_path / "ledger", 1).spent() <= 0.05


def test_many_small_sums_add_up_exactly(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", 1.0)
    for _ in range(100):
        assert ledger.reserve(0.0001)
        ledger.settle(0.0001, 0.000003)
    assert ledger.spent() == 0.0003


def test_a_file_that_is_none_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("12 dollars\n", encoding="ascii")
    with pytest.raises(LedgerError, match="should hold the dollars"):
        Ledger(tmp_path / "ledger", 1.0).reserve(0.1)


def test_a_file_reads_as_dollars(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger", 100.0).reserve(12.5)
    assert (tmp_path / "ledger").read_text(encoding="ascii").strip() == "12.500000000"


def request(text: str, **keys: object) -> ChatRequest:
    return ChatRequest((Message("user", text),), ChatSampling(max_tokens=100), **keys)  # type: ignore[arg-type]


def test_tokens_cost_their_price_and_less_in_a_batch() -> None:
    assert usd(1_000_000, 1_000_000, PRICE) == 18
    assert usd(1_000_000, 1_000_000, PRICE, batch=True) == 9


def test_at_the_worst_a_byte_is_a_token_and_a_reply_as_long_as_may_be() -> None:
    assert worst_case(request("ä" * 500), PRICE) == usd(1000 + 64 + 16, 100, PRICE)
    assert worst_case(request("a", schema={"type": "object"}), PRICE) > worst_case(request("a"), PRICE)


def test_an_estimate_is_below_the_worst_case() -> None:
    long = request("lorem ipsum " * 100)
    assert estimated_tokens("lorem ipsum ") == 3
    assert usd(estimated_input(long), 100, PRICE) < worst_case(long, PRICE)
