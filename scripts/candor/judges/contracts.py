"""What a reply must look like: read strictly, told to the model in words, and as a JSON schema.

A reply outside its contract is no verdict: nothing is guessed, filled in or looked for inside of it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from candor.config.judges import OWN_FIELDS, Bands, Chat, Choices, Number, Reply, Text, bare

Field = Choices | Number | Text
FENCED = re.compile(r"```[ \t]*(?:json)?[ \t]*\r?\n(.*)\n[ \t]*```", re.DOTALL | re.IGNORECASE)
LISTED = 20
"""The most whole numbers that a schema lists one by one, where providers know no ranges."""


class Read(NamedTuple):
    """What a reply says; the further fields are in its text."""

    verdict: str
    score: float | None = None
    confidence: float | None = None
    rationale: str | None = None


class OutsideContract(ValueError):
    """A reply breaks its contract; the message says how."""


def read(reply: str, config: Chat) -> Read:
    """What a reply says, as the judge's contract has it; OutsideContract where it is anything else.

    form: word takes a choice of the verdict and nothing else, white space, quotes, a final full stop and case aside.
    form: json takes one JSON object, bare or in one fenced block, with the contract's fields and no others: choices
    letter by letter, numbers in range (7.0 is whole, true is no number), texts no longer than they may be. The prefill
    is the start of the JSON, but no part of the word.
    """
    if config.form == "word":
        return Read(_word(reply, config.reply))
    values = _fields(config.prefill + reply, config.reply)
    score, confidence = values["score"], values["confidence"]
    verdict = values["verdict"] if config.bands is None else verdict_of(score, confidence, config.bands)
    return Read(verdict, score, confidence, values["rationale"])


def verdict_of(score: float, confidence: float | None, bands: Bands) -> str:
    """The verdict that a score means; `otherwise` between the bands, and where the judge is not sure enough."""
    if bands.min_confidence is not None and (confidence is None or confidence < bands.min_confidence):
        return bands.otherwise
    if score <= bands.low.at_most:
        return bands.low.verdict
    return bands.high.verdict if score >= bands.high.at_least else bands.otherwise


def in_words(config: Chat) -> str:
    """What a reply must look like, for the model that writes it."""
    if config.form == "word":
        return f"Reply with one of these and nothing else: {choices_of(config)}."
    lines = [
        f'- "{name}": {_described(field)}{"" if field.required else "; may be left out"}'
        for name, field in _contract(config.reply)
    ]
    return "\n".join(["Reply with one JSON object and nothing else. Its fields:", *lines])


def choices_of(config: Chat) -> str:
    """The verdicts that a reply may give, in words; none where they follow from a score."""
    return ", ".join(config.reply.verdict.choices) if config.reply.verdict else ""


def schema_of(config: Chat) -> dict[str, Any] | None:
    """The contract as a JSON schema; None where the reply is no JSON of its own.

    It keeps to what providers of structured output have in common: every field is required, and one that may be left
    out may be null; ranges are told in words, or a number's values listed.
    """
    if config.form == "word" or config.prefill:
        return None
    properties = {name: _schema(field) for name, field in _contract(config.reply)}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _contract(reply: Reply) -> Iterator[tuple[str, Field]]:
    """Names and fields in the order in which they are asked for: reasons before verdicts."""
    own = {name: getattr(reply, name) for name in OWN_FIELDS}
    for name, field in {"rationale": own.pop("rationale"), **dict(sorted(reply.more.items())), **own}.items():
        if field is not None:
            yield name, field


def _word(reply: str, contract: Reply) -> str:
    found = bare(reply)
    for choice in contract.verdict.choices if contract.verdict else ():
        if choice.casefold() == found:
            return choice
    if not found:
        raise OutsideContract("the reply is empty")
    raise OutsideContract("the reply is not one of the choices")


def _fields(reply: str, contract: Reply) -> dict[str, Any]:
    """The values of the columns' fields; None for one that is not in the contract or was left out."""
    found, known = _object(reply), dict(_contract(contract))
    for name in found:
        if name not in known:
            raise OutsideContract(f"the field {_short(name)} is not in the contract")
    values: dict[str, Any] = {name: None for name in OWN_FIELDS}
    for name, field in known.items():
        value = found.get(name)
        if value is None and field.required:
            raise OutsideContract(f"the field {name} is {'null' if name in found else 'missing'}")
        values[name] = None if value is None else _value(name, value, field)
    return values


def _object(reply: str) -> Mapping[str, Any]:
    """The one JSON object that a reply is."""
    text = reply.strip()
    if not text:
        raise OutsideContract("the reply is empty")
    fenced = FENCED.fullmatch(text)
    try:
        value = json.loads(
            fenced[1] if fenced else text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=float
        )
    except OutsideContract:
        raise
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
        raise OutsideContract(f"the reply is not one JSON object ({str(error).splitlines()[0]})") from None
    if not isinstance(value, dict):
        raise OutsideContract("the reply is JSON, but not an object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise OutsideContract(f"the field {_short(twice)} stands there twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise OutsideContract(f"{word} is not a number")


def _value(name: str, value: Any, field: Field) -> str | float:
    if isinstance(field, Number):
        return _number(name, value, field)
    if not isinstance(value, str):
        raise OutsideContract(f"the field {name} is not a text")
    if isinstance(field, Choices):
        if value not in field.choices:
            raise OutsideContract(f"the field {name} is {_short(value)}, which is not one of the choices")
        return value
    if any("\ud800" <= sign <= "\udfff" for sign in value):
        raise OutsideContract(f"the field {name} holds half of a character")
    if len(value) > field.max_length:
        raise OutsideContract(f"the field {name} has {len(value)} characters, and may have {field.max_length}")
    if field.pattern is not None and re.fullmatch(field.pattern, value) is None:
        raise OutsideContract(f"the field {name} is {_short(value)}, which does not fit its pattern")
    return value


def _number(name: str, value: Any, field: Number) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OutsideContract(f"the field {name} is not a number")
    if not field.low <= value <= field.high:
        raise OutsideContract(f"the field {name} is {_short(value)}, not from {field.low:g} to {field.high:g}")
    if field.integer and value != int(value):
        raise OutsideContract(f"the field {name} is {value!r}, which is not whole")
    return float(value)


def _described(field: Field) -> str:
    if isinstance(field, Choices):
        return "one of " + ", ".join(f'"{choice}"' for choice in field.choices)
    if isinstance(field, Number):
        return f"a {'whole ' if field.integer else ''}number from {field.low:g} to {field.high:g}"
    shape = f" that fits the pattern {field.pattern}" if field.pattern else ""
    return f"a text of at most {field.max_length} characters{shape}"


def _schema(field: Field) -> dict[str, Any]:
    if isinstance(field, Choices):
        schema: dict[str, Any] = {"type": "string", "enum": field.choices}
    elif isinstance(field, Number):
        schema = {"type": "integer" if field.integer else "number", "description": _described(field)}
        if field.integer and field.high - field.low < LISTED:
            schema["enum"] = [
                value for value in range(int(field.low) - 1, int(field.high) + 2) if _within(value, field)
            ]
    else:
        schema = {"type": "string", "description": _described(field)}
    return schema if field.required else {"anyOf": [schema, {"type": "null"}]}


def _within(value: float, field: Number) -> bool:
    return field.low <= value <= field.high


def _short(value: Any) -> str:
    """A value as a rationale shows it: in ASCII, and not whole where it is long."""
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
