"""What a verbaliser wrote: the text between its tags, or why there is none."""

from typing import NamedTuple

OPEN, CLOSE = "<explanation>", "</explanation>"
"""The release's tags; its sidecar names them nowhere but in the words of the prompt."""


class Explanation(NamedTuple):
    """The words, and the row's status: ok, truncated, empty or unparseable."""

    text: str
    status: str


def read(reply: str, cut: bool) -> Explanation:
    """The words of a reply, without the space around them; `cut` says that it reached the longest length.

    They stand between the first opening tag and the first closing one behind it. A reply that was cut off before it
    closed is truncated, and what it had said so far is its text. One that has no opening tag, or ended of itself
    without a closing one, is unparseable, and all of it is its text.
    """
    _, opened, rest = reply.partition(OPEN)
    words, closed, _ = rest.partition(CLOSE)
    if closed:
        return Explanation(words.strip(), "ok" if words.strip() else "empty")
    if opened and cut and words.strip():
        return Explanation(_whole(words).strip(), "truncated")
    return Explanation(reply.strip(), "unparseable" if reply.strip() else "empty")


def _whole(words: str) -> str:
    """Words that were cut off, without the beginning of a closing tag."""
    for length in range(len(CLOSE) - 1, 0, -1):
        if words.endswith(CLOSE[:length]):
            return words[:-length]
    return words
