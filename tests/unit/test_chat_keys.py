"""Keys: where they come from, and where they never go."""

from pathlib import Path

import pytest

from candor.chat.keys import MissingKey, key_of, scrub
from candor.config.clients import OpenAI, Price

KEY = "sk-planted+0123456789/abc"


def client(variable: str | None = "PLANTED_KEY") -> OpenAI:
    return OpenAI(provider="openai", model="m", key_variable=variable, price=Price(input=0, output=0))


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLANTED_KEY", "")  # so that what .env sets is undone
    monkeypatch.delenv("PLANTED_KEY")


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", f" {KEY}\n")
    assert key_of(client()) == KEY


def test_a_key_comes_from_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"PLANTED_KEY='{KEY}'\n", encoding="utf-8")
    assert key_of(client()) == KEY


def test_the_environment_goes_before_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PLANTED_KEY=other\n", encoding="utf-8")
    monkeypatch.setenv("PLANTED_KEY", KEY)
    assert key_of(client()) == KEY


def test_a_missing_key_is_named_by_its_variable() -> None:
    with pytest.raises(MissingKey, match=r"'m' \(openai\) needs a key: set PLANTED_KEY"):
        key_of(client())


def test_what_cannot_be_a_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", "se cret")
    with pytest.raises(MissingKey) as caught:
        key_of(client())
    assert "cret" not in str(caught.value)


def test_a_server_without_keys_needs_none() -> None:
    assert key_of(client(None)) is None


@pytest.mark.parametrize("form", [KEY, "sk-planted%2B0123456789%2Fabc"])
def test_a_key_is_taken_out_in_each_of_its_forms(form: str) -> None:
    assert scrub(f"refused: {form}!", [KEY]) == "refused: [key]!"


def test_what_is_too_short_for_a_key_is_left_alone() -> None:
    assert scrub("one two", ["one"]) == "one two"
