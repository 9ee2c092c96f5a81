"""Whether a phrase stands in a text: its words, next to each other and whole, whatever case, spacing or punctuation."""

import re
from collections.abc import Sequence

from candor.config.judges import Phrase
from candor.errors import CandorError
from candor.judges.texts import Judged, Verdict, absent

PACKAGES = ()


def judge(texts: Sequence[Judged], config: Phrase) -> list[Verdict]:
    """Yes or no for each text; the score is how many times the phrases stand in it, and the rationale which ones do.

    A response without the part that is read keeps its own status and gets no verdict.
    """
    patterns = {phrase: _pattern(phrase) for phrase in config.phrases}
    return [_verdict(text, config, patterns) for text in texts]


def _verdict(text: Judged, config: Phrase, patterns: dict[str, re.Pattern[str]]) -> Verdict:
    part = text.part(config.reads)
    if part is None:
        return absent(text, config.reads)
    words = _words(part)
    counts = {phrase: len(pattern.findall(words)) for phrase, pattern in patterns.items()}
    found = [f"{phrase!r} x {count}" for phrase, count in counts.items() if count]
    return Verdict(text.status, "yes" if found else "no", float(sum(counts.values())), ", ".join(found) or None)


def _pattern(phrase: str) -> re.Pattern[str]:
    words = _words(phrase)
    if not words:
        raise CandorError(f"the phrase {phrase!r} of a judge holds no word to look for; give it one.")
    return re.compile(rf"(?<!\S){re.escape(words)}(?!\S)")


def _words(text: str) -> str:
    """The words of a text, with one space between."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))
