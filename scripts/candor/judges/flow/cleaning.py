"""What calls make of untrusted input: which make it harmless, and to what; which undo that."""

import re
from dataclasses import replace

from candor.judges.flow.events import Call
from candor.judges.flow.names import words
from candor.judges.flow.values import (
    BOUNDS,
    CHECKED,
    HOLE,
    INJECTIONS,
    TRUSTED,
    Kind,
    Value,
    combined,
)

FILE_NAME = frozenset({"022"})
MARKUP = frozenset({"079"})
SHELL = frozenset({"078"})
SQL = frozenset({"089"})
CLEANERS: dict[str, frozenset[str]] = {
    "shlex.quote": SHELL,
    "shlex.join": SHELL,
    "pipes.quote": SHELL,
    "html.escape": MARKUP,
    "cgi.escape": MARKUP,
    "flask.escape": MARKUP,
    "jinja2.escape": MARKUP,
    "markupsafe.escape": MARKUP,
    "markupsafe.Markup.escape": MARKUP,
    "flask.Markup.escape": MARKUP,
    "django.utils.html.escape": MARKUP,
    "django.utils.html.conditional_escape": MARKUP,
    "django.utils.html.format_html": MARKUP,
    "django.utils.html.format_html_join": MARKUP,
    "django.utils.html.escapejs": MARKUP,
    "tornado.escape.xhtml_escape": MARKUP,
    "xml.sax.saxutils.escape": MARKUP,
    "xml.sax.saxutils.quoteattr": MARKUP,
    "bleach.clean": MARKUP,
    "nh3.clean": MARKUP,
    "urllib.parse.quote_plus": MARKUP | FILE_NAME,
    "urllib.parse.urlencode": MARKUP,
    "urllib.parse.quote": MARKUP,
    "urllib.quote": MARKUP,
    "os.path.basename": FILE_NAME,
    "ntpath.basename": FILE_NAME,
    "posixpath.basename": FILE_NAME,
    "werkzeug.utils.secure_filename": INJECTIONS,
    "werkzeug.secure_filename": INJECTIONS,
    "django.utils.text.get_valid_filename": INJECTIONS,
    "django.utils.text.slugify": INJECTIONS,
    "slugify.slugify": INJECTIONS,
    "slugify": INJECTIONS,
    "werkzeug.utils.safe_join": FILE_NAME,
    "werkzeug.security.safe_join": FILE_NAME,
    "flask.safe_join": FILE_NAME,
    "flask.helpers.safe_join": FILE_NAME,
    "django.utils._os.safe_join": FILE_NAME,
    "psycopg2.sql.Identifier": SQL,
    "psycopg2.sql.Literal": SQL,
    "psycopg.sql.Identifier": SQL,
    "psycopg.sql.Literal": SQL,
    "sql.Identifier": SQL,
    "sql.Literal": SQL,
    "psycopg2.extensions.quote_ident": SQL,
    "uuid.UUID": INJECTIONS | BOUNDS | CHECKED,
    "ipaddress.ip_address": INJECTIONS | CHECKED,
    "ipaddress.ip_network": INJECTIONS | CHECKED,
    "ipaddress.IPv4Address": INJECTIONS | CHECKED,
    "datetime.datetime.strptime": INJECTIONS | CHECKED,
    "datetime.strptime": INJECTIONS | CHECKED,
    "datetime.datetime.fromisoformat": INJECTIONS | CHECKED,
    "datetime.fromisoformat": INJECTIONS | CHECKED,
    "datetime.date.fromisoformat": INJECTIONS | CHECKED,
    "date.fromisoformat": INJECTIONS | CHECKED,
    "email_validator.validate_email": CHECKED,
}
RESOLVERS = frozenset("os.path.realpath os.path.abspath os.path.normpath".split())
LOOKUPS = frozenset("find fetch load lookup view query select retrieve get search".split())
"""Words in the name of a method that looks something up, which is not the input it is looked up by."""
NOT_CLEANING = frozenset("re.escape subprocess.list2cmdline bleach.linkify".split())
CLEANING = frozenset(
    "sanitize sanitise sanitized escape escaped quote quoted clean cleaned secure slugify purify".split()
)
"""Words in the name of a function that is not known, by which it is taken to do what it says."""
NUMBERS = frozenset(
    "int float complex decimal.Decimal fractions.Fraction round math.floor math.ceil math.trunc sum".split()
)
HARMLESS = frozenset(
    "len bool isinstance issubclass hash ord id type callable hasattr os.path.exists os.path.isfile os.path.isdir "
    "os.path.getsize any all hmac.compare_digest secrets.compare_digest flask.jsonify jsonify flask.render_template "
    "render_template django.shortcuts.render flask.url_for url_for".split()
)
HARMLESS_METHODS = frozenset(
    "hexdigest digest exists is_file is_dir count index find rfind startswith endswith isdigit isalnum isalpha "
    "isdecimal isnumeric isidentifier is_relative_to is_absolute total_seconds timestamp".split()
)
DECODERS = frozenset(
    "urllib.parse.unquote urllib.parse.unquote_plus urllib.unquote html.unescape base64.b64decode "
    "base64.urlsafe_b64decode binascii.unhexlify codecs.decode bytes.fromhex".split()
)
"""They may bring back what an earlier cleaning took away."""
VERIFIERS = frozenset("unsign verify_and_decode".split())
ORM_METHODS = frozenset(
    "where filter filter_by having values bindparams params options get one_or_none with_entities join outerjoin "
    "select_from limit offset exclude annotate like ilike in_ contains between".split()
)
"""Methods that build a query with its parameters apart; the object they are called on decides."""
PATH_MAKERS = frozenset("os.path.join pathlib.Path pathlib.PurePath pathlib.PosixPath pathlib.PurePosixPath".split())
SAME = frozenset(
    "str bytes os.fspath os.fsdecode os.fsencode os.path.expanduser os.path.expandvars expanduser strip lstrip rstrip "
    "lower upper title casefold capitalize encode decode as_posix format".split()
)
RESTRICTED = re.compile(r"\[\^((?:\\.|[^\]\\])*)\][+*]?")
NOT_WORDLIKE = {"'", '"', "<", ">", ";", "|", "&", "$", "`", "(", ")", "*", " ", "\\s", "\\S", "\\W", "\\D"}


def result(call: Call) -> Value:
    """The value that a call gives, from what goes into it."""
    parts = [*([call.receiver] if call.receiver else []), *call.args, *call.keywords.values()]
    name = call.name
    if name in HARMLESS or (call.receiver is not None and call.method in HARMLESS_METHODS):
        return replace(TRUSTED, call=call)
    if name in NUMBERS:
        return replace(combined(parts, "number").cleared(INJECTIONS), call=call)
    if name in ("abs", "max", "min", "range", "divmod"):
        return replace(_bounded(call), call=call)
    if name == "map" and len(call.args) > 1:
        each = INJECTIONS if call.args[0].name in NUMBERS else CLEANERS.get(call.args[0].name, frozenset())
        return replace(combined(call.args[1:], "list").cleared(each), call=call)
    if name in PATH_MAKERS or (call.method == "joinpath" and call.receiver is not None):
        return replace(joined_path(parts), call=call)
    if name in RESOLVERS and call.args:
        return resolved(call.args[0], call)
    if name in CLEANERS or call.method in ("quote_ident", "quote_identifier", "quote_name"):
        tags = CLEANERS.get(name, SQL)
        if name in ("urllib.parse.quote", "urllib.quote") and call.given(1, "safe").literal == "":
            tags |= FILE_NAME
        if name.endswith("format_html") and call.args and call.args[0].origin is not None:
            tags = frozenset()
        kind: Kind = "text" if tags & MARKUP else ""
        cleaned = combined(parts, kind, call.args[0].text if call.args else None)
        return replace(cleaned.cleared(tags), call=call)
    if name in DECODERS:
        return replace(combined(parts), safe=frozenset(), call=call)
    if name == "re.sub":
        return replace(_substituted(call.given(0), call.given(1), call.given(2)), call=call)
    if not CLEANING.isdisjoint(words(call.method)) and name not in NOT_CLEANING:
        return replace(combined(parts).cleared(INJECTIONS), call=call)
    if call.receiver is not None:
        return replace(_of_method(call, call.receiver, parts), call=call)
    text = call.args[0].text if name in SAME and len(call.args) == 1 else None
    made = combined(parts, call.args[0].kind if text is not None else "", text)
    if name in SAME and len(call.args) == 1:
        made = replace(call.args[0], literal=made.literal, members={})
    return replace(made, call=call)


def joined_path(parts: list[Value]) -> Value:
    """A path of several parts, of which the first says where it starts.

    A function's own parameter there is the caller's choice of a folder, not input that ought to stay within one.
    """
    if len(parts) > 1 and parts[0].parameter:
        return replace(combined([parts[0].cleared({"022"}), *parts[1:]]), kind="path")
    value = combined(parts, "path")
    return replace(value, parameter=len(parts) == 1 and parts[0].parameter)


def resolved(value: Value, call: Call) -> Value:
    """A path with its `..` and links resolved."""
    return replace(value, call=call, kind="path").cleared({"022:resolved"})


def concatenated(parts: list[Value]) -> Value:
    """Text put together of parts, in their order."""
    pieces, made = "", []
    for part in parts:
        text = str(part.literal) if part.known and isinstance(part.literal, (str, int, float)) else part.text
        if part.origin is not None and pieces:
            part = part.cleared({"022:absolute"})
        elif part.parameter:
            part = part.cleared({"022"}) if _folder_follows(parts, part) else part
        made.append(part)
        pieces += HOLE if text is None or (part.origin is not None and not text.strip()) else text
    value = combined(made, "text", pieces)
    literal = all(part.known for part in parts)
    return replace(value, literal=value.text) if literal else value


def escaping(value: Value | None) -> bool:
    """Whether text is markup that escapes whatever is put into it (markupsafe's Markup)."""
    while value is not None and value.call is not None:
        if value.call.name.endswith("Markup"):
            return not any(argument.tainted("079") for argument in value.call.args)
        value = value.call.receiver
    return False


def restricts(characters: str) -> frozenset[str]:
    """What text can do no harm to that has the characters of a class in a pattern alone: `A-Za-z0-9_-`."""
    if any(character in characters for character in NOT_WORDLIKE):
        return frozenset()
    return INJECTIONS if "/" not in characters else INJECTIONS - FILE_NAME


def _of_method(call: Call, receiver: Value, parts: list[Value]) -> Value:
    method = call.method
    if method == "resolve":
        return resolved(receiver, call)
    if method in ("join",) and receiver.kind in ("text", ""):
        return _joined_text(call, receiver)
    if method in ("format", "format_map", "substitute", "safe_substitute"):
        template = receiver.call.given(0) if receiver.text is None and receiver.call else receiver
        filled = _formatted(template.text, [*call.args, *call.keywords.values()])
        value = combined([receiver, *filled], "text", template.text and _with_holes(template.text))
        return value.cleared(MARKUP) if escaping(receiver) else value
    if method == "replace" and len(call.args) > 1:
        return _replaced(receiver, call.args[0], call.args[1])
    if method in ("lstrip", "removeprefix") and call.args and "/" in str(call.args[0].literal):
        return replace(receiver, literal=TRUSTED.literal).cleared({"022:absolute"} if method == "lstrip" else ())
    if method == "sub" and receiver.call and receiver.call.name == "re.compile":
        return _substituted(receiver.call.given(0), call.given(0), call.given(1))
    if method in VERIFIERS or (method == "loads" and receiver.call and "Serializer" in receiver.call.name):
        return combined(parts).cleared({"502"})
    if method in ("get", "pop") and receiver.origin is None and len(call.args) > 1:
        return replace(call.args[1], literal=TRUSTED.literal) if call.args[1].origin else TRUSTED
    if method in ORM_METHODS and not _is_mapping(call, receiver):
        return receiver if receiver.origin is not None else TRUSTED
    if method in SAME:
        return replace(receiver, literal=TRUSTED.literal, elements=None, members={}, condition=None)
    if method == "copy":
        return receiver
    if receiver.origin is None and not LOOKUPS.isdisjoint(words(method)):
        return combined(parts).cleared(INJECTIONS - MARKUP)
    return combined(parts)


def _is_mapping(call: Call, receiver: Value) -> bool:
    """Whether `.get` and its like read an entry, which is as (un)trusted as what it is read from."""
    return call.method == "get" and receiver.origin is not None


def _formatted(template: str | None, values: list[Value]) -> list[Value]:
    """Values as they are put into a template, which decides whether a path may start with one."""
    if template and not template.startswith("{"):
        return [value.cleared({"022:absolute"}) for value in values]
    return values


def _with_holes(template: str) -> str:
    return re.sub(r"\{[^{}]*\}|\$\w+|\$\{\w+\}", HOLE, template)


def _joined_text(call: Call, receiver: Value) -> Value:
    items = call.given(0)
    pieces = items.text if items.text is not None else HOLE if items.origin else None
    text = None if pieces is None else pieces + (receiver.text or "")
    value = replace(combined([receiver, items], "text", text))
    return value.cleared(MARKUP) if escaping(receiver) else value


def _replaced(receiver: Value, what: Value, by: Value) -> Value:
    if by.origin is not None or not by.known:
        return combined([receiver, by], "text", (receiver.text or HOLE) + (by.text or HOLE))
    value, old, new = replace(receiver, literal=TRUSTED.literal), what.literal, by.literal
    if old in ("/", "\\") and isinstance(new, str) and "/" not in new and old == "/":
        return value.cleared({"022"})
    if old == ".." and new in ("", "_", "-"):
        return value.cleared({"022:up"})
    return value.cleared(MARKUP) if old == "<" and new == "&lt;" else value


def _substituted(pattern: Value, replacement: Value, subject: Value) -> Value:
    """`re.sub` of all characters outside a class, by something harmless, leaves the class's own."""
    text = pattern.literal if isinstance(pattern.literal, str) else ""
    found = RESTRICTED.fullmatch(text.removesuffix("+"))
    value = replace(combined([replacement, subject], "text"), parameter=False)
    if found is None or not replacement.known:
        return value
    return value.cleared(restricts(found.group(1)))


def _bounded(call: Call) -> Value:
    value = combined([*call.args], "number")
    if len(call.args) > 1 and any(argument.origin is None for argument in call.args):
        value = value.cleared({"max": {"020:low", "020:any"}, "min": {"020:high", "020:any"}}.get(call.name, set()))
    return value.cleared({"020:low"}) if call.name == "abs" else value


def _folder_follows(parts: list[Value], first: Value) -> bool:
    """Whether text goes on with a slash after its first part, which then is a folder."""
    following = parts[1] if len(parts) > 1 and parts[0] is first else None
    return following is not None and (following.text or "").startswith("/")
