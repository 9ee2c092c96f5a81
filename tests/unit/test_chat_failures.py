"""What the errors of a service mean: some heal, some end a row, some stop the job."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from candor.chat.failures import of_status, retry_after, words_of


@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_heal_is_asked_again(code: int) -> None:
    failure = of_status(code, "later", {})
    assert failure.heals
    assert failure.stop is None


@pytest.mark.parametrize("code", [400, 405, 413, 422])
def test_what_cannot_heal_ends_the_row(code: int) -> None:
    failure = of_status(code, "too long", {})
    assert (failure.heals, failure.stop, failure.billed) == (False, None, False)
    assert failure.remark == f"HTTP {code}: too long"


@pytest.mark.parametrize(
    ("code", "words", "about", "advice"),
    [
        (401, "Incorrect API key", "invalid_api_key", "valid one"),
        (402, "pay", "", "credit"),
        (403, "not allowed", "permission_error", "another key"),
        (404, "no such model", "model_not_found", "`model`"),
        (307, "", "", "`base_url`"),
        (429, "You exceeded your current quota", "insufficient_quota", "credit"),
        (400, "Your credit balance is too low", "invalid_request_error", "credit"),
        (403, "blocked", "permission_error enforced_spend_limit_reached", "credit"),
        (400, "Unsupported value: 'temperature'", "unsupported_value", "sampling"),
        (400, "Prefilling assistant messages is not supported for this model", "", "prefill"),
    ],
)
def test_what_no_request_can_outlive_stops_the_job_with_advice(code: int, words: str, about: str, advice: str) -> None:
    stop = of_status(code, words, {}, about).stop
    assert stop is not None
    assert advice in stop


def test_a_rate_limit_that_mentions_billing_is_still_a_rate_limit() -> None:
    words = "Rate limit reached. You can increase it by adding a payment method at platform.openai.com/account/billing."
    assert of_status(429, words, {}, "requests rate_limit_exceeded").heals


@pytest.mark.parametrize(
    ("code", "words", "about"),
    [(400, "filtered", "content_filter"), (403, "your input was flagged", ""), (400, "flagged", "invalid_prompt")],
)
def test_a_service_that_will_not_answer_a_text_has_refused(code: int, words: str, about: str) -> None:
    failure = of_status(code, words, {}, about)
    assert failure.refused
    assert failure.stop is None


def test_only_time_outs_may_have_been_billed() -> None:
    assert {code for code in (408, 409, 429, 500, 502, 503, 504, 524, 529) if of_status(code, "", {}).billed} == {
        408,
        504,
        524,
    }


def test_a_service_says_how_long_to_wait() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert 20 < (retry_after({"retry-after": soon}) or 0) <= 30
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "-3"}) == 0
    assert retry_after({}) is None


def test_the_words_of_an_error_are_found_wherever_a_service_puts_them() -> None:
    assert words_of({"type": "error", "error": {"type": "billing_error", "message": "pay"}}) == ("pay", "billing_error")
    assert words_of({"message": "no", "code": "c", "param": "p"}) == ("no", "c p")
    assert words_of({"error": "plain"}) == ("plain", "")
    assert words_of("<html>") == ("", "")
    assert words_of(None) == ("", "")
