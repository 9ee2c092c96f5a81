"""Texts with `%` conversions."""

import re

from candor.judges.flow.values import HOLE


def percent_pieces(text: str) -> list[str]:
    """The conversion characters of a `%` format."""
    found, rest = [], text.replace("%%", "")
    while "%" in rest:
        rest = rest.split("%", 1)[1]
        rest = rest.split(")", 1)[-1] if rest.startswith("(") else rest
        rest = rest.lstrip("#0- +.123456789*")
        found.append(rest[:1])
    return found


def without_percents(text: str) -> str:
    """A `%` format with HOLE for its conversions."""
    return re.sub(r"%(\(\w+\))?[#0\- +]*[\d.*]*[a-zA-Z]", HOLE, text).replace("%%", "%")
