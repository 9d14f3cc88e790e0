"""Finds floats in Python sources by their syntax: literals, the type, divisions, and what makes floats of integers."""

import ast
import re
from collections.abc import Iterator

FLOAT_NAMES = frozenset({"float", "complex", "round", "Decimal", "Fraction"})
"""`Decimal` and `Fraction` are exact, but money has one representation here: whole micro-credits."""
FLOAT_MODULES = frozenset({"math", "cmath", "statistics", "decimal", "fractions", "numpy"})
WHOLE = frozenset({"isqrt", "gcd", "lcm", "comb", "perm", "factorial"})
"""Of `math`: from integers to integers."""
TIME = re.compile(r"\w*(_s|_S|_S_MAX|_next_report|_again_at|_until)\b|\b(now|until|pause|clock|Seconds)\b")
"""A line with such a name is about seconds on a clock: those are floats, and never become money."""


def floats_in(source: str) -> Iterator[tuple[int, str]]:
    """(line, what) of everything that is a float or makes one; annotations count, so that none comes in by the door."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        found = _float(node)
        if found is not None:
            number: int = node.lineno  # type: ignore[attr-defined]  # every node that is found stands on a line
            if TIME.search(lines[number - 1]) is None:
                yield number, found


def _float(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=float() | complex()):
            return f"the literal {node.value!r}"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return "a true division"
        case ast.BinOp(op=ast.Pow(), right=ast.UnaryOp(op=ast.USub())):
            return "a negative power"
        case ast.Name(id=name) if name in FLOAT_NAMES:
            return f"the name {name}"
        case ast.Import(names=names):
            return next((f"import {each.name}" for each in names if each.name in FLOAT_MODULES), None)
        case ast.ImportFrom(module=str(module), names=names) if module in FLOAT_MODULES:
            wanted = {each.name for each in names} - WHOLE
            return f"import {module}" if wanted else None
        case _:
            return None
