"""The app: Live, in which a probe watches a model answer, and Replay, which shows held-out cases.

Everything comes from this process: fonts are the system's, nothing is fetched, and the address is loopback's unless
the config says otherwise.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# read when gradio is imported: without it, it would ask its makers for their newest version
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

from candor.errors import CandorError
from candor.monitor import drawing
from candor.monitor.cases import Cases
from candor.monitor.choosing import Choices, Fitting
from candor.monitor.engine import converse
from candor.monitor.reports import chat_of, read_chat
from candor.monitor.transcripts import Transcript, watched

BETWEEN = 0.1
"""Seconds between two pictures of a conversation: more often than that nobody reads."""
REST = 4
"""How many times as long as a picture takes nothing is drawn, so that a long conversation is not slowed by pictures."""
AT_ONCE = 8
"""Conversations that are held side by side; more of them wait."""
PAGE = """
footer{display:none !important}
.gradio-container{width:100% !important;max-width:66rem !important;margin:0 auto !important}
.gradio-container main,.gradio-container .main{width:100%}
.gradio-container input[aria-label]:not([type=checkbox]){text-overflow:ellipsis;padding-right:2rem !important}
"""
Messages = list[dict[str, str]]


def build(choices: Choices) -> gr.Blocks:
    """The app over what can be watched."""
    probes = [(f"{choice.title} ({id})", id) for id, choice in choices.probes.items()]
    app = gr.Blocks(analytics_enabled=False, title="candor's monitor")
    with app:
        gr.Markdown("# Monitor\nA probe reads a model's inner state, token by token.")
        with gr.Row():
            probe = gr.Dropdown(probes, value=choices.default, label="Probe", min_width=280)
            subject = gr.Dropdown(
                choices.subjects, value=choices.choice(choices.default).subject, label="Model", min_width=280
            )
        probe.change(lambda id: choices.choice(id).subject, probe, subject, show_progress="hidden")
        with gr.Tab("Live"):
            _live(choices, probe, subject)
        with gr.Tab("Replay") as replay:
            _replay(choices, probe, replay)
    return app


def launch(choices: Choices, wait: bool = True) -> str:
    """Serve the app; its address. With `wait` it is printed, and this ends when the app is stopped."""
    app = build(choices)
    # gradio asks its own address whether it is up, which no proxy reaches
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), choices.app.host, "localhost", "127.0.0.1"]))
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    theme.set(input_placeholder_color="*neutral_500", input_placeholder_color_dark="*neutral_400")
    _, address, _ = app.queue(default_concurrency_limit=AT_ONCE).launch(
        server_name=choices.app.host,
        server_port=choices.app.port,
        share=False,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        footer_links=[],
        theme=theme,
        css=drawing.STYLE + PAGE,
    )
    if wait:
        print(f"The monitor is at {address} (Ctrl-C stops it).", flush=True)
        app.block_thread()
    return str(address)


def _live(choices: Choices, probe: Any, subject: Any) -> None:
    messages = gr.State([])
    written = gr.Textbox(
        label="Your message",
        placeholder="Write to the model, or paste a chat: turns that begin with user: or assistant:, or a JSON list. "
        "Shift and Enter send it.",
        lines=3,
        max_lines=12,
    )
    with gr.Row():
        send = gr.Button("Send", variant="primary", min_width=90)
        stop = gr.Button("Stop", min_width=90)
        clear = gr.Button("New conversation", min_width=170)
    answers = gr.Checkbox(True, label="The model answers (without: the text is only read)")
    shown = gr.HTML(label="The conversation and its scores")

    def talk(text: str, before: Messages, model: str, id: str, answer: bool) -> Iterator[tuple[Any, Any, Any]]:
        try:
            if not text.strip():
                yield drawing.problem("Write a message first."), gr.skip(), gr.skip()
                return
            chat = joined(before, chat_of(text))
            yield '<p role="status">Reading …</p>', chat, ""
            for html, said in frames(choices.fitting(id, model), chat, answer, choices):
                yield html, said, gr.skip()
        except CandorError as error:
            yield drawing.problem(f"{error}"), before, text

    given, put = [written, messages, subject, probe, answers], [shown, messages, written]
    events: Any = [source(talk, given, put, show_progress="hidden") for source in (send.click, written.submit)]
    # what was asked last is undone once it has ended: a picture on its way would come back otherwise
    stop.click(None, cancels=events).then(drawing.stopped, shown, shown, show_progress="hidden")
    clear.click(None, cancels=events).then(lambda: ("", [], ""), None, put, show_progress="hidden")


def joined(before: Messages, new: Messages) -> Messages:
    """The conversation after what somebody sent: one more message of theirs, or a whole chat in its place."""
    return [*before, *new] if len(new) == 1 and new[0]["role"] == "user" else new


def frames(
    fitting: Fitting, chat: Sequence[Mapping[str, str]], answer: bool, choices: Choices
) -> Iterator[tuple[str, Messages]]:
    """Pictures of a conversation as it grows, and its messages by then."""
    messages = [dict(message) for message in chat]
    if not answer or messages[-1]["role"] == "assistant":
        yield drawing.page(read_chat(fitting, messages).transcript, from_end=True), messages
        return
    transcript: Transcript | None = None
    due = 0.0
    for transcript in watched(fitting.watcher, converse(fitting.engine, fitting.place, messages, choices.sampling())):
        began = time.monotonic()
        if began >= due:
            yield drawing.page(transcript, finished=False, from_end=True), _said(messages, transcript)
            drawn = time.monotonic()
            due = drawn + max(BETWEEN, REST * (drawn - began))
    if transcript is not None:
        yield drawing.page(transcript, from_end=True), _said(messages, transcript)


def _said(messages: Messages, transcript: Transcript) -> Messages:
    answer = transcript.answer
    return [*messages, {"role": "assistant", "content": answer}] if answer else messages


def _replay(choices: Choices, probe: Any, tab: Any) -> None:
    case = gr.Dropdown([], label="Case", interactive=True)
    with gr.Row():
        back, forth = gr.Button("Previous case", min_width=160), gr.Button("Next case", min_width=160)
    shown = gr.HTML(label="The case and its scores")

    def cases(id: str) -> Cases:
        return Cases.read(choices.results / "monitor" / f"{id}.json")

    def listed(id: str) -> Any:
        try:
            titles = cases(id).titles()
        except CandorError as error:
            return gr.Dropdown([], value=None), drawing.problem(f"{error}")
        return gr.Dropdown([(title, n) for n, title in enumerate(titles)], value=0), show(id, 0)

    def show(id: str, number: int | None) -> Any:
        if number is None:
            return gr.skip()
        try:
            found = cases(id)
        except CandorError as error:
            return drawing.problem(f"{error}")
        # another probe may have been chosen, with fewer cases
        return replayed(found, min(number, len(found.cases) - 1))

    def step(id: str, number: int | None, by: int) -> Any:
        try:
            count = len(cases(id).cases)
        except CandorError:
            return gr.skip()
        return ((number or 0) + by) % count

    tab.select(listed, probe, [case, shown], show_progress="hidden")
    probe.change(listed, probe, [case, shown], show_progress="hidden")
    case.change(show, [probe, case], shown, show_progress="hidden")
    back.click(lambda id, number: step(id, number, -1), [probe, case], case, show_progress="hidden")
    forth.click(lambda id, number: step(id, number, 1), [probe, case], case, show_progress="hidden")


def replayed(found: Cases, number: int) -> str:
    """A case as HTML."""
    each, transcript = found.cases[number], found.transcript(number)
    head = drawing.truth(each["label"], transcript.meaning.predicted(transcript.scores))
    words = drawing.verbalised(each["verbalisations"], each["texts"])
    return f'<div class="candor">{head}{words}</div>{drawing.page(transcript, from_end=any(transcript.written))}'
