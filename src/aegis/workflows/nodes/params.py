"""Parameters of node types: what there is, how it is checked when a workflow is saved and again
when a node runs, once templates have become values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from aegis.errors import InvalidInput
from aegis.workflows.models import Problem
from aegis.workflows.templates import has_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.workflows.models import JSON

__all__ = ["Param", "ParamKind", "check_params", "read_params"]

ParamKind = Literal["text", "number", "whole", "boolean", "object", "list", "texts", "any"]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter."""

    kind: ParamKind
    #: For the reference: what it is, in one line.
    doc: str
    required: bool = False
    default: JSON = None
    #: Of numbers, or of the length of text.
    least: float = 0
    most: float = math.inf
    #: The only values, if any are named.
    choices: Sequence[str] = ()
    #: Whether templates are left alone: it names something that has to be known when it is saved.
    literal: bool = False


def check_params(known: Mapping[str, Param], params: Mapping[str, JSON]) -> list[Problem]:
    """Return what is wrong with parameters as written."""
    problems = [
        _problem(name, f"is not known; there are {', '.join(known) or 'none'}")
        for name in params
        if name not in known
    ]
    for name, param in known.items():
        value = params.get(name)
        if value is None:
            if param.required:
                problems.append(_problem(name, f"is missing: {param.doc}"))
            continue
        if has_template(value):
            if param.literal:
                problems.append(_problem(name, "cannot be an expression; write it out"))
            continue
        trouble = _trouble(param, value)
        if trouble:
            problems.append(_problem(name, trouble))
    return problems


def read_params(known: Mapping[str, Param], params: Mapping[str, JSON]) -> dict[str, Any]:
    """Return every parameter of a node about to run, with defaults.

    Raises:
        InvalidInput: an expression became something else than the parameter takes
            (`workflow_parameter`).
    """
    read: dict[str, Any] = {}
    for name, param in known.items():
        value = params.get(name)
        if value is None:
            if param.required:
                raise _wrong(name, f"is missing: {param.doc}")
            read[name] = param.default
            continue
        if param.kind == "text" and isinstance(value, (int, float)):
            # `{{ input.number }}` alone is a number, and meant as text.
            value = str(value).lower() if isinstance(value, bool) else str(value)
        trouble = _trouble(param, value)
        if trouble:
            raise _wrong(name, trouble)
        read[name] = value
    return read


def _trouble(param: Param, value: JSON) -> str | None:
    if not _fits(param.kind, value):
        return f"is {_kind(value)}, and {param.kind} is wanted: {param.doc}"
    if param.choices and value not in param.choices:
        return f"is {value!r:.60}; use one of {', '.join(param.choices)}"
    if isinstance(value, (str, list)):
        length = len(cast("Sequence[Any]", value))
        if not param.least <= length <= param.most:
            return f"has length {length:,}; use {param.least:g} to {param.most:,.0f}"
    elif _is_number(value) and not param.least <= value <= param.most:
        return f"is {value:g}; use {param.least:g} to {param.most:g}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _fits(kind: ParamKind, value: Any) -> bool:
    if kind == "any":
        return True
    if kind == "texts":
        return isinstance(value, list) and all(isinstance(v, str) for v in cast("list[Any]", value))
    if kind == "number":
        return _is_number(value) and math.isfinite(value)
    if kind == "whole":
        return _is_number(value) and isinstance(value, int)
    return isinstance(value, _CLASSES[kind])


_CLASSES: dict[ParamKind, type[Any]] = {"text": str, "boolean": bool, "object": dict, "list": list}


def _kind(value: JSON) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return "text"
    return "true or false" if isinstance(value, bool) else f"the number {value!r:.40}"


def _problem(name: str, message: str) -> Problem:
    return Problem(node="", field=f"params.{name}", message=message)


def _wrong(name: str, what: str) -> InvalidInput:
    return InvalidInput(f"Parameter {name} {what}.", code="workflow_parameter")
