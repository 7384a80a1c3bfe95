"""What a filter on values means. Pure: it becomes conditions here, and SQL in the store.

`{"kind": "note"}` asks for equality, `{"n": {"$gt": 3, "$lte": 9}}` compares, `{"a": {"b": 1}}`
looks into an object and leaves its other members open, and a list asks for as many elements, each
compared in turn. A member that is absent counts as null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from aegis.errors import InvalidInput
from aegis.memory import validate

__all__ = ["Condition", "Test", "read_filter"]

Test = Literal["eq", "ne", "gt", "gte", "lt", "lte", "object", "length"]

MAX_CONDITIONS = 100
_OPERATORS: dict[str, Test] = {
    "$eq": "eq",
    "$ne": "ne",
    "$gt": "gt",
    "$gte": "gte",
    "$lt": "lt",
    "$lte": "lte",
}
_ORDERED = ("gt", "gte", "lt", "lte")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that must hold of a part of the value."""

    #: From the value inwards: members by name, elements by number.
    steps: tuple[str | int, ...]
    test: Test
    #: What it is compared with; the number of elements for `length`; None for `object`.
    operand: Any = None


def read_filter(given: Mapping[str, Any] | None) -> list[Condition]:
    """Return the conditions that a filter stands for.

    Raises:
        InvalidInput: an operator is unknown, or cannot compare what it is given.
    """
    if not given:
        return []
    validate.check_json_object("filter", given)
    found: list[Condition] = []
    for name, wanted in given.items():
        _check_name(name)
        _read(found, (name,), wanted)
        if len(found) > MAX_CONDITIONS:
            raise InvalidInput(
                f"filter has more than {MAX_CONDITIONS} conditions; ask for less at once."
            )
    return found


def _read(found: list[Condition], steps: tuple[str | int, ...], wanted: Any) -> None:
    if isinstance(wanted, Mapping):
        members = cast("Mapping[str, Any]", wanted)
        for name in members:
            _check_name(name)
        if any(name.startswith("$") for name in members):
            found += [_compare(steps, name, operand) for name, operand in members.items()]
            return
        found.append(Condition(steps=steps, test="object"))
        for name, inner in members.items():
            _read(found, (*steps, name), inner)
    elif isinstance(wanted, list | tuple):
        elements = cast("Sequence[Any]", wanted)
        found.append(Condition(steps=steps, test="length", operand=len(elements)))
        for number, inner in enumerate(elements):
            _read(found, (*steps, number), inner)
    else:
        found.append(Condition(steps=steps, test="eq", operand=wanted))


def _compare(steps: tuple[str | int, ...], name: str, operand: Any) -> Condition:
    test = _OPERATORS.get(name)
    if test is None:
        raise InvalidInput(f"filter has the operator {name!r}; use one of {', '.join(_OPERATORS)}.")
    ordered = isinstance(operand, str | int | float) and not isinstance(operand, bool)
    if test in _ORDERED and not ordered:
        raise InvalidInput(
            f"filter compares with {operand!r} by {name}; it orders numbers and texts only."
        )
    return Condition(steps=steps, test=test, operand=operand)


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise InvalidInput(f"filter has the name {name!r}; names of members are texts.")
