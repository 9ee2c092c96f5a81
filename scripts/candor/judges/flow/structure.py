"""The shape of a program: its functions, which of them call which, and what its statements admit."""

import ast
import re
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
CONSTRAINTS = frozenset(
    "ge gt le lt min_length max_length pattern regex conint confloat constr condecimal PositiveInt NonNegativeInt "
    "PositiveFloat NonNegativeFloat EmailStr HttpUrl Literal".split()
)
"""What pydantic calls the limits of a field."""


def parameters(function: Function) -> list[tuple[ast.arg, ast.expr | None]]:
    """Parameters with their defaults."""
    listed = [*function.args.posonlyargs, *function.args.args]
    defaults = [None] * (len(listed) - len(function.args.defaults)) + list(function.args.defaults)
    found = [
        *zip(listed, defaults, strict=True),
        *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True),
    ]
    return found + [(rest, None) for rest in (function.args.vararg, function.args.kwarg) if rest is not None]


def arguments(function: Function, call: ast.Call) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Parameters with what a call gives them: an argument, else the default; None where there is neither."""
    listed = parameters(function)
    if isinstance(call.func, ast.Attribute) and listed and listed[0][0].arg in ("self", "cls"):
        listed = listed[1:]
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    for position, (argument, default) in enumerate(listed):
        yield argument, call.args[position] if position < len(call.args) else keywords.get(argument.arg, default)


def functions_of(tree: ast.Module) -> Iterator[tuple[str | None, Function]]:
    """Functions and methods of a module, with the name of their class; nested ones are met on the way."""
    todo: list[tuple[str | None, ast.stmt]] = [(None, statement) for statement in tree.body]
    while todo:
        class_name, node = todo.pop(0)
        if isinstance(node, Function):
            yield class_name, node
        elif isinstance(node, ast.ClassDef):
            todo += [(node.name, child) for child in node.body]
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            todo += [(class_name, child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def nested(tree: ast.Module) -> set[Function]:
    """Functions within functions."""
    return {
        inner
        for outer in ast.walk(tree)
        if isinstance(outer, Function)
        for inner in ast.walk(outer)
        if isinstance(inner, Function) and inner is not outer
    }


def checks_fields(node: ast.ClassDef) -> bool:
    """Whether a class refuses some values: it raises an error when it is made, or its fields have constraints."""
    for child in node.body:
        if isinstance(child, Function):
            setup = child.name in ("__init__", "__post_init__", "__new__")
            if setup and any(isinstance(inner, ast.Raise) for inner in ast.walk(child)):
                return True
            if any("validator" in ast.unparse(decorator) for decorator in child.decorator_list):
                return True
        elif isinstance(child, ast.AnnAssign) and CONSTRAINTS & set(re.findall(r"\w+", ast.unparse(child))):
            return True
    return False


def called_names(tree: ast.Module) -> set[str]:
    """Names of all functions and methods that a program calls."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found |= {node.func.id} if isinstance(node.func, ast.Name) else set()
            found |= {node.func.attr} if isinstance(node.func, ast.Attribute) else set()
    return found


def is_dunder(name: str) -> bool:
    """Whether a method is one that Python itself calls."""
    return name.startswith("__") and name.endswith("__")


def outliving(tree: ast.Module) -> set[str]:
    """Names that functions change outside themselves."""
    return {name for node in ast.walk(tree) if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names}


def caught(node: ast.Try) -> frozenset[str]:
    """Names of the exceptions that a `try` catches; a bare `except` catches all."""
    found = set()
    for handler in node.handlers:
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        found |= {ast.unparse(each) if each is not None else "BaseException" for each in types}
    return frozenset(found)


def names_values(pattern: ast.pattern) -> bool:
    """Whether a pattern lets only values pass that the program names."""
    if isinstance(pattern, ast.MatchOr):
        return all(names_values(each) for each in pattern.patterns)
    return isinstance(pattern, (ast.MatchValue, ast.MatchSingleton))
