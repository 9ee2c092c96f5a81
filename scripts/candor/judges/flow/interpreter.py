"""A walk through a program with abstract values: every branch, loops twice, calls of its own functions where they are.

A parameter of a function is untrusted input, but not that of a private or nested function that the program itself
calls: such a function is walked where it is called, with what is given to it.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace

from candor.judges.flow import conditions, sources
from candor.judges.flow.events import Bind, Event, Return
from candor.judges.flow.expressions import Exit, Expressions, Frame, TooComplex
from candor.judges.flow.state import State, merged, subjects
from candor.judges.flow.structure import (
    Function,
    arguments,
    called_names,
    caught,
    functions_of,
    is_dunder,
    names_values,
    nested,
    parameters,
)
from candor.judges.flow.values import ANYTHING, BOUNDS, CHECKED, TRUSTED, element

DEPTH = 4
"""Calls of the program's own functions within each other."""


def events_of(tree: ast.Module) -> list[Event]:
    """What happens to values in a program; TooComplex where the walk would be too long."""
    interpreter = Interpreter(tree)
    try:
        interpreter.walk()
    except RecursionError:
        raise TooComplex("the code is nested too deeply to be analysed") from None
    return interpreter.events


class Interpreter(Expressions):
    """One walk through one program."""

    def __init__(self, tree: ast.Module) -> None:
        super().__init__(tree)
        self._under_way: list[Function] = []
        self._functions = {function.name: function for owner, function in functions_of(tree) if owner is None}
        self._methods = {(owner, function.name): function for owner, function in functions_of(tree)}
        self._called = called_names(tree)
        self._nested = nested(tree)

    # -- functions -----------------------------------------------------------------------------------------------

    def walk(self) -> None:
        """The module's own statements, then every function that others may call."""
        self.globals = self.block(self.tree.body, State()) or self.globals
        for owner, function in functions_of(self.tree):
            private = function.name.startswith("_") and not is_dunder(function.name)
            if not (private and function.name in self._called):
                self._enter(function, self._fields(owner), owner)

    def _enter(self, function: Function, state: State, class_name: str | None) -> None:
        """Walk a function with untrusted parameters."""
        state = state.copy()
        for argument, default in parameters(function):
            value = sources.parameter(argument, default, function)
            typed = {node.id for node in ast.walk(argument) if isinstance(node, ast.Name)}
            state.assign(argument.arg, value.cleared(BOUNDS | CHECKED) if typed & self.checking else value)
            if default is not None:
                self.note(Bind(default, argument.arg, self.expression(default, state), "default", function.name))
        self.frames.append(Frame(function.name, sources.is_view(function), True, class_name))
        self.block(function.body, state)
        self.frames.pop()

    def _fields(self, class_name: str | None) -> State:
        """The module's names, and the fields that a class sets up, which the program itself passes in."""
        setup = self._methods.get((class_name, "__init__")) if class_name else None
        if setup is None:
            return self.globals
        state = self.globals.copy()
        for argument, _ in parameters(setup):
            state.assign(argument.arg, TRUSTED)
        self.muted += 1
        self.frames.append(Frame("__init__", class_name=class_name))
        ended = self.block(setup.body, state) or state
        self.frames.pop()
        self.muted -= 1
        fields = {key: value for key, value in ended.values.items() if key.startswith("self.")}
        return State({**self.globals.values, **fields})

    def own_function(self, call: ast.Call) -> Function | None:
        """The program's own function that a call runs; None for others, one under way, or calls too deep."""
        function = None
        if isinstance(call.func, ast.Name):
            function = self._functions.get(call.func.id)
        elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            owner: str | None = call.func.value.id
            owner = self.frames[-1].class_name if owner in ("self", "cls") else owner
            function = self._methods.get((owner, call.func.attr)) if owner else None
        return None if function in self._under_way or len(self._under_way) >= DEPTH else function

    def run(self, function: Function, call: ast.Call, state: State) -> list[Exit]:
        """Walk one of the program's own functions as a call does: each way out."""
        seen = state.values if function in self._nested else {}
        fields = {key: value for key, value in state.values.items() if key.startswith("self.")}
        local = State({**self.globals.values, **seen, **fields})
        for argument, node in arguments(function, call):
            value = self.expression(node, state) if node is not None else TRUSTED
            local.assign(argument.arg, replace(value, parameter=False))
        frame = Frame(function.name, class_name=self.frames[-1].class_name)
        self.frames.append(frame)
        self._under_way.append(function)
        end = self.block(function.body, local)
        self._under_way.pop()
        self.frames.pop()
        return frame.exits if end is None else [*frame.exits, Exit(TRUSTED, end, ast.Constant(None))]

    def vouch(self, function: Function, call: ast.Call, ways: Sequence[State], state: State) -> None:
        """Note what the ways out of a function say of the arguments that it was called with."""
        for argument, node in arguments(function, call):
            held = [way.values.get(argument.arg, TRUSTED) for way in ways]
            if node is not None and held and all(value.origin is not None for value in held):
                tags = frozenset.intersection(*(value.safe for value in held))
                state.clear(subjects(node, self.names.full), tags)

    # -- statements ----------------------------------------------------------------------------------------------

    def block(self, body: Sequence[ast.stmt], state: State) -> State | None:
        """Walk statements; the state behind them, or None where none gets there."""
        current: State | None = state
        for statement in body:
            if current is None:
                return None
            self.step()
            walk = getattr(self, f"_walk_{type(statement).__name__}", None)
            current = walk(statement, current) if walk else current
        return current

    def _walk_FunctionDef(self, node: Function, state: State) -> State:
        for decorator in node.decorator_list:
            self.expression(decorator, state)
        self._functions[node.name] = node
        if node in self._nested and (node.decorator_list or node.name not in self._called):
            self._enter(node, state, None)
        return state

    _walk_AsyncFunctionDef = _walk_FunctionDef

    def _walk_ClassDef(self, node: ast.ClassDef, state: State) -> State:
        inner = self.block([child for child in node.body if not isinstance(child, Function)], state.copy())
        for key, value in inner.values.items() if inner else ():
            if key not in state.values:
                state.values[f"self.{key}"] = state.values[f"{node.name}.{key}"] = value
        return state

    def _walk_Return(self, node: ast.Return, state: State) -> None:
        value = self.expression(node.value, state) if node.value else TRUSTED
        frame = self.frames[-1]
        frame.exits.append(Exit(value, state, node.value or ast.Constant(None)))
        if frame.entry:
            self.note(Return(node, value, frame.view))

    def _walk_Expr(self, node: ast.Expr, state: State) -> State | None:
        if isinstance(node.value, ast.Constant):  # a docstring
            return state
        self.ended = False
        self.expression(node.value, state)
        return None if self.ended else state

    def _walk_Assign(self, node: ast.Assign, state: State) -> State:
        value = self.expression(node.value, state)
        for target in node.targets:
            self.assign(target, value, state)
        return state

    def _walk_AnnAssign(self, node: ast.AnnAssign, state: State) -> State:
        if node.value is not None:
            self.assign(node.target, self.expression(node.value, state), state)
        return state

    def _walk_AugAssign(self, node: ast.AugAssign, state: State) -> State:
        left, right = self.expression(node.target, state), self.expression(node.value, state)
        outlives = not isinstance(node.target, ast.Name) or node.target.id in self.outliving
        self.assign(node.target, self.operation(node, node.op, left, right, outlives), state)
        return state

    def _walk_Delete(self, node: ast.Delete, state: State) -> State:
        for target in node.targets:
            self.expression(target, state)
        return state

    def _walk_Raise(self, node: ast.Raise, state: State) -> None:
        if node.exc is not None:
            self.expression(node.exc, state)

    def _walk_Assert(self, node: ast.Assert, state: State) -> State | None:
        self.expression(node.test, state)
        return conditions.assume(self, node.test, True, state)

    def _walk_If(self, node: ast.If, state: State) -> State | None:
        self.expression(node.test, state)
        yes = conditions.assume(self, node.test, True, state.copy())
        no = conditions.assume(self, node.test, False, state)
        return merged([self.block(node.body, yes), self.block(node.orelse, no)])

    def _walk_Match(self, node: ast.Match, state: State) -> State | None:
        subject = self.expression(node.subject, state)
        ends: list[State | None] = []
        exhaustive = False
        for case in node.cases:
            inner = state.copy()
            if names_values(case.pattern):
                inner.clear(subjects(node.subject, self.names.full), ANYTHING)
            for captured in ast.walk(case.pattern):
                if isinstance(captured, (ast.MatchAs, ast.MatchStar)) and captured.name:
                    inner.assign(captured.name, replace(subject, parameter=False))
            if case.guard is not None:
                self.expression(case.guard, inner)
                inner = conditions.assume(self, case.guard, True, inner)
            exhaustive |= case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
            ends.append(self.block(case.body, inner))
        return merged(ends if exhaustive else [*ends, state])

    def _walk_While(self, node: ast.While, state: State) -> State | None:
        return self._loop(node, state, lambda inner: None, node.test)

    def _walk_For(self, node: ast.For | ast.AsyncFor, state: State) -> State | None:
        items = self.expression(node.iter, state)
        return self._loop(node, state, lambda inner: self.assign(node.target, element(items), inner), None)

    _walk_AsyncFor = _walk_For

    def _loop(
        self,
        node: ast.For | ast.AsyncFor | ast.While,
        state: State,
        start: Callable[[State], None],
        test: ast.expr | None,
    ) -> State | None:
        """Walk a loop's body twice, the second time with what the first may have left behind."""
        breaks: list[State] = []
        current, last = state, None
        for _ in range(2):
            inner = current.copy()
            start(inner)
            if test is not None:
                self.expression(test, inner)
                inner = conditions.assume(self, test, True, inner)
            continues: list[State] = []
            self.frames[-1].loops.append((breaks, continues))
            last = merged([self.block(node.body, inner), *continues])
            self.frames[-1].loops.pop()
            current = merged([current, last]) or current
        if isinstance(node, (ast.For, ast.AsyncFor)) and last is not None:
            self._vouch_for_all(node, last, current)
        after: State | None = current
        if test is not None:
            endless = isinstance(test, ast.Constant) and test.value
            after = None if endless else conditions.assume(self, test, False, current)
        if after is not None:
            after = self.block(node.orelse, after)
        return merged([after, *breaks])

    def _vouch_for_all(self, loop: ast.For | ast.AsyncFor, last: State, state: State) -> None:
        """What a loop's body makes sure of for each item, it has made sure of for what holds the items."""
        item = last.values.get(loop.target.id) if isinstance(loop.target, ast.Name) else None
        if item is not None and item.origin is not None:
            state.clear(conditions.holders(self, loop.iter), item.safe - {"022:resolved"})

    def _walk_Break(self, node: ast.Break, state: State) -> None:
        if self.frames[-1].loops:
            self.frames[-1].loops[-1][0].append(state)

    def _walk_Continue(self, node: ast.Continue, state: State) -> None:
        if self.frames[-1].loops:
            self.frames[-1].loops[-1][1].append(state)

    def _walk_With(self, node: ast.With | ast.AsyncWith, state: State) -> State | None:
        for item in node.items:
            value = self.expression(item.context_expr, state)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value, state)
        return self.block(node.body, state)

    _walk_AsyncWith = _walk_With

    def _walk_Try(self, node: ast.Try, state: State) -> State | None:
        frame = self.frames[-1]
        before = state.copy()
        frame.handled.append(caught(node))
        done = self.block(node.body, state)
        frame.handled.pop()
        failed = merged([before, done]) or before
        ends: list[State | None] = [self.block(node.orelse, done.copy()) if done is not None else None]
        for handler in node.handlers:
            inner = failed.copy()
            if handler.name:
                inner.assign(handler.name, TRUSTED)
            ends.append(self.block(handler.body, inner))
        end = merged(ends)
        if node.finalbody:
            final = self.block(node.finalbody, end if end is not None else failed.copy())
            return final if end is not None else None
        return end

    _walk_TryStar = _walk_Try
