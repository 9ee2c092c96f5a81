"""Whether a phrase stands in a text: its words, next to each other and whole, whatever case, spacing or punctuation."""

import re
from collections.abc import Sequence

from candor.config.judges import Phrase, plain_words
from candor.errors import CandorError
from candor.judges.texts import Judged, Verdict, absent

PACKAGES = ()


def judge(texts: Sequence[Judged], config: Phrase) -> list[Verdict]:
    """Yes or no for each text; the score is how many times the phrases stand in it, and the rationale which ones do.

    A response without the part that is read keeps its own status and gets no verdict.
    """
    patterns = {phrase: pattern_of(phrase) for phrase in config.phrases}
    return [_verdict(text, config, patterns) for text in texts]


def _verdict(text: Judged, config: Phrase, patterns: dict[str, re.Pattern[str]]) -> Verdict:
    part = text.part(config.reads)
    if part is None:
        return absent(text, config.reads)
    counts = {phrase: count(pattern, part) for phrase, pattern in patterns.items()}
    found = [f"{phrase!r} x {times}" for phrase, times in counts.items() if times]
    return Verdict(text.status, "yes" if found else "no", float(sum(counts.values())), ", ".join(found) or None)


def pattern_of(phrase: str) -> re.Pattern[str]:
    """What `count` looks for; CandorError for a phrase without a word."""
    words = plain_words(phrase)
    if not words:
        raise CandorError(f"the phrase {phrase!r} of a judge holds no word to look for; give it one.")
    return re.compile(rf"(?<!\S){re.escape(' '.join(words))}(?!\S)")


def count(pattern: re.Pattern[str], text: str) -> int:
    """How many times a phrase stands in a text, without overlaps."""
    return len(pattern.findall(" ".join(plain_words(text))))
