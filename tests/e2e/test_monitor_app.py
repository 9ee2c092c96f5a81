"""The app in a real browser: type, watch tokens stream with scores, switch to Replay; nothing comes from outside."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlparse

import pytest

from candor.monitor.choosing import Choices, read_config
from candor.monitor.engine import converse
from candor.monitor.transcripts import watched
from tests.monitor_project import case_flags, write_project
from tests.unit.test_monitor_cases import export

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
MISSING = [f"pip install {name}" for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
MISSING += [] if CHROMIUM else ["a Chromium on PATH, such as `apt-get install chromium`"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"the app's test needs: {'; '.join(MISSING)}"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
TOKENS = 60
FRAMES = """() => {
  window.frames_seen = new Set();
  new MutationObserver(() => document.querySelectorAll('.candor .verdict').forEach(
    (verdict) => window.frames_seen.add(verdict.innerText))).observe(document.body, {subtree: true, childList: true});
}"""


@pytest.fixture(scope="module")
def choices(tmp_path_factory: pytest.TempPathFactory) -> Choices:
    """A project with its cases."""
    project = write_project(tmp_path_factory.mktemp("project"), max_new_tokens=TOKENS)
    with pytest.MonkeyPatch.context() as patch:
        for task in ("stakes", "states"):
            export(case_flags(project, task), patch)
        patch.chdir(project)
        return Choices(*read_config(), results=project / "results")


@pytest.fixture(scope="module")
def address(choices: Choices) -> Iterator[str]:
    """The app, served on loopback."""
    import gradio

    from candor.monitor import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "BETWEEN", 0)
        yield app.launch(choices, wait=False)
        gradio.close_all()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


def opened(browser: Any, address: str, **screen: Any) -> Any:
    """The page in a context of its own, as another person has it; `asked` are the addresses that it asked."""
    page = browser.new_context(**screen).new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    page.get_by_label("Your message").wait_for()
    return page


def say(page: Any, words: str) -> None:
    page.get_by_label("Your message").fill(words)
    press(page, "Send")


def press(page: Any, button: str) -> None:
    page.get_by_role("button", name=button).click()


def finished(page: Any) -> str:
    """The text, once the answer is whole."""
    page.get_by_text("Tokens as a table").wait_for()
    return str(page.get_by_role("region", name="text with its scores").inner_text())


def test_a_person_types_watches_the_answer_and_its_scores_and_looks_at_cases(
    browser: Any, address: str, choices: Choices, tmp_path: Path
) -> None:
    page = opened(browser, address)
    page.evaluate(FRAMES)
    say(page, "Is the <b>reactor</b> safe? ${1}")
    text = finished(page)
    assert "Is the <b>reactor</b> safe? ${1}" in text and "assistant" in text
    fitting, chat = choices.fitting("stakes"), [{"role": "user", "content": "Is the <b>reactor</b> safe? ${1}"}]
    *_, expected = watched(fitting.watcher, converse(fitting.engine, fitting.place, chat, choices.sampling()))
    row = page.get_by_role("row").filter(has_text="high-stakes").first.inner_text()
    assert f"{expected.scores[0]:+.2f}" in row and f"{fitting.watcher.thresholds['high-stakes']:+.2f}" in row
    assert page.get_by_role("status").filter(has_text=f"{expected.n_read} tokens read").count() == 1
    assert page.evaluate("window.frames_seen.size") >= 3  # it came in pieces
    assert page.locator(".candor .text .t[title]").count() == sum(
        bool(piece) for piece in expected.texts[fitting.watcher.drop_first :]
    )

    page.get_by_role("tab", name="Replay").click()
    page.get_by_text("True label").wait_for()
    assert "low-stakes" in page.locator(".truth").inner_text()
    before = page.get_by_label("Case").input_value()
    page.get_by_role("button", name="Next case").click()
    page.wait_for_function("(before) => document.querySelector('input[aria-label=Case]').value != before", arg=before)
    page.get_by_label("Probe").click()
    page.get_by_role("option", name="The task states").click()
    page.locator(".truth", has_text="normal").wait_for()
    assert [page.get_by_role("row").filter(has_text=name).count() > 0 for name in ("eval_aware", "deceptive")]
    assert page.get_by_role("img", name="probability of normal and eval_aware and deceptive").count() == 1
    page.screenshot(path=tmp_path / "replay.png", full_page=True)
    assert {urlparse(url).hostname for url in page.asked} == {"127.0.0.1"}
    assert address.startswith("http://127.0.0.1:")


def test_two_people_at_once_do_not_mix(browser: Any, address: str) -> None:
    pages = [opened(browser, address) for _ in range(2)]
    words = ["Is the reactor safe?", "the kettle and the sock"]
    for page, own in zip(pages, words, strict=True):
        say(page, own)
    texts = [finished(page) for page in pages]
    assert [[own in text for own in words] for text in texts] == [[True, False], [False, True]]
    say(pages[0], "And the ladder?")
    pages[0].get_by_role("region", name="text with its scores").filter(has_text="And the ladder?").wait_for()
    again = finished(pages[0])
    assert words[0] in again and words[1] not in again
    pages[0].get_by_role("button", name="New conversation").click()
    pages[0].locator(".candor .text").wait_for(state="detached")
    assert words[1] in finished(pages[1])


def test_an_answer_that_is_stopped_stays_as_far_as_it_came(browser: Any, address: str, choices: Choices) -> None:
    page = opened(browser, address)
    usual = choices.app
    choices.app = usual.model_copy(update={"max_new_tokens": 1500})
    try:
        say(page, "Is the reactor safe?")
        page.get_by_text("tokens read …").wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("tokens read, stopped").wait_for()
        page.get_by_label("The model answers").uncheck()
        say(page, "And the sock?")
        page.get_by_role("region", name="text with its scores").filter(has_text="And the sock?").wait_for()
        text = finished(page)
    finally:
        choices.app = usual
    first, second = text.index("assistant"), text.index("And the sock?")
    assert first < second and len(text[first:second]) > len("assistant<|im_end|><|im_start|>user")


@pytest.mark.parametrize("leave", [lambda page: page.close(), lambda page: press(page, "New conversation")])
def test_who_leaves_in_mid_stream_leaves_nothing_behind(
    browser: Any, address: str, choices: Choices, monkeypatch: pytest.MonkeyPatch, leave: Callable[[Any], None]
) -> None:
    ended = Event()

    def listened(*given: Any) -> Iterator[Any]:
        try:
            yield from converse(*given)
        finally:
            ended.set()

    monkeypatch.setattr("candor.monitor.app.converse", listened)
    monkeypatch.setattr(choices, "app", choices.app.model_copy(update={"max_new_tokens": 1500}))
    page = opened(browser, address)
    say(page, "Is the reactor safe?")
    page.get_by_text("tokens read …").wait_for()
    leave(page)
    assert ended.wait(30)
    if not page.is_closed():
        page.locator(".candor .text").wait_for(state="detached")
        page.get_by_label("The model answers").uncheck()
        say(page, "And the sock?")
        assert "reactor" not in finished(page)


def test_results_that_are_missing_and_letters_that_are_none_are_sentences(
    browser: Any, address: str, choices: Choices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = opened(browser, address)
    say(page, '[{"role": "user", "content": "half a character: \\ud800"}]')
    page.get_by_role("alert").filter(has_text="the text is not UTF-8").wait_for()
    say(page, "kettle " * 3000)
    page.get_by_text("The text is too long to be read whole").wait_for()
    monkeypatch.setattr(choices, "results", tmp_path)
    page.get_by_role("tab", name="Replay").click()
    page.get_by_role("alert").filter(has_text="stakes.json: no such file; `snakemake").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_screen_nothing_runs_over_and_the_keyboard_is_enough(
    browser: Any, address: str, scheme: str
) -> None:
    page = opened(browser, address, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.get_by_label("Your message").focus()
    page.keyboard.type("Is the reactor safe?")
    page.keyboard.press("Shift+Enter")
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in ("Send", "Stop", "New conversation"):
        button = page.get_by_role("button", name=name)
        assert button.evaluate("each => each.scrollWidth <= each.clientWidth"), name
    region = page.get_by_role("region", name="text with its scores")
    region.focus()
    page.keyboard.press("Home")
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("columnheader", name="place").wait_for()


def test_behind_a_proxy_the_app_starts_all_the_same(choices: Choices, monkeypatch: pytest.MonkeyPatch) -> None:
    from candor.monitor import app

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.org")
    assert app.launch(choices, wait=False).startswith("http://127.0.0.1:")


def test_a_pasted_chat_is_read_and_what_does_not_fit_is_a_sentence(browser: Any, address: str) -> None:
    page = opened(browser, address)
    say(page, "user: Is it safe?\nassistant: Evacuate.")
    assert finished(page).strip().endswith("Evacuate.<|im_end|>")
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name="twin").click()
    say(page, "And now?")
    alert = page.get_by_role("alert").filter(
        has_text="is a probe of small with subject small, and twin has subject twin"
    )
    alert.wait_for()
    assert page.get_by_label("Your message").input_value() == "And now?"  # nothing that was typed is lost
    say(page, "  ")
    page.get_by_role("alert").filter(has_text="Write a message first.").wait_for()
