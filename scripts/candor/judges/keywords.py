"""The verdict whose phrases stand in a text most often."""

from collections.abc import Sequence

from candor.config.judges import Keywords
from candor.judges.parts import lacking, part_of, status_of
from candor.judges.phrase import count, pattern_of
from candor.judges.texts import Judged, Verdict

PACKAGES = ()


def judge(texts: Sequence[Judged], config: Keywords) -> list[Verdict]:
    """A verdict for each text; the score is how many times its phrases stand there, and the rationale counts them all.

    The phrases of each verdict are counted as the judge `phrase` counts them. A text with none of any is `otherwise`,
    and `invalid` where the config has no such verdict; so is one with the most of two verdicts, since the order of the
    config must not decide.
    """
    return [_verdict(text, config) for text in texts]


def _verdict(text: Judged, config: Keywords) -> Verdict:
    part = part_of(text, config.reads)
    if part is None:
        return lacking(text, config.reads)
    turns = [part] if isinstance(part, str) else [turn["content"] for turn in part]
    counts = {
        verdict: sum(count(pattern_of(phrase), turn) for phrase in phrases for turn in turns)
        for verdict, phrases in config.words.items()
    }
    said = ", ".join(f"{verdict} x {times}" for verdict, times in sorted(counts.items()) if times)
    most = max(counts.values())
    if not most:
        if config.otherwise is None:
            return Verdict("invalid", rationale="none of the phrases stands in the text")
        return Verdict(status_of(text, config.reads), config.otherwise, 0.0, "none of the phrases")
    winners = [verdict for verdict, times in counts.items() if times == most]
    if len(winners) > 1:
        return Verdict("invalid", rationale=f"a tie: {said}")
    return Verdict(status_of(text, config.reads), winners[0], float(most), said)
