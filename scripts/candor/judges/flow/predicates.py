"""What a test of a text says of it: how it starts, which pattern it fits, what a function's name promises."""

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from candor.judges.flow.cleaning import restricts
from candor.judges.flow.names import words
from candor.judges.flow.state import State, subjects
from candor.judges.flow.values import INJECTIONS, Value

if TYPE_CHECKING:
    from candor.judges.flow.expressions import Expressions

APPROVED = frozenset(
    "safe valid validated allowed permitted legal trusted ok clean within inside inner sane acceptable subpath "
    "wellformed authentic known".split()
)
DENIED = frozenset("unsafe invalid illegal not bad suspicious malicious forbidden blocked".split())
CHECKING = frozenset("check validate verify ensure assert require guard".split())
NOT_CHECKING = ("check_output", "check_call", "check_password")
WITHIN = frozenset({"022"})
URL = frozenset({"020:url"})


class Side(NamedTuple):
    """One side of a comparison."""

    node: ast.expr
    value: Value


def within(node: ast.expr, value: Value, walk: "Expressions", state: State) -> None:
    """A resolved path lies within a folder."""
    state.clear(subjects(node, walk.names.full), WITHIN)
    state.clear_inputs(value.inputs, WITHIN)


def approves(name: str) -> bool:
    """Whether a function's name says that it answers whether something is all right."""
    parts = words(name.rsplit(".", 1)[-1])
    judging = APPROVED | DENIED
    return bool(parts) and (not judging.isdisjoint(parts) or parts[0] in CHECKING) and not _is_about_users(parts)


def denies(name: str) -> list[str]:
    """The words of a function's name by which a yes means no."""
    return [word for word in words(name.rsplit(".", 1)[-1]) if word in DENIED]


def _is_about_users(parts: list[str]) -> bool:
    return not {"user", "login", "password", "permission", "auth", "role", "admin"}.isdisjoint(parts)


def without_removals(node: ast.expr) -> tuple[ast.expr, str]:
    """`x` and the characters `.-` of `x.replace(".", "").replace("-", "")`."""
    removed = ""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
        spelled = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        if spelled[1:] != [""]:
            break
        node, removed = node.func.value, removed + str(spelled[0])
    return node, removed


def starts(held: Side, start: Value, truth: bool, walk: "Expressions", state: State, line: int) -> None:
    """Text starts with another one, or does not."""
    named = subjects(held.node, walk.names.full)
    literals = [each.literal for each in start.elements] if start.elements is not None else [start.literal]
    texts = [each for each in literals if isinstance(each, str)]
    state.clear_inputs(held.value.inputs, {f"020:any {line}{truth}"})
    if truth:
        if "022:resolved" in held.value.safe and texts[:1] != ["/"]:
            within(held.node, held.value, walk, state)
        if texts and len(texts) == len(literals):
            if all(re.match(r"https?://[^/]+/", text) for text in texts):
                state.clear(named, URL)
            if all(text.startswith("/") for text in texts):
                state.clear(named, {"020:local"})
        return
    tags = set()
    if "/" in texts or "\\" in texts:
        tags.add("022:absolute")
    if "//" in texts:
        tags.add("020:single")
    if ".." in texts and "022:resolved" in held.value.safe:  # of a normalised path, only the start can lead upwards
        tags.add("022:up")
    state.clear(named, tags)


def matched(walk: "Expressions", pattern: Value, whole: bool, subject: Side, state: State) -> None:
    """The whole of a text fits a pattern."""
    text = pattern.literal if isinstance(pattern.literal, str) else None
    named = subjects(subject.node, walk.names.full)
    if text is not None and not whole and not re.search(r"(\$|\\Z)\)?$", text):
        return  # whatever follows the part that fits has not been looked at
    state.clear_inputs(subject.value.inputs, {"020:any"})
    state.clear(named, {"020:any", "020:url"})
    state.clear(named, _language(text) if text is not None else INJECTIONS)
    if text is not None and re.fullmatch(r"[\^]?(\\d|\[0-9\]|[{}+,0-9])+(\$|\\Z)?", text):
        state.clear(named, {"020:low"} | ({"020:high"} if "{" in text else set()))


def searched(walk: "Expressions", pattern: Value, subject: Side, truth: bool, state: State) -> None:
    """A pattern was looked for: an anchored one that is found, or one of unwanted characters that is not."""
    text = pattern.literal if isinstance(pattern.literal, str) else ""
    if truth and re.match(r"(\^|\\A)", text) and re.search(r"(\$|\\Z)$", text):
        matched(walk, pattern, True, subject, state)
    unwanted = re.fullmatch(r"\[\^((?:\\.|[^\]\\])*)\][+*]?", text)
    if not truth and unwanted:
        named = subjects(subject.node, walk.names.full)
        state.clear(named, restricts(unwanted.group(1)) | {"020:any"})
    elif not truth and text:
        state.clear_inputs(subject.value.inputs, {"020:any"})


def _language(pattern: str) -> frozenset[str]:
    """What texts that fit a pattern can do no harm to, by the characters that the pattern admits."""
    classes = re.findall(r"\[((?:\\.|[^\]\\])*)\]", pattern)
    outside = re.sub(r"\[(?:\\.|[^\]\\])*\]", "", pattern)
    if any(one.startswith("^") for one in classes) or re.search(r"(?<!\\)\.|\\[SWDs]|(?<!\\) ", outside):
        return frozenset()
    tags = [restricts(one) for one in classes]
    if re.search(r"""['"<>;&`]""", outside):
        return frozenset()
    if "/" in outside:
        tags.append(INJECTIONS - {"022"} if any("." in one for one in classes) or "\\." in outside else INJECTIONS)
    return frozenset.intersection(INJECTIONS, *tags)
