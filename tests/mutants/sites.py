"""Every place in the rooms where a small bug can be planted, and the bug: one changed piece of text."""

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
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.FloorDiv: "*", ast.Div: "*", ast.Mod: "+"}
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """`before` stands at this place (line from 1, column from 0, end) of the file; `after` is the bug."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {_short(self.before)} -> {_short(self.after)}"

    def applied(self, text: str) -> str:
        lines = text.splitlines(keepends=True)
        start = sum(len(line.encode()) for line in lines[: self.line - 1]) + self.column
        end = sum(len(line.encode()) for line in lines[: self.end_line - 1]) + self.end_column
        data = text.encode()
        return (data[:start] + self.after.encode() + data[end:]).decode()


def mutants_of(source: Source) -> Iterator[Mutant]:
    """In the order of the file. What only documents (docstrings, types, constants' names) has none."""
    for node in ast.walk(source.tree):
        for target, after in _changes(node, source.text):
            before = ast.get_source_segment(source.text, target) or ""
            if after != before:
                yield Mutant(
                    source.path,
                    target.lineno,
                    target.col_offset,
                    target.end_lineno or target.lineno,
                    target.end_col_offset or target.col_offset,
                    before,
                    after,
                )


def _changes(node: ast.AST, text: str) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    def code(part: ast.AST) -> str:
        plain = ast.get_source_segment(text, part) or ast.unparse(part)
        return f"({plain})" if isinstance(part, ast.NamedExpr | ast.IfExp) else plain

    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in COMPARISONS:
            yield node, f"{code(left)} {COMPARISONS[type(operator)]} {code(right)}"
        case ast.BoolOp(op=operator, values=values):
            word = " or " if isinstance(operator, ast.And) else " and "
            yield node, "(" + word.join(f"({code(value)})" for value in values) + ")"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, f"bool({code(operand)})"
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS and not _is_text(node):
            yield node, f"({code(left)} {OPERATORS[type(operator)]} {code(right)})"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield test, f"(not ({code(test)}))"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield value, "None"
        case ast.Expr(value=ast.Call() | ast.Await()) if node.end_lineno:
            yield node, "pass"
        case ast.AugAssign():
            yield node, "pass"
        case ast.Constant(value=bool() as value):
            yield node, str(not value)
        case ast.Constant(value=int() | float() as value):
            yield node, repr(value + 1)
        case ast.Break():
            yield node, "continue"
        case ast.Continue():
            yield node, "break"
        case ast.Call(func=ast.Name(id=name) as function) if name in SWAPPED:
            yield function, SWAPPED[name]


def _is_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(isinstance(side, ast.JoinedStr | ast.List | ast.Tuple) or _is_string(side) for side in sides)


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
