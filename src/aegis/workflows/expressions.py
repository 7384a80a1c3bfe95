"""Expressions of workflows in CEL, for conditions and what `templates.py` finds in parameters.

CEL has no loops, no assignments and no way out of what it is given, so an expression can only cost
time and memory; both are bounded before it runs. Its evaluator cannot be stopped, copies a list
for each element that `map` and `filter` keep, and doubles what `x + x` says as often as it is
asked to: `cost.py` estimates the worst and refuses it. Regular expressions are matched in linear
time by the library. Only the values that an expression names are handed to it.

Whole and other numbers do not mix in CEL: write `int(x) + 1` or `x + 1.0`. Results become JSON:
times as ISO 8601, durations as seconds.
"""

from __future__ import annotations

import functools
import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import InvalidInput
from aegis.workflows.cost import MOST_CHARACTERS, Shape, read_shape, refuse_cost

if TYPE_CHECKING:
    from collections.abc import Mapping

    import cel

    from aegis.workflows.models import JSON

__all__ = [
    "VARIABLES",
    "check",
    "evaluate",
    "holds",
    "nodes_named",
    "short",
    "variables_named",
    "wrong",
]

#: What an expression may name; `now` is the time of evaluation.
VARIABLES: Final = frozenset({"input", "nodes", "item", "index", "execution", "error", "now"})
#: What the library raises for an expression that is wrong.
_RAISED: Final = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
#: Levels of a result.
_MOST_DEPTH = 50
#: Values of a result; 16 characters of text count as one.
_MOST_VALUES = 500_000


def check(source: str) -> str | None:
    """Return what is wrong with an expression as far as its text tells, or None."""
    try:
        shape, _ = _read(source)
    except InvalidInput as error:
        return error.message
    unknown = sorted({path[0] for path in shape.paths} - VARIABLES)
    if unknown:
        return (
            f"{short(source)} names {unknown[0]!r}, which does not exist; there are "
            f"{', '.join(sorted(VARIABLES))}."
        )
    return None


def nodes_named(source: str) -> set[str]:
    """Return the nodes whose results an expression names; empty where it cannot be read."""
    try:
        shape, _ = _read(source)
    except InvalidInput:
        return set()
    return {path[1] for path in shape.paths if path[0] == "nodes" and len(path) > 1}


def variables_named(source: str) -> set[str]:
    """Return the variables that an expression names; empty where it cannot be read."""
    try:
        shape, _ = _read(source)
    except InvalidInput:
        return set()
    return {path[0] for path in shape.paths}


def evaluate(source: str, scope: Mapping[str, JSON]) -> JSON:
    """Return what an expression says over `scope`, whose keys are of `VARIABLES`.

    Raises:
        InvalidInput: it does not parse, names what is not there, or would cost too much
            (`workflow_expression`).
    """
    shape, program = _read(source)
    given = _named(scope, shape)
    if any(path[0] == "now" for path in shape.paths):
        given["now"] = datetime.now(UTC)
    refuse_cost(source, shape, given)
    try:
        value = program.execute(given)
    except _RAISED as error:
        raise wrong(source, _reason(error)) from None
    return _Plain(source).value(value)


def holds(source: str, scope: Mapping[str, JSON]) -> bool:
    """Return whether a condition holds; what is neither true nor false is an error."""
    value = evaluate(source, scope)
    if not isinstance(value, bool):
        raise wrong(source, f"gives {_kind(value)}, and a condition gives true or false")
    return value


@functools.lru_cache(maxsize=2_000)
def _read(source: str) -> tuple[Shape, cel.Program]:
    import cel

    shape = read_shape(source)
    try:
        return shape, cel.compile(source)
    except _RAISED as error:
        raise wrong(source, _reason(error)) from None


def _named(scope: Mapping[str, JSON], shape: Shape) -> dict[str, Any]:
    """Return the part of `scope` that an expression names: handing over all of it costs a copy."""
    given: dict[str, Any] = {}
    for path in shape.paths:
        _copy_path(scope, given, path)
    return given


def _copy_path(source: Mapping[str, Any], target: dict[str, Any], path: tuple[str, ...]) -> None:
    """Put what lies at `path` in `target`, and objects on the way to it as far as they are new."""
    for depth, key in enumerate(path):
        if key not in source:
            return
        value = source[key]
        if depth == len(path) - 1 or not isinstance(value, dict):
            target[key] = value
            return
        below = target.setdefault(key, {})
        if below is value:
            # A shorter path took the whole of it.
            return
        source, target = cast("dict[str, Any]", value), below


class _Plain:
    """Makes JSON of what an expression returned."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._left = _MOST_VALUES

    def value(self, value: Any, depth: int = 0) -> JSON:
        self._left -= 1 + (len(value) // 16 if isinstance(value, str) else 0)
        if self._left < 0 or depth > _MOST_DEPTH:
            raise wrong(self._source, "gives too much, or nests it too deeply")
        if isinstance(value, dict):
            items = cast("dict[Any, Any]", value).items()
            return {self._key(key): self.value(part, depth + 1) for key, part in items}
        if isinstance(value, (list, tuple)):
            return [self.value(part, depth + 1) for part in cast("list[Any]", value)]
        return self._scalar(value)

    def _scalar(self, value: Any) -> JSON:
        if isinstance(value, float) and not math.isfinite(value):
            raise wrong(self._source, f"gives {value}, which JSON cannot say")
        if value is None or isinstance(value, (str, bool, int, float)):
            return value
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        raise wrong(self._source, f"gives {type(value).__name__}, which JSON cannot say")

    def _key(self, key: Any) -> str:
        if isinstance(key, bool):
            return "true" if key else "false"
        return key if isinstance(key, str) else str(key)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"finds no {error.args[0]!r}; ask has(…) first where it may be missing"
    if isinstance(error, IndexError):
        return "reaches beyond the end of a list"
    if isinstance(error, ZeroDivisionError):
        return "divides by zero"
    text = str(error)
    if "Failed to parse" in text:
        found = re.search(r"ERROR: (.*)", text)
        return f"does not parse: {found.group(1)[:200]}" if found else "does not parse"
    return f"fails: {' '.join(text.split())[:300]}"


def wrong(source: str, what: str) -> InvalidInput:
    """Return the error of an expression, `what` after its text."""
    return InvalidInput(f"Expression {short(source)} {what}.", code="workflow_expression")


def short(source: str) -> str:
    """Return a text in quotes on one line, cut for messages."""
    text = " ".join(source[:MOST_CHARACTERS].split())
    return repr(text if len(text) <= 80 else text[:79] + "…")


def _kind(value: JSON) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return "text"
    return "null" if value is None else "a number"
