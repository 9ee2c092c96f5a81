"""Pydantic's complaints as sentences."""

import re
from typing import Any

MEMBER = re.compile(r"(literal|list|function-[a-z]+)\[")
"""What pydantic puts into a path for the member of a union that it tried."""


def meant(problem: Any) -> bool:
    """Whether a complaint is about what the user tried to give, where a key takes a word or a structure."""
    tried = [i for i, step in enumerate(problem["loc"]) if MEMBER.match(str(step))]
    if not tried:
        return True
    word = isinstance(problem["input"], str) and tried[-1] == len(problem["loc"]) - 1
    return word == str(problem["loc"][tried[-1]]).startswith("literal")


def sentence(problem: Any) -> str:
    """What is wrong with a key, and what to do."""
    location = [str(step) for step in problem["loc"] if not MEMBER.match(str(step))]
    unions = (
        "models",
        "sources",
        "probes",
        "baselines",
        "experiments",
        "clients",
        "judges",
        "comparisons",
        "verbalisers",
    )
    if location[0] in unions and len(location) > 2 and location[2] != "[key]":
        del location[2]  # the member of the union that pydantic tried
    key = ".".join(location)
    if key.endswith(".[key]") and ".conditions." in key:
        return f"{key.removesuffix('.[key]')} is not a name: use letters, digits, '_', '.', spaces and '-'."
    if key.endswith(".[key]"):
        return (
            f"{key.removesuffix('.[key]')} is not an id: use lower-case letters, digits, '_', '.', '-', "
            "starting with a letter or digit."
        )
    if problem["type"] == "extra_forbidden":
        return f"{key} is not a known key."
    if problem["type"] == "missing":
        return f"{key} is missing."
    if problem["type"] == "union_tag_not_found":
        return f"{key}.{problem['ctx']['discriminator'].strip(chr(39))} is missing."
    if problem["type"] == "union_tag_invalid":
        field, tag = problem["ctx"]["discriminator"].strip("'"), problem["ctx"]["tag"]
        return f"{key}.{field} is {tag!r}: it should be one of {problem['ctx']['expected_tags']}."
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{key} {message}."
    shown = re.sub(r"//[^/@]*@", "//…@", repr(problem["input"]))  # no credentials
    return f"{key} is {shown if len(shown) < 80 else shown[:77] + '...'}: {message[0].lower()}{message[1:]}."
