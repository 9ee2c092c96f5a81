"""The section `clients`: what is refused before anything is sent, and what a reply depends on."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from candor.config.clients import Anthropic, ClientConfig, Local, OpenAI, takes_both, takes_prefill, tracked

PRICE = {"input": 3, "output": 15}


def parsed(**keys: Any) -> Anthropic | OpenAI | Local:
    config: Anthropic | OpenAI | Local = TypeAdapter(ClientConfig).validate_python(
        {"provider": "openai", "model": "m", "price": PRICE, **keys}
    )
    return config


def refusal(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        parsed(**keys)
    return "; ".join(problem["msg"] for problem in caught.value.errors())


def test_a_remote_client_needs_its_price() -> None:
    with pytest.raises(ValidationError, match="price"):
        TypeAdapter(ClientConfig).validate_python({"provider": "anthropic", "model": "m"})


@pytest.mark.parametrize(
    "body",
    [
        {"api_key": "x"},
        {"headers": {"Authorization": "x"}},
        {"nested": [{"access_token": "x"}]},
        {"plugin": {"setting": "sk-123456"}},
        {"token": "x"},
    ],
)
def test_extra_body_holds_no_credentials(body: dict[str, Any]) -> None:
    assert "looks like a credential" in refusal(extra_body=body)


def test_keys_of_a_service_that_only_look_a_little_like_credentials_are_sent() -> None:
    body = {"logit_bias": {}, "reasoning": {"max_tokens": 5}, "min_tokens": 1, "skip_special_tokens": True}
    assert tracked(parsed(extra_body=body))["extra_body"] == body


@pytest.mark.parametrize("key", ["model", "messages", "max_tokens", "stream", "tools"])
def test_extra_body_does_not_say_again_what_candor_says(key: str) -> None:
    assert "candor sends by itself" in refusal(extra_body={key: 1})


def test_extra_body_makes_nothing_dearer_than_its_price() -> None:
    assert "costs more" in refusal(extra_body={"n": 4})


@pytest.mark.parametrize(
    "url", ["https://user:secret@host/v1", "https://host/v1?key=secret", "https://host/v1#secret", "ftp://host"]
)
def test_an_address_is_one_and_holds_no_credentials(url: str) -> None:
    message = refusal(base_url=url)
    assert "secret" not in message


def test_a_key_that_was_put_where_its_variable_belongs_is_refused_and_not_repeated() -> None:
    message = refusal(key_variable="sk-0123456789abcdef")
    assert "not the name of an environment variable" in message
    assert "0123" not in message


def test_the_service_is_the_address_or_the_provider_where_nothing_else_is_said() -> None:
    assert tracked(parsed())["service"] == "openai"
    assert tracked(parsed(base_url="http://127.0.0.1:8000/v1/"))["service"] == "http://127.0.0.1:8000/v1"
    assert tracked(parsed(base_url="http://127.0.0.1:8000/v1", service="mine"))["service"] == "mine"


def test_what_does_not_change_a_reply_is_not_tracked() -> None:
    one = parsed(service="mine", base_url="http://a/v1")
    other = parsed(
        service="mine",
        base_url="http://b/v1",
        concurrency=1,
        requests_per_minute=5,
        tokens_per_minute=5,
        timeout_s=1,
        retries=0,
        mode="batch",
        key_variable=None,
        price={"input": 0, "output": 0},
    )
    assert tracked(one) == tracked(other)
    for change in ({"model": "other"}, {"extra_body": {"top_k": 1}}, {"structured": "none"}, {"service": "theirs"}):
        assert tracked(parsed(**{"service": "mine", **change})) != tracked(one)


def test_of_a_local_client_the_subject_and_its_batches_are_tracked() -> None:
    local = parsed_local("smollm2")
    assert tracked(local) == {"provider": "local", "subject": "smollm2", "batch_size": "auto"}


def parsed_local(subject: str) -> Local:
    return Local(provider="local", subject=subject)


def test_openai_takes_no_prefill_unless_its_server_does() -> None:
    assert not takes_prefill(parsed())
    assert takes_prefill(parsed(prefill=True))
    assert takes_prefill(parsed(provider="anthropic"))
    assert takes_prefill(parsed_local("smollm2"))


def test_a_prefill_and_a_schema_go_together_where_the_schema_is_not_sent() -> None:
    assert not takes_both(parsed(provider="anthropic"))
    assert takes_both(parsed(provider="anthropic", structured="none"))
    assert takes_both(parsed_local("smollm2"))
