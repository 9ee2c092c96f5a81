"""Prompts of the prompted baseline: text files, and the tokens of a prompt that is filled with a conversation.

A file has the headings [system] (may be left out) and [user], with one {conversation} below [user], then [negative]
and [positive], the assistant's replies that stand for the two classes of a task, in that order. [wording], before them
all, may say where the words come from, `reworded` where they are our own in place of a study's.

The conversation is data: it stands between tags, of which the closing one does not occur in it.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from candor.chat_text import MARKS, render
from candor.errors import CandorError
from candor.provenance import sha256

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HEADING = re.compile(r"^\[(wording|system|user|negative|positive)\][ \t]*$", re.MULTILINE)
PLACE = "{conversation}"
PLACEHOLDER = re.compile(r"\{[a-z_]+\}")
NEEDED = ["user", "negative", "positive"]
OPTIONAL = ["wording", "system"]

Turns = Sequence[Mapping[str, str]]


class PromptError(CandorError):
    """A prompt cannot be used; the message names the file and says why."""


class Prompt(NamedTuple):
    """A prompt with its place for a conversation, the replies (negative, positive), and the file's digest."""

    name: str
    wording: str
    system: str
    user: str
    replies: tuple[str, str]
    sha256: str


class Encoded(NamedTuple):
    """Tokens of a filled prompt followed by each reply: what both share from the start on, and what then differs.

    The two together are what the tokenizer makes of prompt and reply in one text, wherever it puts the border between
    them. Tokens that both replies begin with belong to `shared`, where they do not bear on the odds.
    """

    shared: list[int]
    ends: tuple[list[int], list[int]]
    truncated: bool


def read_prompt(path: Path) -> Prompt:
    """Read a prompt; PromptError where the file is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PromptError(f"{path}: no such file; name a text file in resources/prompted as template.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path}: not a readable text file ({error}).") from None
    before, *rest = HEADING.split(text)
    headings, bodies = rest[::2], [body.strip() for body in rest[1::2]]
    if before.strip() or headings != [name for name in [*OPTIONAL, *NEEDED] if name in {*headings, *NEEDED}]:
        raise PromptError(
            f"{path}: a prompt has the lines [user], [negative] and [positive], once each and in this order, where "
            "wanted after [wording] and [system], each with its text below, and nothing before them; "
            f"found: {', '.join(f'[{name}]' for name in headings) or 'none of them'}."
        )
    parts = dict(zip(headings, bodies, strict=True))
    _check(path, parts)
    replies = parts["negative"], parts["positive"]
    wording = " ".join(parts.get("wording", "").split()) or "not said"
    return Prompt(path.stem, wording, parts.get("system", ""), parts["user"], replies, sha256(path))


def read_prompts(paths: Sequence[Path], names: Sequence[str]) -> list[Prompt]:
    """The prompts that are named, in that order, from files whose names without `.txt` are theirs."""
    files = {path.stem: path for path in paths}
    for name in names:
        if name not in files:
            raise PromptError(
                f"no file was given for the template {name!r}; give {name}.txt as one of --template-files."
            )
    return [read_prompt(files[name]) for name in names]


def encode_prompt(
    prompt: Prompt, conversation: Turns, tokenizer: "PreTrainedTokenizerBase", max_tokens: int, truncate: str
) -> Encoded:
    """Tokens of a prompt that is filled with a conversation; those of prompt and longer reply are at most `max_tokens`.

    Where they are more, tokens are taken out of the conversation, at its start (`left`) or end, never of the question.
    """
    text, start, end = _rendered(prompt, conversation, tokenizer)
    # a template writes its own special tokens
    encoding = tokenizer(
        [text + reply for reply in prompt.replies],
        add_special_tokens=not tokenizer.chat_template,
        return_offsets_mapping=True,
        verbose=False,
    )
    one, other = encoding["input_ids"]
    common = common_start([one, other])
    words = [i for i, (a, b) in enumerate(encoding["offset_mapping"][0][:common]) if start <= a < b <= end]
    excess = max(len(one), len(other)) - max_tokens
    if excess <= 0:
        return Encoded(one[:common], (one[common:], other[common:]), False)
    if excess >= len(words):
        raise PromptError(
            f"template {prompt.name!r} takes {max(len(one), len(other)) - len(words)} tokens around a conversation, "
            f"and prompts may have {max_tokens}; raise the baseline's `max_tokens`, or take a model that reads more."
        )
    cut = set(words[:excess] if truncate == "left" else words[-excess:])
    shared = [token for i, token in enumerate(one[:common]) if i not in cut]
    return Encoded(shared, (one[common:], other[common:]), True)


def common_start(sequences: Sequence[list[int]]) -> int:
    """How many tokens all of some sequences begin with."""
    shortest, longest = min(sequences), max(sequences)  # what these share, all that lie between them share
    return next((n for n, (a, b) in enumerate(zip(shortest, longest, strict=False)) if a != b), len(shortest))


def _rendered(prompt: Prompt, conversation: Turns, tokenizer: "PreTrainedTokenizerBase") -> tuple[str, int, int]:
    """The text up to the assistant's reply, and where the conversation stands in it, from start to before end."""
    words = "\n".join(f"{turn['role']}: {turn['content']}" for turn in conversation)
    number = 0
    while f"</{(tag := f'conversation-{number}' if number else 'conversation')}" in words.lower():
        number += 1
    mark = next(chr(code) for code in range(MARKS, MARKS + 0xFFFF) if chr(code) not in words)
    filled = prompt.user.replace(PLACE, f"<{tag}>\n{mark}{words}{mark}\n</{tag}>")
    messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
    text = render([*messages, {"role": "user", "content": filled}], tokenizer, generation_prompt=True)
    if not tokenizer.chat_template:
        text += "\n\n"
    before, inside, after = text.split(mark)
    return before + inside + after, len(before), len(before) + len(inside)


def _check(path: Path, parts: Mapping[str, str]) -> None:
    places = [found for part in parts.values() for found in PLACEHOLDER.findall(part)]
    if places != [PLACE] or PLACE not in parts["user"]:
        raise PromptError(
            f"{path}: {PLACE} has to stand below [user], once, and no other placeholder anywhere; "
            f"found: {', '.join(places) or 'none'}."
        )
    negative, positive = parts["negative"], parts["positive"]
    if not negative or not positive:
        raise PromptError(f"{path}: has no text below [{'positive' if negative else 'negative'}]; give a reply.")
    if negative.startswith(positive) or positive.startswith(negative):
        raise PromptError(
            f"{path}: of the replies {negative!r} and {positive!r} one begins with the other, so that the shorter one "
            "would always be the likelier; word them apart."
        )
