"""What an expression can cost at worst, told from its text and the size of what it names.

The estimate is coarse and never much too low: `names × values × (elements × growth)^depth`, where
`elements` is the longest list or object among what it names, `depth` how deeply `map`, `filter`,
`all` and `exists` stand in one another, and `growth` how often they can multiply what they are
given. (The evaluator copies the list so far for each element that `map` keeps, so that already
depth 1 is quadratic.) The library matches regular expressions without going back, in time
proportional to text and expanded pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MOST_CHARACTERS", "Shape", "read_shape", "refuse_cost"]

MOST_CHARACTERS: Final = 2_000
#: Brackets in brackets; the parser goes down the stack with each.
_MOST_NESTED = 24
#: Signs in a row before one value, such as `!!!x`.
_MOST_SIGNS = 8
_MOST_OPERATORS = 200
_MOST_MACROS = 8
_MOST_MACRO_DEPTH = 3
#: About a second of the evaluator's time: 60 ns for one, measured from 1,000 to 10,000 elements.
_MOST_COST = 20_000_000
#: Making an automaton of a pattern, once an element inside a macro.
_PATTERN_COST = 40_000
_MOST_PATTERN = 200
#: Product of a pattern's counts: `a{2}b{3}` is 6.
_MOST_REPEATS = 1_000
#: Characters of text that count as one value.
_CHARACTERS_A_VALUE = 16
#: Above this many names the size of what is named is looked at even without macros.
_FEW_NAMES = 8

_MACROS: Final = frozenset({"map", "filter", "all", "exists", "exists_one", "existsOne"})
_WORDS: Final = frozenset({"true", "false", "null", "in"})

_TOKEN: Final = re.compile(
    r"""
      (?P<raw> (?:[rR][bB]?|[bB][rR])(?:"[^"\n]*"|'[^'\n]*') )
    | (?P<text> [bB]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*') )
    | (?P<number> \.?[0-9][A-Za-z0-9_]*(?:\.[0-9][A-Za-z0-9_]*)? )
    | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<mark> \S )
    """,
    re.VERBOSE,
)
#: A key in brackets, `nodes["a-b"]`, without escapes.
_KEY: Final = re.compile(r"""["']([^"'\\]*)["']""")
_REPEAT: Final = re.compile(r"\{\s*(\d+)?\s*(?:,\s*(\d*))?\s*\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What matters of an expression's text."""

    #: Names but macros' own, each with the keys that follow it: `nodes.a.b` is three.
    paths: Sequence[tuple[str, ...]]
    #: How often something is named, macros' own names included.
    names: int
    #: Macros in one another at most.
    depth: int
    #: How often macros can multiply what they are given.
    growth: int
    #: Values and elements that the text itself holds.
    literals: int
    #: Of all regular expressions: length times counts.
    pattern: int
    #: Whether one stands inside a macro.
    pattern_inside: bool


def read_shape(source: str) -> Shape:
    """Read an expression's text.

    Raises:
        InvalidInput: it is empty, too long or too nested, or has comments or long strings, whose
            end this reader would have to guess, or a pattern that is not written out
            (`workflow_expression`).
    """
    if not source.strip():
        raise _refused("is empty; write one such as `input.count > 3`")
    if len(source) > MOST_CHARACTERS:
        raise _refused(f"is {len(source):,} characters long; {MOST_CHARACTERS:,} are allowed")
    return _Reader([(m.lastgroup or "", m.group()) for m in _TOKEN.finditer(source)]).read()


def refuse_cost(source: str, shape: Shape, given: Mapping[str, Any]) -> None:
    """Refuse an expression that could take too long over what it was given (`InvalidInput`)."""
    if not shape.depth and not shape.pattern and shape.names <= _FEW_NAMES:
        return
    values, elements = _size(given)
    values += shape.literals
    turns = (max(elements, shape.literals) * shape.growth) ** shape.depth
    cost = (shape.names + 1) * values * turns + shape.pattern * values
    if shape.pattern_inside:
        cost += turns * _PATTERN_COST
    if cost > _MOST_COST:
        raise _refused(
            f"{' '.join(source.split())[:60]!r} could take too long over {values:,} values in "
            f"lists of up to {elements:,}; take fewer, or use a task or an SQL node"
        )


class _Reader:
    """Goes through the tokens once."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._paths: list[tuple[str, ...]] = []
        self._bound: set[str] = set()
        #: For each open bracket whether it is a macro's.
        self._open: list[bool] = []
        self._names = self._macros = self._depth = self._multiplying = 0
        self._signs = self._operators = self._pattern = 0
        self._pattern_inside = False

    def read(self) -> Shape:
        for at, (kind, text) in enumerate(self._tokens):
            if kind == "name":
                self._name(at, text)
            elif kind == "mark":
                self._mark(at, text)
            elif text[-2:] in ('""', "''") and self._text(at + 1)[:1] == text[-1]:
                raise _refused("has a string in three quotes; use one")
            self._signs = self._signs + 1 if text in ("-", "!") else 0
            if self._signs > _MOST_SIGNS:
                raise _refused(f"has more than {_MOST_SIGNS} signs in a row")
        return Shape(
            paths=[path for path in self._paths if path[0] not in self._bound],
            names=self._names,
            depth=self._depth,
            growth=min((1 + self._multiplying) ** self._macros, 10**12),
            literals=1 + sum(kind != "mark" for kind, _ in self._tokens),
            pattern=self._pattern,
            pattern_inside=self._pattern_inside,
        )

    def _name(self, at: int, name: str) -> None:
        if self._text(at + 1) == "(":
            if name == "matches":
                self._match(at)
            return
        if name in _WORDS or self._text(at - 1) == ".":
            return
        self._names += 1
        self._paths.append(self._path(at))
        if self._is_own(at) and self._text(at + 1) == ",":
            self._bound.add(name)

    def _path(self, at: int) -> tuple[str, ...]:
        keys = [self._tokens[at][1]]
        at += 1
        while True:
            if self._text(at) == "." and self._kind(at + 1) == "name":
                if self._text(at + 2) == "(":
                    return tuple(keys)
                keys.append(self._tokens[at + 1][1])
                at += 2
                continue
            key = _KEY.fullmatch(self._text(at + 1))
            if self._text(at) != "[" or key is None or self._text(at + 2) != "]":
                return tuple(keys)
            keys.append(key.group(1))
            at += 3

    def _match(self, at: int) -> None:
        """Weigh a regular expression, which has to be written out."""
        pattern = self._text(at + 2)
        if self._kind(at + 2) not in ("text", "raw") or self._text(at + 3) != ")":
            raise _refused("matches what is not written out; write x.matches('pattern')")
        repeats = 1
        for least, most in _REPEAT.findall(pattern):
            repeats *= max(int(least or 1), int(most or 1), 1)
        if len(pattern) > _MOST_PATTERN or repeats > _MOST_REPEATS:
            raise _refused(
                f"has a pattern of more than {_MOST_PATTERN} characters or {_MOST_REPEATS:,} "
                "repetitions"
            )
        self._pattern += len(pattern) * repeats
        self._pattern_inside |= any(self._open)

    def _mark(self, at: int, mark: str) -> None:
        if mark == "/" and self._text(at + 1) == "/":
            raise _refused("has a comment; leave it out")
        if mark in "\"'`\\":
            raise _refused("has a string without an end, or a sign that CEL does not know")
        if mark in "([{":
            self._enter(at, mark)
        elif mark in ")]}":
            if self._open:
                self._open.pop()
        elif mark in "+,":
            # The comma after a macro's own name multiplies nothing.
            self._multiplying += not (mark == "," and self._is_own(at - 1))
        if mark in "+-*/%?|&<>=.[":
            self._operators += 1
            if self._operators > _MOST_OPERATORS:
                raise _refused(f"has more than {_MOST_OPERATORS} operators")

    def _enter(self, at: int, mark: str) -> None:
        macro = mark == "(" and self._text(at - 1) in _MACROS and self._text(at - 2) == "."
        self._open.append(macro)
        if len(self._open) > _MOST_NESTED:
            raise _refused(f"nests more than {_MOST_NESTED} brackets")
        self._macros += macro
        self._depth = max(self._depth, sum(self._open))
        if self._macros > _MOST_MACROS or self._depth > _MOST_MACRO_DEPTH:
            raise _refused(
                f"has more than {_MOST_MACROS} of map, filter, all and exists, or more than "
                f"{_MOST_MACRO_DEPTH} in one another"
            )

    def _is_own(self, at: int) -> bool:
        """Return whether this is the name that a macro gives to its elements."""
        return (
            self._text(at - 1) == "("
            and self._text(at - 2) in _MACROS
            and self._text(at - 3) == "."
        )

    def _text(self, at: int) -> str:
        return self._tokens[at][1] if 0 <= at < len(self._tokens) else ""

    def _kind(self, at: int) -> str:
        return self._tokens[at][0] if 0 <= at < len(self._tokens) else ""


def _size(given: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many values there are, and the length of the longest list or object."""
    values = longest = 0
    waiting: list[Any] = list(given.values())
    while waiting:
        value = waiting.pop()
        values += 1
        if isinstance(value, dict):
            below = cast("dict[str, Any]", value)
            values += len(below)
            longest = max(longest, len(below))
            waiting += below.values()
        elif isinstance(value, list):
            longest = max(longest, len(cast("list[Any]", value)))
            waiting += cast("list[Any]", value)
        elif isinstance(value, str):
            values += len(value) // _CHARACTERS_A_VALUE
    return values, longest


def _refused(what: str) -> InvalidInput:
    return InvalidInput(f"An expression {what}.", code="workflow_expression")
