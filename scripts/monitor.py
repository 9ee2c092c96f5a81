"""Watch a model with a probe: an app, or one JSON line for each text.

python scripts/monitor.py                          the app, with the probe and the model of config.yaml
python scripts/monitor.py --text "…" --tokens      one text
some-command | python scripts/monitor.py           a text a line (--stdin says so where the terminal is the input)
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from candor.errors import CandorError, speak
from candor.monitor.choosing import Choices, app_of, read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--text", action="append", help="score this text; may be given again")
    what.add_argument("--stdin", action="store_true", help="score the lines of the standard input")
    what.add_argument("--app", action="store_true", help="the app, even where the input is no terminal")
    parser.add_argument("--tokens", action="store_true", help="with texts: the score of each token as well")
    parser.add_argument("--probe", help="id of monitor.probes, or of a task; without it the config's default")
    parser.add_argument("--subject", help="id of a model or an adapter; without it the probe's own")
    parser.add_argument("--engine", choices=["transformers", "mlx"], help="in place of the config's")
    parser.add_argument("--port", type=int, help="of the app, in place of the config's")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores without it")
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="laid over config.yaml, as for snakemake"
    )
    args = parser.parse_args()
    if args.threads is not None and args.threads < 1:
        parser.error(f"argument --threads: {args.threads} is no number of threads")
    study, app = read_config(args.configfile)
    named = {"engine": args.engine, "default": args.probe, "port": args.port}
    changed = {key: value for key, value in named.items() if value is not None}
    choices = Choices(study, app_of({**app.model_dump(), **changed}))
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    if args.app or not (args.text or args.stdin or piped()):
        serve(choices)
    else:
        score(choices, args.text or lines(), args.subject, args.tokens)


def piped() -> bool:
    """Whether texts come in by the standard input: it is no terminal, and it is not closed."""
    return sys.stdin is not None and not sys.stdin.isatty()


def lines() -> Iterator[str]:
    """The lines of the standard input, as they come."""
    if sys.stdin is None:
        raise CandorError("the standard input is closed; give a text with --text")
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise CandorError(f"line {number} of the input is not UTF-8") from None


def score(choices: Choices, texts: "Iterator[str] | list[str]", subject: str | None, with_tokens: bool) -> None:
    """Print one JSON line for each text."""
    from transformers.utils import logging as progress

    from candor.monitor.reports import report

    progress.disable_progress_bar()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal's language
    fitting = choices.fitting(choices.default, subject)
    try:
        for text in texts:
            print(json.dumps(report(fitting, text, with_tokens), ensure_ascii=False), flush=True)
    except BrokenPipeError:
        # whoever read the lines has seen enough; Python would complain once more when it closes its output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def serve(choices: Choices) -> None:
    """Run the app until it is stopped."""
    try:
        from candor.monitor.app import launch
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise CandorError(
            "the app needs gradio, which `make install` brings; --text and --stdin work without"
        ) from None
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        launch(choices)
    except OSError as error:
        raise CandorError(f"the app cannot listen on {choices.app.host} ({error}); give another --port") from None


if __name__ == "__main__":
    speak(main)
