"""Every place in the rooms where a small bug can be planted, and the bug: one changed piece of text.

Not a place: what only documents (docstrings, annotations), whether what a clock told is before a moment or the very same, and
a number that a module names in capitals. Such a number tunes a bound, and one more is another choice, not a bug; that the bound
holds is up to the line that uses it, and that line is a place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from tests.guards.house import Source

COMPARISONS = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
SIGNS = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
CLOCKS = ("monotonic", "perf_counter", "time")
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.FloorDiv: "*", ast.Div: "*", ast.Mod: "+"}
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """`before` stands at this place (line from 1, column from 0, end) of the file; `after` is the bug.

    `scope` is the innermost function, or class, or module ("") that runs the place, by its qualified name.
    """

    path: str
    scope: str
    operator: str
    line: int
    column: int
    end_line: int
    end_column: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.operator}: {short(self.before)} -> {short(self.after)}"

    def applied(self, text: str) -> str:
        lines = text.splitlines(keepends=True)
        start = sum(len(line.encode()) for line in lines[: self.line - 1]) + self.column
        end = sum(len(line.encode()) for line in lines[: self.end_line - 1]) + self.end_column
        data = text.encode()
        return (data[:start] + self.after.encode() + data[end:]).decode()


def mutants_of(source: Source) -> Iterator[Mutant]:
    for node, scope in _nodes(source.tree, ""):
        for operator, target, after in _changes(node, source.text):
            before = ast.get_source_segment(source.text, target) or ""
            if after != before:
                end = (target.end_lineno or target.lineno, target.end_col_offset or target.col_offset)
                yield Mutant(source.path, scope, operator, target.lineno, target.col_offset, *end, before, after)


def short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."


def _nodes(node: ast.AST, scope: str) -> Iterator[tuple[ast.AST, str]]:
    """Everything below, with its scope. What a function's head holds (defaults, decorators) runs where the function is made."""
    yield node, scope
    inner = scope
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        inner = f"{scope}.{node.name}" if scope else node.name
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    below = f"{inner}.<locals>" if function else inner
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _tunes(node, child):
                named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                yield from _nodes(child, (below if named else inner) if name == "body" else scope if function else inner)


def _tunes(node: ast.AST, child: ast.AST) -> bool:
    if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(child, ast.Constant) or isinstance(child.value, bool):
        return False
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return isinstance(target, ast.Name) and target.id.isupper()


def _changes(node: ast.AST, text: str) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
    """The operator's name, what is replaced, and by what."""

    def code(part: ast.AST) -> str:
        plain = ast.get_source_segment(text, part) or ast.unparse(part)
        return f"({plain})" if isinstance(part, ast.NamedExpr | ast.IfExp | ast.BoolOp) else plain

    match node:
        case ast.Compare(left=left, ops=operators, comparators=rights) if not _is_of_a_clock(node):
            for changed in range(len(operators)):
                signs = [(COMPARISONS if at == changed else SIGNS)[type(one)] for at, one in enumerate(operators)]
                pairs = zip(signs, rights, strict=True)
                yield "comparison", node, " ".join([code(left), *(f"{sign} {code(right)}" for sign, right in pairs)])
        case ast.BoolOp(op=operator, values=values):
            word = " or " if isinstance(operator, ast.And) else " and "
            yield "and/or", node, "(" + word.join(f"({code(value)})" for value in values) + ")"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "negation", node, f"bool({code(operand)})"
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS and not _is_text(node):
            yield "arithmetic", node, f"({code(left)} {OPERATORS[type(operator)]} {code(right)})"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield "negation", test, f"(not ({code(test)}))"
        case ast.comprehension(ifs=tests) if tests:
            for test in tests:
                yield "negation", test, f"(not ({code(test)}))"
        case ast.Return(value=ast.expr() as value) if not (
            isinstance(value, ast.Constant) and (value.value is None or value.value is False)
        ):
            yield "return", value, "None"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield "dropped", node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "dropped", node, "pass"
        case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
            for kind in kinds:
                yield "except", kind, "()"
        case ast.ExceptHandler(type=ast.expr() as kind):
            yield "except", kind, "()"
        case ast.Constant(value=bool() as value):
            yield "constant", node, str(not value)
        case ast.Constant(value=int() | float() as value):
            yield "boundary", node, repr(value + 1)
        case ast.Break() | ast.Continue():
            yield "loop", node, "continue" if isinstance(node, ast.Break) else "break"
        case ast.Call(func=ast.Name(id=name) as function) if name in SWAPPED:
            yield "swapped", function, SWAPPED[name]


def _is_of_a_clock(node: ast.expr) -> bool:
    called = (one.func for one in ast.walk(node) if isinstance(one, ast.Call))
    return any(isinstance(one, ast.Attribute) and one.attr in CLOCKS for one in called)


def _is_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(isinstance(side, ast.JoinedStr | ast.List | ast.Tuple) or _is_string(side) for side in sides)


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
