"""CWE-20, improper input validation: untrusted input is used where its value matters before anything looked at it.

A number needs bounds where it is an index, a size or an amount; a URL a known host; a name that chooses code or
attributes a list of those allowed; anything that is stored or sent on, some look at it.
"""

import ast
from collections.abc import Iterator

from candor.judges.flow.events import Arithmetic, Bind, Call, Event, Index
from candor.judges.flow.names import words
from candor.judges.flow.values import BOUNDS, Value
from candor.judges.weaknesses.program import Finding, Program, finding

INDEX_WORDS = frozenset(
    "index idx i j k n position pos slot row col column offset rank seat page line level lane floor nth number "
    "ordinal cell place".split()
)
AMOUNT_WORDS = frozenset(
    "amount quantity qty count price units points coins hours days tickets copies percent percentage discount rate "
    "weight size width height length total sum value credits tokens seconds minutes number n age score stake bid tip "
    "delta step factor ratio balance volume pieces items nights guests".split()
)
SIZES: dict[str, tuple[int, ...]] = {
    "range": (0, 1),
    "bytearray": (0,),
    "bytes": (0,),
    "os.urandom": (0,),
    "secrets.token_bytes": (0,),
    "secrets.token_hex": (0,),
    "secrets.token_urlsafe": (0,),
    "time.sleep": (0,),
    "asyncio.sleep": (0,),
    "itertools.repeat": (1,),
    "numpy.zeros": (0,),
    "numpy.ones": (0,),
    "numpy.empty": (0,),
    "np.zeros": (0,),
    "np.ones": (0,),
    "np.empty": (0,),
    "random.sample": (1,),
    "PIL.Image.new": (1,),
    "Image.new": (1,),
}
SIZE_KEYWORDS = frozenset("max_workers maxlen size timeout".split())
SIZE_METHODS = frozenset("resize thumbnail ljust rjust center zfill".split())
REDIRECTS = frozenset("redirect HttpResponseRedirect RedirectResponse HTTPFound HTTPSeeOther".split())
FETCHES = ("requests.", "httpx.", "urllib.request.urlopen", "urllib.urlopen", "aiohttp.")
RUNS_CODE = frozenset(
    "eval exec compile __import__ importlib.import_module getattr setattr operator.attrgetter".split()
)
STORES = frozenset(
    "append add insert save create update put set send sendmail send_message post enqueue publish register push "
    "store schedule write writerow execute charge transfer withdraw deposit submit dispatch connect bind "
    "create_connection lpush rpush hset emit".split()
)


def find(program: Program) -> Iterator[Finding]:
    """Uses of untrusted input that nothing has looked at."""
    stores: list[tuple[Event, Value]] = []
    for event in program.events:
        if isinstance(event, Index):
            yield from _index(event)
        elif isinstance(event, Arithmetic):
            yield from _arithmetic(event)
        elif isinstance(event, Call):
            yield from _call(event)
            if isinstance(event.node.func, ast.Attribute) and event.method in STORES:
                stores += [(event, value) for value in (*event.args, *event.keywords.values())]
        elif isinstance(event, Bind) and event.place in ("attribute", "item") and event.function != "__init__":
            if event.name == "Location":
                yield from _url(event, event.value)
            stores.append((event, event.value))
    for event, value in stores:
        if value.origin is not None and not value.looked_at and not BOUNDS & value.safe:
            yield finding(event, f"{value.origin} is kept or sent on, and nothing has looked at it")


def _index(event: Index) -> Iterator[Finding]:
    index, container = event.index, event.container
    if index.origin is None or container.kind in ("dict", "request") or not _is_number(index, INDEX_WORDS):
        return
    caught = event.handled & {"IndexError", "LookupError", "Exception", "BaseException"}
    if "020:low" not in index.safe:
        yield finding(event, f"{index.origin} is an index that may be negative")
    elif "020:high" not in index.safe and not caught:
        yield finding(event, f"{index.origin} is an index without an upper bound")


def _arithmetic(event: Arithmetic) -> Iterator[Finding]:
    sides = [side for side in (event.left, event.right) if side.origin is not None]
    if event.operator in (ast.Div, ast.FloorDiv, ast.Mod):
        divisor = event.right
        if divisor.origin is not None and _is_number(divisor, AMOUNT_WORDS) and not _bounded(divisor):
            yield finding(event, f"{divisor.origin} is a divisor that may be zero")
        return
    if event.operator is ast.Mult and any(
        side.kind in ("text", "list") and side.origin is None for side in (event.left, event.right)
    ):
        for side in sides:
            if "020:high" not in side.safe:
                yield finding(event, f"{side.origin} is a size without an upper bound")
        return
    if event.operator in (ast.LShift, ast.Pow):
        if event.right.origin is not None and "020:high" not in event.right.safe:
            yield finding(event, f"{event.right.origin} is an exponent without an upper bound")
        return
    counts = event.operator in (ast.Mult, ast.Sub) or (event.state and event.operator is ast.Add)
    numbers = [side for side in sides if _is_number(side, AMOUNT_WORDS)]
    if counts and numbers and not any(_bounded(side) for side in numbers):
        yield finding(event, f"{numbers[0].origin} is an amount that may be negative")


def _call(event: Call) -> Iterator[Finding]:
    for position in SIZES.get(event.name, ()):
        size = event.given(position)
        if size.origin is not None and "020:high" not in size.safe and (event.name != "bytes" or size.kind == "number"):
            yield finding(event, f"{size.origin} is a size without an upper bound")
    sized = [value for name, value in event.keywords.items() if name in SIZE_KEYWORDS]
    if event.receiver is not None and event.method in SIZE_METHODS:
        sized += event.args[:1]
    for size in sized:
        if size.origin is not None and "020:high" not in size.safe:
            yield finding(event, f"{size.origin} is a size without an upper bound")
    if event.name.rsplit(".", 1)[-1] in REDIRECTS:
        yield from _url(event, event.given(0, "url", "location", "to"))
    elif event.name.startswith(FETCHES):
        yield from _url(event, event.given(1 if event.method == "request" else 0, "url"))
    elif event.name in RUNS_CODE:
        chosen = event.given(1 if event.name in ("getattr", "setattr") else 0)
        if chosen.origin is not None and "020:any" not in chosen.safe:
            yield finding(event, f"{chosen.origin} chooses what is run or changed")
    elif event.method == "pop" and event.receiver is not None and event.args and event.receiver.kind == "list":
        yield from _index(Index(event.node, event.receiver, event.args[0], frozenset()))


def _url(event: Event, url: Value) -> Iterator[Finding]:
    """A URL that untrusted input can lead elsewhere: it does not start with the program's own text."""
    if url.origin is None or "020:url" in url.safe or {"020:local", "020:single"} <= url.safe:
        return
    if url.text is not None and not url.text.startswith("\0") and "/" in url.text.split("\0")[0][8:]:
        return
    if url.call is not None and url.call.method in ("url_for", "reverse"):
        return
    yield finding(event, f"{url.origin} is a URL, and nothing has looked at where it leads")


def _is_number(value: Value, names: frozenset[str]) -> bool:
    """Whether untrusted input is a number: converted to one, typed as one, or named like one."""
    if value.kind == "number":
        return True
    if value.kind in ("text", "path", "dict", "list"):
        return False
    return any(words(name)[-1:] and words(name)[-1] in names for name in value.inputs if name.isidentifier())


def _bounded(value: Value) -> bool:
    return "020:low" in value.safe
