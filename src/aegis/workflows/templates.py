"""`{{ expression }}` in parameters.

Text that is one expression and nothing else becomes its value, of any type; within other text
values are written out, objects and lists as JSON. What an expression returns is never read as a
template again. Keys of objects are left alone.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, cast

from aegis.workflows.expressions import check, evaluate, short, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aegis.workflows.models import JSON

__all__ = ["check_templates", "expressions_in", "has_template", "resolve"]

#: Text that templates put together, in characters.
_MOST_TEXT = 4_000_000


def resolve(value: JSON, scope: Mapping[str, JSON]) -> JSON:
    """Return `value` with each `{{ expression }}` in its text replaced, as this module says.

    Raises:
        InvalidInput: as `evaluate`; or an expression has no end.
    """
    if isinstance(value, str):
        return _resolve_text(value, scope)
    if isinstance(value, list):
        return [resolve(part, scope) for part in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: resolve(part, scope) for key, part in cast("dict[str, Any]", value).items()}
    return value


def has_template(value: JSON) -> bool:
    """Return whether text holds an expression, and so may become anything."""
    return isinstance(value, str) and "{{" in value


def expressions_in(value: JSON, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield place and source of each expression in the text of a value."""
    for where, text in _texts(value, place):
        for part in _split(text):
            if isinstance(part, _Expression):
                yield where, part.source


def check_templates(value: JSON, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield place and trouble of each expression in a value that cannot be."""
    for where, text in _texts(value, place):
        for part in _split(text):
            if isinstance(part, _Expression):
                trouble = _open(part.source) if not part.closed else check(part.source)
                if trouble:
                    yield where, trouble


class _Expression:
    """One expression in a text."""

    __slots__ = ("closed", "source")

    def __init__(self, source: str, *, closed: bool) -> None:
        self.source = source
        self.closed = closed


@functools.lru_cache(maxsize=2_000)
def _split(text: str) -> Sequence[str | _Expression]:
    """Cut a text into what stands and what is evaluated."""
    parts: list[str | _Expression] = []
    end = 0
    while True:
        start = text.find("{{", end)
        if start < 0:
            break
        stop = _end(text, start + 2)
        if start > end:
            parts.append(text[end:start])
        parts.append(_Expression(text[start + 2 : stop].strip(), closed=stop < len(text)))
        end = min(stop + 2, len(text))
    if end < len(text):
        parts.append(text[end:])
    return parts


def _end(text: str, at: int) -> int:
    """Return where the expression that begins at `at` is closed, else the text's length.

    Braces of objects and in quotes close nothing.
    """
    depth = 0
    quote = ""
    while at < len(text):
        sign = text[at]
        if quote:
            at += sign == "\\"
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign == "{":
            depth += 1
        elif sign == "}" and depth:
            depth -= 1
        elif text.startswith("}}", at):
            return at
        at += 1
    return len(text)


def _texts(value: JSON, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if "{{" in value:
            yield place, value
    elif isinstance(value, list):
        for number, part in enumerate(cast("list[Any]", value)):
            yield from _texts(part, f"{place}[{number}]")
    elif isinstance(value, dict):
        for key, part in cast("dict[str, Any]", value).items():
            yield from _texts(part, f"{place}.{key}")


def _resolve_text(text: str, scope: Mapping[str, JSON]) -> JSON:
    if "{{" not in text:
        return text
    parts = _split(text)
    said: list[str] = []
    length = 0
    for part in parts:
        if isinstance(part, str):
            said.append(part)
            continue
        if not part.closed:
            raise wrong(part.source, "has no }} at its end")
        value = evaluate(part.source, scope)
        if len(parts) == 1:
            return value
        said.append(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        length += len(said[-1])
        if length > _MOST_TEXT:
            raise wrong(part.source, f"makes the text longer than {_MOST_TEXT:,} characters")
    return "".join(said)


def _open(source: str) -> str:
    return f"{short(source)} follows {{{{ and has no }}}} at its end."
