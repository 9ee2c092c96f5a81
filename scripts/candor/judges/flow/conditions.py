"""What a condition that holds, or a call that has let a value pass, says of untrusted input."""

import ast
from typing import TYPE_CHECKING

from candor.judges.flow.cleaning import restricts
from candor.judges.flow.events import Call
from candor.judges.flow.names import words
from candor.judges.flow.predicates import (
    CHECKING,
    NOT_CHECKING,
    URL,
    WITHIN,
    Side,
    approves,
    denies,
    matched,
    searched,
    starts,
    within,
    without_removals,
)
from candor.judges.flow.state import State, merged, stable, subjects
from candor.judges.flow.values import ANYTHING, BOUNDS, INJECTIONS, TRUSTED, Value, constant, element

if TYPE_CHECKING:
    from candor.judges.flow.expressions import Expressions

SIGNED = frozenset({"502"})
WORDLIKE = frozenset("isalnum isalpha isdigit isdecimal isnumeric isidentifier".split())
COMPARED_SAFELY = frozenset(
    "hmac.compare_digest secrets.compare_digest django.utils.crypto.constant_time_compare".split()
)
URL_PARTS = frozenset("netloc hostname scheme port".split())
HOST_CHECKS = frozenset("url_has_allowed_host_and_scheme is_safe_url".split())
CHECKS_BY_RAISING = frozenset("int float decimal.Decimal".split())
FORMATS_BY_RAISING = frozenset(
    "uuid.UUID ipaddress.ip_address ipaddress.ip_network ipaddress.IPv4Address datetime.datetime.strptime "
    "datetime.strptime datetime.datetime.fromisoformat datetime.fromisoformat datetime.date.fromisoformat "
    "date.fromisoformat".split()
)
FLIPPED = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}
NEGATED = {
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
LEAST_WORDS = frozenset("min minimum least lowest lower floor low first start".split())


def assume(walk: "Expressions", test: ast.expr, truth: bool, state: State) -> State:
    """The state in which a condition is true, or false; `state` may be changed."""
    walk.muted += 1
    try:
        return _assume(walk, test, truth, state)
    finally:
        walk.muted -= 1


def holders(walk: "Expressions", node: ast.expr) -> list[str]:
    """The names of what holds the items that an expression goes through: `z` in `z.namelist()`, `items` in `items`."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and not node.args:
            return holders(walk, node.func.value)
        return [name for argument in node.args for name in holders(walk, argument)]
    key = stable(node)
    return [key] if key else []


def let_pass(walk: "Expressions", node: ast.Call, call: Call, state: State) -> None:
    """Note what is known once a call has come back, since it raises an error otherwise."""
    full = walk.names.full
    if call.method == "relative_to" and isinstance(node.func, ast.Attribute) and call.receiver is not None:
        if "022:resolved" in call.receiver.safe:
            within(node.func.value, call.receiver, walk, state)
        return
    if call.name in CHECKS_BY_RAISING and node.args:
        state.clear(subjects(node.args[0], full), INJECTIONS)
        return
    if call.name in FORMATS_BY_RAISING and node.args:
        state.clear(subjects(node.args[0], full), INJECTIONS | {"020:any"})
        return
    if call.method == "index" and isinstance(node.func, ast.Attribute) and call.receiver is not None and node.args:
        if call.receiver.origin is None:
            state.clear(subjects(node.args[0], full), ANYTHING)
        return
    own = walk.own_function(node) is not None
    parts = words(call.method)
    if not own and parts and parts[0] in CHECKING and not call.method.startswith(NOT_CHECKING):
        for argument, value in zip(node.args, call.args, strict=True):
            state.clear(subjects(argument, full), ANYTHING)
            state.clear_inputs(value.inputs, {"020:any"})
            if parts[0] == "verify":
                state.clear_inputs(value.inputs, SIGNED)


def _assume(walk: "Expressions", test: ast.expr, truth: bool, state: State) -> State:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _assume(walk, test.operand, not truth, state)
    if isinstance(test, ast.BoolOp):
        if isinstance(test.op, ast.And) == truth:  # all parts are as they say
            for part in test.values:
                walk.expression(part, state)
                state = _assume(walk, part, truth, state)
            return state
        ways, before = [], state
        for part in test.values:  # the first one that is not
            ways.append(_assume(walk, part, truth, before.copy()))
            before = _assume(walk, part, not truth, before.copy())
        return merged(ways) or state
    if isinstance(test, ast.NamedExpr):
        walk.expression(test, state)
        return _assume(walk, test.value, truth, state)
    if isinstance(test, ast.Name):
        return _assume_name(walk, test, truth, state)
    if isinstance(test, ast.Compare):
        return _assume_comparison(walk, test, truth, state)
    if isinstance(test, ast.Call):
        return _assume_call(walk, test, truth, state)
    value = walk.expression(test, state)
    if not truth and isinstance(test, ast.Attribute) and test.attr in ("netloc", "scheme"):
        state.clear_inputs(value.inputs, URL)  # a URL of no host leads nowhere else
    if isinstance(test, ast.BinOp) and isinstance(test.op, ast.Sub) and not truth:  # set(x) - allowed is empty
        _subset(walk, test.left, walk.expression(test.right, state), state)
    return state


def _assume_name(walk: "Expressions", test: ast.Name, truth: bool, state: State) -> State:
    value = state.values.get(test.id)
    condition = value.condition if value is not None else None
    if condition is None or (isinstance(condition, ast.Name) and condition.id == test.id):
        return state
    named = {node.id for node in ast.walk(condition) if isinstance(node, ast.Name)}
    if test.id in named:  # it was computed from its own earlier value
        return state
    return _assume(walk, condition, truth, state)


# -- comparisons -----------------------------------------------------------------------------------------------------


def _assume_comparison(walk: "Expressions", test: ast.Compare, truth: bool, state: State) -> State:
    sides = [Side(node, walk.expression(node, state)) for node in (test.left, *test.comparators)]
    if not truth and len(test.ops) > 1:
        return state
    for operator, left, right in zip(test.ops, sides, sides[1:], strict=False):
        kind = type(operator) if truth else NEGATED[type(operator)]
        state = _compared(walk, left, kind, right, state, test)
    return state


def _compared(
    walk: "Expressions", left: Side, kind: type[ast.cmpop], right: Side, state: State, test: ast.Compare
) -> State:
    if kind in (ast.Is, ast.IsNot, ast.Eq, ast.NotEq) and isinstance(right.node, ast.Constant):
        if right.node.value is None and isinstance(left.node, (ast.Call, ast.Name, ast.NamedExpr)):
            return _assume(walk, left.node, kind in (ast.IsNot, ast.NotEq), state)
        if isinstance(right.node.value, bool) and isinstance(left.node, (ast.Call, ast.Name)):
            return _assume(walk, left.node, right.node.value == (kind in (ast.Is, ast.Eq)), state)
    _looked_at(walk, left, right, state, f"{test.lineno}{kind.__name__}")
    if kind in (ast.In, ast.NotIn):
        _member(walk, left, kind is ast.In, right, state)
    elif kind is ast.Eq:
        _equal(walk, left, right, state)
        _equal(walk, right, left, state)
    elif kind in FLIPPED:
        _bounded(walk, left, kind, right, state)
        _bounded(walk, right, FLIPPED[kind], left, state)
        if kind is ast.LtE:
            _subset(walk, left.node, right.value, state)
    return state


def _looked_at(walk: "Expressions", left: Side, right: Side, state: State, where: str) -> None:
    """A comparison is a look at a value, in each of its outcomes another one."""
    for side, other in ((left, right), (right, left)):
        nothing = isinstance(other.node, ast.Constant) and other.node.value in (None, "", b"")
        if side.value.origin is not None and not nothing:
            state.clear_inputs(side.value.inputs, {f"020:any {where}"})
        if isinstance(side.node, ast.Call) and getattr(side.node.func, "id", "") == "len" and side.node.args:
            state.clear(subjects(side.node.args[0], walk.names.full) if not nothing else [], {f"020:any {where}"})


def _member(walk: "Expressions", left: Side, member: bool, right: Side, state: State) -> None:
    full = walk.names.full
    if member and right.value.origin is None:
        if right.value.call is not None and right.value.call.name == "range":
            state.clear(subjects(left.node, full), BOUNDS | INJECTIONS)
        else:
            state.clear(subjects(left.node, full), ANYTHING)
        _url_checked(left, state)
    if member and isinstance(right.node, ast.Attribute) and right.node.attr == "parents":
        value = walk.expression(right.node.value, state)
        if "022:resolved" in value.safe:
            within(right.node.value, value, walk, state)
    if not member and left.value.known:
        absent = {"/": WITHIN, "..": {"022:up"}, "../": (), "\0": ()}.get(str(left.value.literal), ())
        state.clear(subjects(right.node, full), absent)


def _equal(walk: "Expressions", left: Side, right: Side, state: State) -> None:
    """`left == right` holds: what that says of the left side."""
    full = walk.names.full
    value = left.value
    if value.origin is not None and right.value.origin is None and right.value.literal not in ("", b""):
        state.clear(subjects(left.node, full), ANYTHING)
        _url_checked(left, state)
    if value.origin is not None and right.value.origin is not None and value.inputs <= right.value.inputs:
        state.clear(subjects(right.node, full), value.safe - right.value.safe)  # cleaning has changed nothing
    if isinstance(left.node, ast.Call):
        name = full(left.node.func)
        if name in ("os.path.commonpath", "os.path.commonprefix") and "022:resolved" in _first_paths(walk, left, state):
            for argument in left.node.args:
                for each in argument.elts if isinstance(argument, (ast.List, ast.Tuple)) else ():
                    within(each, walk.expression(each, state), walk, state)
    call = value.call
    if call is not None and call.method in ("hexdigest", "digest"):
        _signed(walk, left.node, state)
        _signed(walk, right.node, state)
    if isinstance(left.node, ast.Attribute) and left.node.attr == "parent":
        state.clear(subjects(left.node.value, full), WITHIN)
        state.clear_inputs(value.inputs, WITHIN)


def _first_paths(walk: "Expressions", side: Side, state: State) -> frozenset[str]:
    """Tags of all untrusted paths of which a common path is taken."""
    assert isinstance(side.node, ast.Call)
    values = [walk.expression(argument, state) for argument in side.node.args]
    tainted = [value.safe for value in values if value.origin is not None]
    return frozenset.intersection(*tainted) if tainted else frozenset()


def _bounded(walk: "Expressions", left: Side, kind: type[ast.cmpop], right: Side, state: State) -> None:
    """`left < right` and its like: an upper bound whatever the right side is, a lower one where it is the program's."""
    full = walk.names.full
    named = subjects(left.node, full)
    if isinstance(left.node, ast.Call) and getattr(left.node.func, "id", "") == "len" and left.node.args:
        if kind in (ast.Lt, ast.LtE):
            state.clear(subjects(left.node.args[0], full), {"020:high"})
        return
    if kind in (ast.Lt, ast.LtE):
        state.clear(named, {"020:high"})
        return
    literal = right.value.literal if right.value.known else None
    number = isinstance(literal, (int, float)) and literal >= (-1 if kind is ast.Gt else 0)
    named_least = isinstance(right.node, (ast.Name, ast.Attribute)) and right.value.origin is None
    least = named_least and not LEAST_WORDS.isdisjoint(words(ast.unparse(right.node)))
    if number or least:
        state.clear(named, {"020:low"})


def _subset(walk: "Expressions", node: ast.expr, allowed: Value, state: State) -> None:
    """`set(x) <= allowed`: x has no other characters."""
    if isinstance(node, ast.Call) and walk.names.full(node.func) in ("set", "frozenset") and allowed.origin is None:
        for argument in node.args:
            state.clear(subjects(argument, walk.names.full), ANYTHING)


def _url_checked(side: Side, state: State) -> None:
    """A part of a URL is one of those that the program names, so the URL leads to a known place."""
    parts = {node.attr for node in ast.walk(side.node) if isinstance(node, ast.Attribute)}
    call = side.value.call
    parsed = call is not None and call.method in ("urlparse", "urlsplit")
    if parts & {"netloc", "hostname"} or (parsed and not parts & URL_PARTS):
        state.clear_inputs(side.value.inputs, URL)


def _signed(walk: "Expressions", node: ast.expr, state: State) -> None:
    """What a signature was computed from, and the signature, are what they claim to be."""
    for name in ast.walk(node):
        if isinstance(name, ast.expr):
            key = stable(name)
            if key in state.values:
                value = state.values[key]
                state.clear_inputs(value.inputs, SIGNED)
                if value.call is not None:
                    _signed_call(value.call, state)


def _signed_call(call: Call, state: State) -> None:
    for part in (call.receiver, *call.args, *call.keywords.values()):
        if part is not None:
            state.clear_inputs(part.inputs, SIGNED)
            if part.call is not None and part.call is not call:
                _signed_call(part.call, state)


# -- predicates ------------------------------------------------------------------------------------------------------


def _assume_call(walk: "Expressions", test: ast.Call, truth: bool, state: State) -> State:
    full = walk.names.full
    name = full(test.func)
    function = walk.own_function(test)
    if function is not None:
        ways = [
            _assume(walk, way.node, truth, way.state.copy())
            for way in walk.run(function, test, state)
            if not (isinstance(way.node, ast.Constant) and bool(way.node.value) != truth)
        ]
        walk.vouch(function, test, ways, state)
        return state
    if name in ("any", "all", "bool") and test.args:
        return _assume_each(walk, name, test.args[0], truth, state)
    value = walk.expression(test, state)
    call = value.call
    if isinstance(test.func, ast.Attribute):
        held = Side(test.func.value, walk.expression(test.func.value, state))
        _assume_method(walk, test, held, truth, state)
    arguments = [Side(node, walk.expression(node, state)) for node in test.args]
    if name in COMPARED_SAFELY and truth:
        for argument in arguments:
            _signed(walk, argument.node, state)
    elif name == "isinstance" and truth and len(arguments) == 2:
        if {node.id for node in ast.walk(test.args[1]) if isinstance(node, ast.Name)} <= {"int", "float", "bool"}:
            state.clear(subjects(test.args[0], full), INJECTIONS)
        state.clear(subjects(test.args[0], full), {f"020:any {test.lineno}"})
    elif name in ("re.fullmatch", "re.match") and truth and len(arguments) > 1:
        matched(walk, arguments[0].value, name == "re.fullmatch", arguments[1], state)
    elif name == "re.search" and len(arguments) > 1:
        searched(walk, arguments[0].value, arguments[1], truth, state)
    elif name == "os.path.isabs" and not truth:
        state.clear(subjects(test.args[0], full), {"022:absolute"})
    elif name.rsplit(".", 1)[-1] in HOST_CHECKS and truth:
        state.clear(subjects(test.args[0], full), ANYTHING)
    elif call is not None and approves(name) and (truth != bool(denies(name))):
        for argument in arguments:
            state.clear(subjects(argument.node, full), ANYTHING)
            state.clear_inputs(argument.value.inputs, {f"020:any {test.lineno}"})
            if {"signature", "hmac", "mac", "digest", "token"} & set(words(name.rsplit(".", 1)[-1])):
                state.clear_inputs(argument.value.inputs, SIGNED)
    return state


def _assume_method(walk: "Expressions", test: ast.Call, held: Side, truth: bool, state: State) -> None:
    assert isinstance(test.func, ast.Attribute)
    full, method = walk.names.full, test.func.attr
    arguments = [Side(node, walk.expression(node, state)) for node in test.args]
    named = subjects(held.node, full)
    if method in WORDLIKE and truth:
        rest, others = without_removals(held.node)
        state.clear(subjects(rest, full), restricts(others) | {"020:any", "020:low", "020:url"})
        state.clear_inputs(held.value.inputs, {f"020:any {test.lineno}"})
    elif method == "startswith" and arguments:
        starts(held, arguments[0].value, truth, walk, state, test.lineno)
    elif method == "endswith" and truth:
        state.clear_inputs(held.value.inputs, {f"020:any {test.lineno}"})
    elif method == "is_relative_to" and truth and "022:resolved" in held.value.safe:
        within(held.node, held.value, walk, state)
    elif method == "is_absolute" and not truth:
        state.clear(named, {"022:absolute"})
    elif method in ("fullmatch", "match") and truth and arguments and held.value.call is not None:
        if held.value.call.name == "re.compile":
            matched(walk, held.value.call.given(0), method == "fullmatch", arguments[0], state)
    elif method == "search" and arguments and held.value.call is not None and held.value.call.name == "re.compile":
        searched(walk, held.value.call.given(0), arguments[0], truth, state)
    elif method in ("issubset", "issuperset", "isdisjoint") and arguments:
        if method == "issubset" and truth:
            _subset(walk, held.node, arguments[0].value, state)
        elif method == "issuperset" and truth and held.value.origin is None:
            state.clear(subjects(arguments[0].node, full), ANYTHING)
    elif method in ("__contains__", "exists", "filter") and truth and held.value.origin is None and arguments:
        state.clear([key for argument in arguments for key in subjects(argument.node, full)], {"020:any"})


def _assume_each(walk: "Expressions", name: str, argument: ast.expr, truth: bool, state: State) -> State:
    """`all(…)` that holds, or `any(…)` that does not, says the same of each item."""
    if name == "bool":
        return _assume(walk, argument, truth, state)
    if not isinstance(argument, (ast.GeneratorExp, ast.ListComp)) or (name == "all") != truth:
        return state
    generator = argument.generators[0]
    if len(argument.generators) > 1 or not isinstance(generator.target, ast.Name):
        return state
    items = walk.expression(generator.iter, state)
    for value in _spelled(items):
        inner = state.copy()
        inner.assign(generator.target.id, value)
        inner = _assume(walk, argument.elt, truth, inner)
        if items.origin is None:  # what the program names is compared with something else
            for key, held in inner.values.items():
                if key in state.values and key != generator.target.id:
                    state.values[key] = held
        else:
            item = inner.values.get(generator.target.id, TRUSTED)
            state.clear(holders(walk, generator.iter), item.safe & ANYTHING)
            state.clear_inputs(items.inputs, {tag for tag in item.safe if tag.startswith("020:any")})
    return state


def _spelled(items: Value) -> list[Value]:
    """The items that the source spells out, or one that stands for all."""
    if items.origin is None and isinstance(items.literal, str):
        return [constant(character) for character in items.literal]
    return list(items.elements) if items.elements else [element(items)]
