"""CWE-79, cross-site scripting: untrusted input stands unescaped in what a browser reads as HTML."""

import re
from collections.abc import Iterator

from candor.judges.flow import cleaning
from candor.judges.flow.events import Call, Return
from candor.judges.flow.values import HOLE, Value
from candor.judges.weaknesses.program import Finding, Program, finding

MARKUP = re.compile(
    r"<(/?(a|abbr|article|aside|audio|b|blockquote|body|br|button|canvas|caption|center|code|dd|div|dl|dt|em|embed|"
    r"fieldset|figure|figcaption|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|label|legend|li|link|"
    r"main|mark|meta|nav|object|ol|option|p|pre|q|s|script|section|select|small|source|span|strong|style|sub|summary|"
    r"details|sup|svg|table|tbody|td|textarea|tfoot|th|thead|time|title|tr|u|ul|video)(?=[\s>/\0])|!doctype)",
    re.IGNORECASE,
)
RAW = frozenset(
    "markupsafe.Markup flask.Markup jinja2.Markup jinja2.utils.markupsafe.Markup "
    "django.utils.safestring.mark_safe django.utils.safestring.SafeString django.utils.html.format_html "
    "django.utils.safestring.SafeText wtforms.widgets.HTMLString".split()
)
RESPONSES = frozenset("HttpResponse Response make_response HTMLResponse StreamingHttpResponse HTMLString".split())
TYPES = ("content_type", "mimetype", "media_type")
WRITERS = frozenset("write send sendall writelines".split())
TEMPLATES = frozenset("jinja2.Template Template mako.template.Template".split())
EXPRESSION = re.compile(r"\{\{(.*?)\}\}|\$\{(.*?)\}", re.DOTALL)
ESCAPED = re.compile(r"\|\s*(e|escape|forceescape|h|tojson|urlencode|int|float|length)\b")


def find(program: Program) -> Iterator[Finding]:
    """HTML that untrusted input can change, where it leaves the program or is declared safe."""
    for event in program.events:
        if isinstance(event, Return):
            if _leaves(event.value, event.view):
                yield finding(event, f"HTML holds {event.value.origin}, unescaped")
        elif isinstance(event, Call):
            yield from _called(event)


def _leaves(value: Value, sent_as_html: bool) -> bool:
    """Whether text that is given back, or sent, holds untrusted input as markup."""
    if not value.tainted("079") or value.kind == "dict":
        return False
    if value.text is not None and HOLE in value.text and MARKUP.search(value.text):
        return True
    plain = value.call is None or value.kind == "text"
    return sent_as_html and plain and value.kind in ("", "text")


def _called(event: Call) -> Iterator[Finding]:
    first = event.given(0, "content", "response", "body", "text", "html")
    last = event.name.rsplit(".", 1)[-1]
    if event.name in RAW:
        if first.tainted("079"):
            yield finding(event, f"{first.origin} is declared to be safe HTML")
    elif last in RESPONSES and not _is_other_type(event):
        if _leaves(first, sent_as_html=last != "Response" or "web." not in event.name):
            yield finding(event, f"HTML holds {first.origin}, unescaped")
    elif event.name == "print" or (event.receiver is not None and event.method in WRITERS):
        text = event.given(0)
        if _leaves(text, sent_as_html=event.name == "self.write"):
            yield finding(event, f"HTML holds {text.origin}, unescaped")
    elif event.name == "flask.render_template_string":
        if first.tainted("079"):
            yield finding(event, f"{first.origin} is part of a template's own text")
        yield from _rendered(event, first, escapes=True)
    elif event.method == "from_string" and first.tainted("079"):
        yield finding(event, f"{first.origin} is part of a template's own text")
    elif event.method in ("render", "render_async", "generate", "stream") and event.receiver is not None:
        yield from _template(event, event.receiver)


def _template(event: Call, template: Value) -> Iterator[Finding]:
    """A template that is filled in: made by `Template(text)`, or by an environment that escapes or does not."""
    made = template.call
    if made is None:
        return
    source = made.given(0)
    if made.name in TEMPLATES:
        if source.tainted("079"):
            yield finding(event, f"{source.origin} is part of a template's own text")
        yield from _rendered(event, source, _escapes(made))
    elif made.receiver is not None and made.method in ("from_string", "get_template") and made.receiver.call:
        environment = made.receiver.call
        if environment.name.rsplit(".", 1)[-1] in ("Environment", "SandboxedEnvironment"):
            named = made.method == "get_template"
            text = source if not named else Value()
            yield from _rendered(event, text, _escapes(environment))


def _escapes(made: Call) -> bool:
    """Whether jinja's `autoescape` is on, which it is not by itself; mako's default filters likewise."""
    chosen = made.keywords.get("autoescape")
    if chosen is not None:
        return not chosen.known or bool(chosen.literal)
    filters = made.keywords.get("default_filters")
    return filters is not None and any(each.literal == "h" for each in filters.elements or ())


def _rendered(event: Call, source: Value, escapes: bool) -> Iterator[Finding]:
    """Untrusted values that a template writes out: those it does not escape where its text is known, else all."""
    values = {name: value for name, value in event.keywords.items() if value.tainted("079")}
    for argument in event.args[1 if event.name == "flask.render_template_string" else 0 :]:
        values.update({name: value for name, value in argument.members.items() if value.tainted("079")})
        if argument.tainted("079") and not argument.members:
            values["**"] = argument
    for name, value in values.items():
        if source.text is None:
            written = not escapes
        else:
            found = ["".join(groups) for groups in EXPRESSION.findall(source.text)]
            own = [text for text in found if name == "**" or re.search(rf"\b{re.escape(name)}\b", text)]
            off = "autoescape false" in source.text
            written = any(_unescaped(text, escapes and not off) for text in own)
        if written and not cleaning.escaping(value):
            yield finding(event, f"a template writes out {value.origin} unescaped")


def _unescaped(expression: str, escapes: bool) -> bool:
    if re.search(r"\|\s*safe\b", expression):
        return True
    return not escapes and not ESCAPED.search(expression)


def _is_other_type(event: Call) -> bool:
    """Whether a response says that it is something other than HTML."""
    for name in TYPES:
        value = event.keywords.get(name)
        if value is not None and isinstance(value.literal, str):
            return "html" not in value.literal and "xml" not in value.literal
    return False
