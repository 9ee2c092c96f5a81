"""Where untrusted input comes from: parameters, requests, the command line, files and the network."""

import ast
from dataclasses import replace

from candor.judges.flow.events import Call
from candor.judges.flow.names import words
from candor.judges.flow.structure import Function
from candor.judges.flow.values import BOUNDS, INJECTIONS, TRUSTED, Kind, Value, untrusted

MACHINERY = frozenset(
    "app application base baseurl cfg client conn connection config configuration con context ctx cur cursor database "
    "db engine env environment executor lock log logger logging loop mailer pool repo repository root schema server "
    "service session settings smtp store storage template timeout tmpl transaction tx writer".split()
)
"""Last words of parameters that the program's own parts are passed in."""
OWN_FOLDERS = frozenset(
    "app archive backup base cache content data dest destination docs export extract install media out output project "
    "public report root site static storage store target temp template templates tmp upload uploads work".split()
)
FOLDER = frozenset("dir directory folder root".split())
OWN_RULES = frozenset("allowed allowlist whitelist permitted trusted".split())
REQUESTS = frozenset(
    "flask.request bottle.request cherrypy.request request req self.request event quart.request sanic.request".split()
)
OWN_PARTS = frozenset("app auth endpoint host method remote_addr scheme session state url_rule user".split())
"""Parts of a request that the server gives."""
HANDLER_PARTS = frozenset("headers path rfile".split())
CGI = ("QUERY_STRING", "PATH_INFO", "REQUEST_URI", "HTTP_", "CONTENT_TYPE")
READS = {
    "input": "what is typed in",
    "raw_input": "what is typed in",
    "sys.stdin.read": "standard input",
    "sys.stdin.readline": "standard input",
    "sys.stdin.readlines": "standard input",
    "sys.stdin.buffer.read": "standard input",
    "urllib.request.urlopen": "a download",
    "urllib.urlopen": "a download",
    "web.input": "a request",
    "cgi.FieldStorage": "a request",
    "sys.stdin": "standard input",
}
NETWORK_METHODS = frozenset(
    "recv recvfrom recv_string recv_json recv_bytes recv_multipart receive receive_json".split()
)
DATABASE_METHODS = frozenset("fetchone fetchall fetchmany".split())
ARCHIVE_METHODS = frozenset("namelist infolist getmembers getnames getinfo getmember".split())
HTTP_CLIENTS = ("requests.", "httpx.", "urllib3.")
HTTP_METHODS = frozenset("get post put patch request delete".split())
VIEW_DECORATORS = frozenset("route get post put patch delete websocket api_route view_config expose".split())
NUMBERS = frozenset(
    "int float Decimal PositiveInt NonNegativeInt PositiveFloat NonNegativeFloat conint confloat".split()
)


def is_view(function: Function) -> bool:
    """Whether a web framework calls a function: it is routed, or takes the request first."""
    for decorator in function.decorator_list:
        named = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(named, ast.Attribute) and named.attr in VIEW_DECORATORS:
            return True
        if isinstance(named, ast.Name) and named.id in ("route", "view", "api_view"):
            return True
    names = [argument.arg for argument in function.args.args if argument.arg not in ("self", "cls")]
    return bool(names) and names[0] in ("request", "req")


def parameter(argument: ast.arg, default: ast.expr | None, function: Function) -> Value:
    """A parameter of a function that others call: untrusted, but for the program's own machinery."""
    name = argument.arg
    if argument is _first(function) and name in ("self", "cls", "mcs"):
        return TRUSTED
    if name in ("request", "req", "event") and not _typed(argument.annotation) & {"str", "int"}:
        return Value(kind="request")
    parts = words(name) or [name]
    if parts[-1] in MACHINERY or not OWN_RULES.isdisjoint(parts) or _is_own_folder(parts):
        return TRUSTED
    view = is_view(function)
    value = untrusted(f"parameter {name}", name, _kind(argument.annotation), parameter=not view)
    if isinstance(default, ast.Constant) and type(default.value) is int:
        value = replace(value, literal=default.value)
    if view:
        value = value.cleared(_framework_checks(argument, default, function))
    return value


def attribute(node: ast.Attribute, receiver: Value, full: str, base_names: frozenset[str]) -> Value | None:
    """What an attribute of a request, or of a handler of requests, holds; None for any other."""
    if full in ("sys.argv", "sys.stdin"):
        return untrusted("the command line" if full == "sys.argv" else "standard input", full)
    if full in REQUESTS:
        return Value(kind="request")
    if receiver.kind == "request":
        return TRUSTED if node.attr in OWN_PARTS else untrusted(f"{ast.unparse(node)} of a request", ast.unparse(node))
    if node.attr in ("data", "cleaned_data") and words(full.removesuffix(f".{node.attr}"))[-1:] == ["form"]:
        return untrusted(f"{ast.unparse(node)} of a form", ast.unparse(node))
    own = isinstance(node.value, ast.Name) and node.value.id == "self"
    if own and node.attr in HANDLER_PARTS and any("Handler" in base for base in base_names):
        return untrusted(f"{ast.unparse(node)} of a request", ast.unparse(node))
    return None


def call(made: Call) -> Value | None:
    """What a call brings in from outside; None for a call that does not."""
    if made.name in READS:
        return untrusted(READS[made.name], ast.unparse(made.node))
    if made.name.startswith(HTTP_CLIENTS) and made.method in HTTP_METHODS:
        return untrusted("a download", ast.unparse(made.node))
    if made.name in ("os.environ.get", "os.getenv"):
        return _variable(made.given(0))
    if made.receiver is None:
        return None
    if made.receiver.kind == "request" and made.method not in OWN_PARTS:
        return untrusted(f"{ast.unparse(made.node)} of a request", ast.unparse(made.node))
    if made.method in NETWORK_METHODS:
        return untrusted("the network", ast.unparse(made.node))
    if made.method in DATABASE_METHODS:
        return untrusted("a database", ast.unparse(made.node))
    if made.method in ARCHIVE_METHODS:
        inputs = made.receiver.inputs | {ast.unparse(made.node)}
        return Value("names in an archive", inputs=inputs, safe=made.receiver.safe & {"022"})
    if made.method in ("get_argument", "get_query_argument", "get_body_argument", "get_cookie"):
        return untrusted(f"{ast.unparse(made.node)} of a request", ast.unparse(made.node), "text")
    return None


def environment(key: Value) -> Value:
    """What `os.environ[key]` holds: the operator's own, but for what a web server puts there."""
    return _variable(key)


def _variable(key: Value) -> Value:
    if isinstance(key.literal, str) and key.literal.startswith(CGI):
        return untrusted(f"{key.literal} of a request", key.literal, "text")
    return TRUSTED


def _first(function: Function) -> ast.arg | None:
    return next(iter([*function.args.posonlyargs, *function.args.args]), None)


def _is_own_folder(parts: list[str]) -> bool:
    return len(parts) > 1 and parts[-1] in FOLDER and not OWN_FOLDERS.isdisjoint(parts[:-1])


def _typed(annotation: ast.expr | None) -> set[str]:
    """The names in an annotation."""
    if annotation is None:
        return set()
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return set(words(annotation.value)) | {annotation.value}
    named = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    return named | {node.attr for node in ast.walk(annotation) if isinstance(node, ast.Attribute)}


def _kind(annotation: ast.expr | None) -> Kind:
    typed = _typed(annotation)
    if typed & {"dict", "Dict", "Mapping", "MutableMapping", "defaultdict"}:
        return "dict"
    if typed & {"list", "List", "tuple", "Tuple", "Sequence", "Iterable", "set"}:
        return "list"
    if typed & NUMBERS:
        return "number"
    if typed & {"str", "bytes"}:
        return "text"
    return "path" if typed & {"Path", "PurePath"} else ""


def _framework_checks(argument: ast.arg, default: ast.expr | None, function: Function) -> frozenset[str]:
    """What a framework makes sure of before it calls a view: converters in the route, types and bounds of FastAPI."""
    tags: set[str] = set()
    for decorator in function.decorator_list:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if f"<int:{argument.arg}>" in node.value or f"<uuid:{argument.arg}>" in node.value:
                    tags |= INJECTIONS | {"020:low"}
                if f"<float:{argument.arg}>" in node.value:
                    tags |= INJECTIONS
    typed = _typed(argument.annotation)
    if typed & (NUMBERS | {"UUID", "date", "datetime", "bool"}):
        tags |= INJECTIONS
    if "Literal" in typed:
        tags |= INJECTIONS | BOUNDS
    for part in (argument.annotation, default):
        for constraint in ast.walk(part) if part is not None else ():
            if isinstance(constraint, ast.keyword):
                low, high = {"ge": ("020:low",), "gt": ("020:low",)}, {"le": ("020:high",), "lt": ("020:high",)}
                tags.update({**low, **high, "max_length": ("020:high",)}.get(str(constraint.arg), ()))
                if constraint.arg in ("pattern", "regex", "ge", "gt", "le", "lt", "min_length", "max_length"):
                    tags.add("020:any")
    return frozenset(tags)
