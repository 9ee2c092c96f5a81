"""CWE-732, permissions of an important resource: others may write it, or read what is nobody else's business."""

import ast
import stat
from collections.abc import Iterator

from candor.judges.flow.events import Bind, Call
from candor.judges.flow.names import words
from candor.judges.flow.values import Value
from candor.judges.weaknesses.program import Finding, Program, finding

WRITE_BY_OTHERS = 0o022
ALL_FOR_OTHERS = 0o007
PRIVATE = frozenset(
    "secret secrets key keys keyfile keypair token tokens password passwords passwd pwd passphrase credential "
    "credentials private ssh session sessions cookie cookies patient patients medical health salary salaries "
    "payroll payslip tax bank wallet vault confidential sensitive personal diary pem rsa jwt dotenv auth ssn "
    "backup dump identity license invoice customer customers account accounts crypt encrypted keystore keyring "
    "netrc htpasswd certificate".split()
)
MODES = {
    "os.chmod": 1,
    "os.fchmod": 1,
    "os.lchmod": 1,
    "os.mkdir": 1,
    "os.makedirs": 1,
    "os.open": 2,
    "os.mkfifo": 1,
    "os.mknod": 1,
    "os.creat": 1,
}
MODE_METHODS = frozenset("chmod lchmod mkdir touch".split())
CREATORS = frozenset("open io.open codecs.open".split())
CREATING_METHODS = frozenset("write_text write_bytes touch mkdir".split())
WRITING = frozenset("wax")
PUBLIC = frozenset(["public-read", "public-read-write", "authenticated-read"])


def find(program: Program) -> Iterator[Finding]:
    """Modes that give others more than they need, and private files that are left to the default of all readers."""
    private = not PRIVATE.isdisjoint(program.vocabulary())
    calls = [event for event in program.events if isinstance(event, Call)]
    for event in calls:
        mode = _mode(event)
        if mode is not None:
            wrong = _wrong(mode, private)
            if wrong:
                yield finding(event, f"mode {mode:#o} lets others {wrong} it")
        elif event.name == "os.umask" and isinstance(event.given(0).literal, int):
            left = event.given(0).literal
            if left & WRITE_BY_OTHERS != WRITE_BY_OTHERS:
                yield finding(event, f"umask {left:#o} lets others write all files made after it")
        elif event.name == "tempfile.mktemp":
            yield finding(event, "tempfile.mktemp leaves the file to be made by whoever comes first")
    for bind in program.events:
        if isinstance(bind, Bind) and bind.name == "ACL" and bind.value.literal in PUBLIC:
            yield finding(bind, f"{bind.value.literal!r} lets everybody read it")
    if private and not any(_restricts(event) for event in calls):
        for event in calls:
            if _creates(event):
                yield finding(event, "a private file is made with the default mode, which lets others read it")


def _wrong(mode: int, private: bool) -> str:
    if mode & WRITE_BY_OTHERS:
        return "write"
    return "read" if private and mode & ALL_FOR_OTHERS else ""


def _mode(event: Call) -> int | None:
    """The mode that a call sets; None where it sets none, or one that the source does not give."""
    if event.name in MODES:
        value = event.argument(MODES[event.name], "mode")
    elif event.receiver is not None and event.method in MODE_METHODS:
        value = event.argument(0, "mode")
    else:
        return _shell_mode(event)
    if value is None:
        return 0o777 & ~0o022 if event.name == "os.open" and _makes_file(event) else None
    node = event.node
    if isinstance(value.literal, int) and not isinstance(value.literal, bool):
        return value.literal
    chosen = _argument_node(node, event)
    return _bits(chosen) if chosen is not None else None


def _argument_node(node: ast.Call, event: Call) -> ast.expr | None:
    for keyword in node.keywords:
        if keyword.arg == "mode":
            return keyword.value
    position = MODES.get(event.name, 0)
    return node.args[position] if position < len(node.args) else None


def _bits(node: ast.expr) -> int | None:
    """The bits that a mode has for certain: `stat.S_IRUSR | stat.S_IWUSR`, `old | 0o002`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, (ast.Attribute, ast.Name)):
        bits = getattr(stat, node.attr if isinstance(node, ast.Attribute) else node.id, None)
        return bits if isinstance(bits, int) else None
    if isinstance(node, ast.BinOp):
        left, right = _bits(node.left), _bits(node.right)
        if isinstance(node.op, (ast.BitOr, ast.Add)):
            return None if left is None and right is None else (left or 0) | (right or 0)
        if isinstance(node.op, ast.BitAnd) and left is not None and right is not None:
            return left & right
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        inner = _bits(node.operand)
        return None if inner is None else ~inner & 0o7777
    return None


def _shell_mode(event: Call) -> int | None:
    """The mode in `chmod 777 path`, run as a command."""
    command = event.given(0, "args")
    listed = [str(each.literal) for each in command.elements or ()] or (command.text or "").split()
    if not listed or listed[0].rsplit("/", 1)[-1] != "chmod":
        return None
    for word in listed[1:]:
        if word.isdigit() and len(word) in (3, 4):
            return int(word, 8) if set(word) <= set("01234567") else None
        if word in ("a+w", "o+w", "ugo+w", "a+rw", "a+rwx", "o+rw", "o+rwx", "ugo+rwx", "+w"):
            return 0o666
    return None


def _makes_file(event: Call) -> bool:
    flags = event.node.args[1] if len(event.node.args) > 1 else None
    return flags is not None and "O_CREAT" in ast.unparse(flags)


def _restricts(event: Call) -> bool:
    """Whether a call keeps others out of files: a narrow mode or umask, or an opener that sets one."""
    if event.name == "os.umask":
        left = event.given(0).literal
        return isinstance(left, int) and left & ALL_FOR_OTHERS == ALL_FOR_OTHERS
    if event.name in ("tempfile.mkstemp", "tempfile.mkdtemp", "tempfile.NamedTemporaryFile", "os.fchown"):
        return True
    mode = _mode(event)
    if mode is not None:
        return not mode & ALL_FOR_OTHERS
    sets = event.name in MODES or (event.receiver is not None and event.method in ("chmod", "lchmod"))
    return (sets and event.argument(MODES.get(event.name, 0), "mode") is not None) or "opener" in event.keywords


def _creates(event: Call) -> bool:
    if event.name in CREATORS or (event.receiver is not None and event.method == "open"):
        mode = event.given(1 if event.name in CREATORS else 0, "mode").literal
        return isinstance(mode, str) and bool(WRITING & set(mode))
    if event.name in ("os.mkdir", "os.makedirs"):
        return event.argument(1, "mode") is None
    on_path = event.receiver is not None and _may_be_path(event.receiver)
    return on_path and event.method in CREATING_METHODS and "mode" not in event.keywords


def _may_be_path(value: Value) -> bool:
    return value.kind in ("path", "") and (value.kind == "path" or not words(value.call.name if value.call else ""))
