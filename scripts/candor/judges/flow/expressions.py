"""The values of expressions, and what happens to values in them."""

import ast
import functools
import stat
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from candor.errors import CandorError
from candor.judges.flow import cleaning, conditions, sources
from candor.judges.flow.events import Arithmetic, Bind, Call, Compare, Event, Index, Return, Text
from candor.judges.flow.formats import percent_pieces, without_percents
from candor.judges.flow.names import Names
from candor.judges.flow.state import State, stable
from candor.judges.flow.structure import Function, checks_fields, outliving
from candor.judges.flow.values import (
    ANYTHING,
    BOUNDS,
    CHECKED,
    HOLE,
    INJECTIONS,
    TRUSTED,
    Value,
    combined,
    constant,
    either,
    element,
    untrusted,
)

STEPS = 20_000
"""Statements and expressions that a walk takes; a program that needs more is given up."""
ENDS = frozenset(
    "sys.exit exit quit os._exit os.abort abort flask.abort bottle.abort parser.error self.fail pytest.fail "
    "self.skipTest werkzeug.exceptions.abort".split()
)
"""Functions that do not return."""
ADDING = frozenset("append extend insert add update appendleft write setdefault".split())
LISTS = frozenset("list tuple sorted set reversed enumerate zip iter".split())
ENUMS = frozenset("Enum StrEnum IntEnum enum.Enum enum.StrEnum enum.IntEnum".split())
NUMBER_FORMATS = frozenset("dioxXeEfFgGu")


class TooComplex(CandorError):
    """A program is too large, or too deeply nested, to be walked."""


class Exit(NamedTuple):
    """A way out of a function: what it gives back, the state there, and the expression that it gives back."""

    value: Value
    state: State
    node: ast.expr


@dataclass
class Frame:
    """A function under way."""

    name: str
    view: bool = False
    entry: bool = False
    """Whether others call it, so that what it gives back leaves the program."""
    class_name: str | None = None
    exits: list[Exit] = field(default_factory=list)
    handled: list[frozenset[str]] = field(default_factory=list)
    """Exceptions that the `try` statements around catch."""
    loops: list[tuple[list[State], list[State]]] = field(default_factory=list)
    """States at the `break` and `continue` statements of the loops around."""


class Expressions(ABC):
    """A walk's expressions; how functions are walked is left to the statements' class."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.names = Names(tree)
        self.globals = State()
        self.frames = [Frame("")]
        self.events: list[Event] = []
        self.muted = 0
        self.ended = False
        """Whether the last call does not come back."""
        self.outliving = outliving(tree)
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        self._bases = {node.name: frozenset(ast.unparse(base) for base in node.bases) for node in classes}
        self.checking = frozenset(node.name for node in classes if checks_fields(node))
        """Classes that refuse values they are not made for."""
        self._steps = 0

    @abstractmethod
    def own_function(self, call: ast.Call) -> Function | None:
        """The program's own function that a call runs, if it may be walked here; None for any other."""

    @abstractmethod
    def run(self, function: Function, call: ast.Call, state: State) -> list[Exit]:
        """Walk one of the program's own functions as a call does: each way out."""

    @abstractmethod
    def vouch(self, function: Function, call: ast.Call, ways: Sequence[State], state: State) -> None:
        """Note what the ways out of a function say of the arguments that it was called with."""

    def note(self, event: Event) -> None:
        """Keep an event, unless what it is of was walked before."""
        if not self.muted:
            self.events.append(event)

    def step(self) -> None:
        """Count a step, and give up after too many."""
        self._steps += 1
        if self._steps > STEPS:
            raise TooComplex("the code has too many ways through it to be analysed")

    def assign(self, target: ast.expr, value: Value, state: State) -> None:
        """Give a target a value."""
        function = self.frames[-1].name
        if isinstance(target, ast.Name):
            state.assign(target.id, value)
            self.note(Bind(target, target.id, value, "name", function))
        elif isinstance(target, ast.Attribute):
            self.expression(target.value, state)
            key = stable(target)
            if key:
                state.assign(key, value)
            self.note(Bind(target, target.attr, value, "attribute", function))
        elif isinstance(target, ast.Subscript):
            self._assign_item(target, value, state, function)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, value, state)
        elif isinstance(target, (ast.Tuple, ast.List)):
            spelled = value.elements if value.elements and len(value.elements) == len(target.elts) else None
            for position, each in enumerate(target.elts):
                self.assign(each, spelled[position] if spelled else element(value), state)

    def _assign_item(self, target: ast.Subscript, value: Value, state: State, function: str) -> None:
        container = self.expression(target.value, state)
        index = self.expression(target.slice, state)
        self._note_index(target, container, index)
        key, holder = stable(target), stable(target.value)
        if holder and holder in state.values and value.origin is not None:
            held = state.values[holder]
            state.values[holder] = replace(combined([held, value], held.kind, held.text), call=held.call)
        if key:
            state.assign(key, value)
        name = index.literal if isinstance(index.literal, str) else ""
        kept = value if index.origin is None else combined([value, index])
        self.note(Bind(target, name, kept, "item", function))

    def expression(self, node: ast.expr, state: State) -> Value:
        """The value of an expression; what happens on the way is noted."""
        self.step()
        evaluate = getattr(self, f"_value_{type(node).__name__}", None)
        if evaluate is not None:
            value: Value = evaluate(node, state)
            return value
        children = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return combined([self.expression(child, state) for child in children])

    def _value_Constant(self, node: ast.Constant, state: State) -> Value:
        value = constant(node.value)
        if value.text is not None:
            self.note(Text(node, value.text))
        return value

    def _value_Name(self, node: ast.Name, state: State) -> Value:
        if node.id in state.values:
            return state.values[node.id]
        if node.id in self.globals.values:
            return self.globals.values[node.id]
        name = self.names.full(node)
        return Value(kind="request", name=name) if name in sources.REQUESTS else Value(name=name)

    def _value_JoinedStr(self, node: ast.JoinedStr, state: State) -> Value:
        parts = []
        for piece in node.values:
            if isinstance(piece, ast.FormattedValue):
                parts.append(self._formatted(piece, state))
            else:
                parts.append(constant(piece.value if isinstance(piece, ast.Constant) else ""))
        value = cleaning.concatenated(parts)
        self.note(Text(node, value.text or ""))
        return value

    def _formatted(self, node: ast.FormattedValue, state: State) -> Value:
        value = self.expression(node.value, state)
        spec = ast.unparse(node.format_spec).rstrip("'\"") if node.format_spec else ""
        if spec.endswith(tuple("dxXobeEfFgGn%")):
            return replace(value.cleared(INJECTIONS), text=None)  # which text cannot be formatted by
        return replace(value, text=None) if node.conversion == ord("r") else value

    def _value_BinOp(self, node: ast.BinOp, state: State) -> Value:
        left, right = self.expression(node.left, state), self.expression(node.right, state)
        return self.operation(node, node.op, left, right, False)

    def operation(self, node: ast.AST, operator: ast.operator, left: Value, right: Value, outlives: bool) -> Value:
        """`left op right`: text, a list, a path or a number; `outlives`: the result changes more than the function."""
        if isinstance(operator, ast.Mod) and left.text is not None:
            return self._percent(node, left, right)
        if isinstance(operator, ast.Add) and "list" in (left.kind, right.kind):
            pieces = "".join(side.text or "" for side in (left, right))
            spelled = (left.elements or ()) + (right.elements or ())
            both = left.elements is not None and right.elements is not None
            return replace(combined([left, right], "list", pieces or None), elements=spelled if both else None)
        if isinstance(operator, ast.Add) and (left.text is not None or right.text is not None):
            value = cleaning.concatenated([left, right])
            self.note(Text(node, value.text or ""))
            escaped = cleaning.escaping(left) or cleaning.escaping(right)
            return replace(value.cleared({"079"}), call=left.call or right.call) if escaped else value
        if isinstance(operator, ast.Div) and "number" not in (left.kind, right.kind):
            if left.kind == "path" or not (left.known or right.known or right.kind in ("list", "dict")):
                self.note(Arithmetic(node, type(operator), left, right, outlives))
                return cleaning.joined_path([left, right])
            if isinstance(right.literal, str):
                return cleaning.joined_path([left, right])
        self.note(Arithmetic(node, type(operator), left, right, outlives))
        if isinstance(operator, ast.Mult) and (left.text is not None or "list" in (left.kind, right.kind)):
            return combined([left, right], left.kind or right.kind, left.text or right.text)
        value = combined([left, right], "number")
        if isinstance(operator, (ast.Mod, ast.BitAnd)) and right.origin is None:
            value = value.cleared(BOUNDS | CHECKED)
        known = left.known and right.known and isinstance(left.literal, int) and isinstance(right.literal, int)
        return replace(value, literal=_folded(operator, left.literal, right.literal)) if known else value

    def _percent(self, node: ast.AST, left: Value, right: Value) -> Value:
        text = left.text or ""
        parts = list(right.elements) if right.elements is not None else [*right.members.values()] or [right]
        pieces = percent_pieces(text)
        only_numbers = bool(pieces) and all(piece in NUMBER_FORMATS for piece in pieces)
        if len(pieces) == len(parts):
            parts = [
                part.cleared(INJECTIONS) if piece in NUMBER_FORMATS else part
                for piece, part in zip(pieces, parts, strict=True)
            ]
        elif only_numbers:
            parts = [part.cleared(INJECTIONS) for part in parts]
        if not text.startswith("%"):
            parts = [part.cleared({"022:absolute"}) for part in parts]
        filled = combined([left, *parts], "text", without_percents(text))
        self.note(Text(node, filled.text or ""))
        return filled.cleared({"079"}) if cleaning.escaping(left) else filled

    def _value_BoolOp(self, node: ast.BoolOp, state: State) -> Value:
        truth = isinstance(node.op, ast.And)
        inner, values = state.copy(), []
        for part in node.values:
            values.append(self.expression(part, inner))
            inner = conditions.assume(self, part, truth, inner)
        result = values[0]
        for value in values[1:]:
            result = either(result, value)
        return replace(result, condition=node, fallback=values[-1].literal)

    def _value_UnaryOp(self, node: ast.UnaryOp, state: State) -> Value:
        value = self.expression(node.operand, state)
        if isinstance(node.op, ast.Not):
            return Value(condition=node)
        if isinstance(node.op, ast.USub) and value.known and isinstance(value.literal, (int, float)):
            return constant(-value.literal)
        if isinstance(node.op, ast.Invert) and value.known and isinstance(value.literal, int):
            return constant(~value.literal)
        return replace(value, literal=TRUSTED.literal)

    def _value_IfExp(self, node: ast.IfExp, state: State) -> Value:
        self.expression(node.test, state)
        yes = self.expression(node.body, conditions.assume(self, node.test, True, state.copy()))
        no = self.expression(node.orelse, conditions.assume(self, node.test, False, state.copy()))
        return replace(either(yes, no), fallback=yes.literal if yes.known else no.literal)

    def _value_Compare(self, node: ast.Compare, state: State) -> Value:
        sides = [node.left, *node.comparators]
        values = [self.expression(side, state) for side in sides]
        for operator, i in zip(node.ops, range(len(values) - 1), strict=True):
            if isinstance(operator, (ast.Eq, ast.NotEq)):
                left, right = ((ast.unparse(sides[j]), values[j]) for j in (i, i + 1))
                self.note(Compare(node, left, right))
        return Value(condition=node)

    def _value_Attribute(self, node: ast.Attribute, state: State) -> Value:
        key = stable(node)
        if key is not None and key in state.values:
            return state.values[key]
        name = self.names.full(node)
        if name.startswith("stat.S_") and isinstance(getattr(stat, node.attr, None), int):
            return constant(getattr(stat, node.attr))
        receiver = self.expression(node.value, state)
        bases = self._bases.get(self.frames[-1].class_name or "", frozenset())
        value = sources.attribute(node, receiver, name, bases)
        if value is None:
            value = replace(combined([receiver]), call=receiver.call, name=name)
            if node.attr in ("name", "stem", "suffix") and receiver.kind == "path":
                value = value.cleared({"022"})
            elif node.attr in ("parent", "parents", "parts"):
                value = replace(value, kind=receiver.kind)
        if key is not None and value.origin is not None:
            state.values[key] = value
        return value

    def _value_Subscript(self, node: ast.Subscript, state: State) -> Value:
        container = self.expression(node.value, state)
        if self.names.full(node.value) == "os.environ":
            return sources.environment(self.expression(node.slice, state))
        index = self.expression(node.slice, state) if not isinstance(node.slice, ast.Slice) else TRUSTED
        key = stable(node)
        if key is not None and key in state.values and isinstance(node.slice, ast.Constant):
            return state.values[key]
        if not isinstance(node.slice, ast.Slice):
            self._note_index(node, container, index)
        else:
            for part in (node.slice.lower, node.slice.upper, node.slice.step):
                if part is not None:
                    self.expression(part, state)
        if container.kind == "request":
            value = untrusted(f"{ast.unparse(node)} of a request", ast.unparse(node))
        elif container.elements is not None and isinstance(index.literal, int) and index.known:
            position = index.literal
            within = -len(container.elements) <= position < len(container.elements)
            value = container.elements[position] if within else combined(container.elements)
        elif isinstance(index.literal, str) and index.literal in container.members:
            value = container.members[index.literal]
        else:
            sliced = isinstance(node.slice, ast.Slice)
            value = combined([container], container.kind if sliced else "", container.text if sliced else None)
            value = value.cleared({"022"}) if _is_last_of_path(container, index) else value
        if key is not None and value.origin is not None:
            state.values[key] = value
        return value

    def _note_index(self, node: ast.AST, container: Value, index: Value) -> None:
        handled = frozenset().union(*self.frames[-1].handled) if self.frames[-1].handled else frozenset()
        self.note(Index(node, container, index, handled))

    def _value_List(self, node: ast.List | ast.Tuple | ast.Set, state: State) -> Value:
        elements = tuple(self.expression(each, state) for each in node.elts)
        spelled = not any(isinstance(each, ast.Starred) for each in node.elts)
        texts = [_piece(each) for each in elements if each.text is not None or each.origin is not None]
        text = "".join(texts) if any(each.text is not None for each in elements) else None
        return replace(combined(elements, "list", text), elements=elements if spelled else None)

    _value_Tuple = _value_List
    _value_Set = _value_List

    def _value_Dict(self, node: ast.Dict, state: State) -> Value:
        members: dict[str, Value] = {}
        parts = []
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.expression(item, state)
            name = self.expression(key, state) if key is not None else TRUSTED
            parts += [name, value]
            if isinstance(name.literal, str) and key is not None:
                members[name.literal] = value
                self.note(Bind(item, name.literal, value, "key", self.frames[-1].name))
        return replace(combined(parts, "dict"), members=members)

    def _value_Starred(self, node: ast.Starred, state: State) -> Value:
        return self.expression(node.value, state)

    def _value_Await(self, node: ast.Await, state: State) -> Value:
        return self.expression(node.value, state)

    def _value_Yield(self, node: ast.Yield, state: State) -> Value:
        if node.value is not None:
            value = self.expression(node.value, state)
            if self.frames[-1].entry:
                self.note(Return(node, value, self.frames[-1].view))
        return TRUSTED

    def _value_NamedExpr(self, node: ast.NamedExpr, state: State) -> Value:
        value = self.expression(node.value, state)
        self.assign(node.target, value, state)
        return value

    def _value_Lambda(self, node: ast.Lambda, state: State) -> Value:
        inner = state.copy()
        for argument in [*node.args.args, *node.args.kwonlyargs]:
            inner.assign(argument.arg, TRUSTED)
        self.expression(node.body, inner)
        return TRUSTED

    def _value_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, state: State) -> Value:
        inner = self._comprehend(node.generators, state)
        value = self.expression(node.elt, inner)
        return replace(combined([value], "list", value.text))

    _value_SetComp = _value_ListComp
    _value_GeneratorExp = _value_ListComp

    def _value_DictComp(self, node: ast.DictComp, state: State) -> Value:
        inner = self._comprehend(node.generators, state)
        return combined([self.expression(node.key, inner), self.expression(node.value, inner)], "dict")

    def _comprehend(self, generators: Sequence[ast.comprehension], state: State) -> State:
        inner = state.copy()
        for generator in generators:
            items = self.expression(generator.iter, inner)
            self.assign(generator.target, element(items), inner)
            for test in generator.ifs:
                self.expression(test, inner)
                inner = conditions.assume(self, test, True, inner)
        return inner

    def _value_Call(self, node: ast.Call, state: State) -> Value:
        key = stable(node)
        if key is not None and key in state.values:
            return state.values[key]
        receiver = None
        if isinstance(node.func, ast.Attribute):
            receiver = self.expression(node.func.value, state)
            if receiver.origin is None and receiver.kind != "request" and self.names.imported(node.func.value):
                receiver = None
        elif not isinstance(node.func, (ast.Name, ast.Attribute)):
            self.expression(node.func, state)
        args = tuple(self.expression(argument, state) for argument in node.args)
        keywords = {}
        for keyword in node.keywords:
            value = self.expression(keyword.value, state)
            keywords[keyword.arg or "**"] = value
            if keyword.arg:
                self.note(Bind(keyword.value, keyword.arg, value, "keyword", self.frames[-1].name))
        name = self.names.full(node.func)
        call = Call(node, name, name.rsplit(".", 1)[-1], receiver, args, keywords)
        self.note(call)
        if name in ENDS:
            self.ended = True
        value = self._called_value(node, call, state)
        self._side_effects(node, call, state)
        if key is not None and value.origin is not None:
            state.values[key] = value
        return replace(value, condition=node)

    def _called_value(self, node: ast.Call, call: Call, state: State) -> Value:
        function = self.own_function(node)
        if function is not None:
            exits = self.run(function, node, state)
            if not exits:
                self.ended = True
                return TRUSTED
            self.vouch(function, node, [way.state for way in exits], state)
            value = functools.reduce(either, [way.value for way in exits])
            return replace(value, call=value.call or call)
        if isinstance(node.func, ast.Name) and self._bases.get(node.func.id, frozenset()) & ENUMS:
            return combined(call.args).cleared(ANYTHING)
        if isinstance(node.func, ast.Name) and node.func.id in self.checking:
            return replace(combined([*call.args, *call.keywords.values()]), call=call).cleared(BOUNDS | CHECKED)
        if call.name in LISTS and call.args:
            first = call.args[0]
            return replace(combined(call.args, "list", first.text), elements=first.elements, call=call)
        return sources.call(call) or cleaning.result(call)

    def _side_effects(self, node: ast.Call, call: Call, state: State) -> None:
        """What a call changes: the object whose method it is, and what is known of values that it has let pass."""
        if call.receiver is not None and isinstance(node.func, ast.Attribute):
            holder = stable(node.func.value)
            if call.method in ADDING and holder and holder in state.values and call.args:
                held = state.values[holder]
                added = call.args[-1]
                pieces = (held.text or "") + _piece(added) if held.text is not None or added.text is not None else None
                state.values[holder] = replace(
                    combined([held, added], held.kind, pieces),
                    call=held.call,
                    elements=(*held.elements, added) if held.elements and call.method == "append" else None,
                )
        conditions.let_pass(self, node, call, state)


def _piece(value: Value) -> str:
    return value.text if value.text is not None else HOLE


def _folded(operator: ast.operator, left: int, right: int) -> object:
    if isinstance(operator, ast.BitOr):
        return left | right
    if isinstance(operator, ast.BitAnd):
        return left & right
    if isinstance(operator, ast.BitXor):
        return left ^ right
    if isinstance(operator, ast.Add):
        return left + right
    return TRUSTED.literal


def _is_last_of_path(container: Value, index: Value) -> bool:
    """Whether an item is what follows the last slash: `x.split("/")[-1]`, `os.path.split(x)[1]`."""
    call = container.call
    if call is None or not index.known:
        return False
    split = call.method in ("split", "rsplit", "rpartition") and call.given(0).literal in ("/", "\\")
    return (split and index.literal == -1) or (call.name == "os.path.split" and index.literal in (1, -1))
