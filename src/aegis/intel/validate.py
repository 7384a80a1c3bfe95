"""What the watching of competitors accepts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from aegis.errors import InvalidInput
from aegis.intel.models import CHANGE_TYPES, PAGE_STATES, PAGE_TYPES, Importance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.intel.models import PageState, PageType

__all__ = [
    "IMPORTANCES",
    "check_category",
    "check_change_types",
    "check_every",
    "check_limit",
    "check_name",
    "check_state",
    "check_type",
    "least_importance",
]

IMPORTANCES: tuple[Importance, ...] = get_args(Importance)
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LEAST_S, _MOST_S = 60, 366 * 86_400


def check_name(name: str) -> str:
    """Return a competitor's name (`InvalidInput`)."""
    text = " ".join(name.split())
    if not text or len(text) > 200 or not text.isprintable():
        raise InvalidInput(f"name is {name[:60]!r}; use 1 to 200 printable characters.")
    return text


def check_category(category: str | None) -> str | None:
    """Return a category (`InvalidInput`)."""
    if category is None:
        return None
    text = category.strip()
    if not text or len(text) > 100 or not text.isprintable():
        raise InvalidInput(f"category is {category[:60]!r}; use 1 to 100 printable characters.")
    return text


def check_every(every: str | int | None) -> int | None:
    """Return seconds between checks, from seconds or a text such as `12h` (`InvalidInput`)."""
    if every is None:
        return None
    seconds = every if isinstance(every, int) else -1
    if isinstance(every, str):
        match = re.fullmatch(r"(\d{1,6})([mhdw])", every.strip())
        if match:
            seconds = int(match[1]) * _UNITS[match[2]]
    if not _LEAST_S <= seconds <= _MOST_S:
        raise InvalidInput(f"every is {every!r}; use 1m to 366d, such as 12h.")
    return seconds


def check_type(page_type: str) -> PageType:
    """Return a page's type (`InvalidInput`)."""
    for known in PAGE_TYPES:
        if known == page_type:
            return known
    raise InvalidInput(f"type is {page_type[:40]!r}; use {', '.join(PAGE_TYPES)}.")


def check_state(state: str) -> PageState:
    """Return a page's state (`InvalidInput`)."""
    for known in PAGE_STATES:
        if known == state:
            return known
    raise InvalidInput(f"state is {state[:40]!r}; use {', '.join(PAGE_STATES)}.")


def check_change_types(types: Sequence[str]) -> list[str]:
    """Return types of changes (`InvalidInput`)."""
    for one in types:
        if one not in CHANGE_TYPES:
            raise InvalidInput(f"type is {one[:40]!r}; use {', '.join(CHANGE_TYPES)}.")
    return list(types)


def least_importance(importance: str | None) -> list[str]:
    """Return the importances from this one on (`InvalidInput`)."""
    if importance is None:
        return list(IMPORTANCES)
    if importance not in IMPORTANCES:
        raise InvalidInput(f"importance is {importance[:40]!r}; use {', '.join(IMPORTANCES)}.")
    return list(IMPORTANCES[IMPORTANCES.index(importance) :])


def check_limit(limit: int) -> int:
    """Return how many to return (`InvalidInput`)."""
    if not 1 <= limit <= 1_000:
        raise InvalidInput(f"limit is {limit}; use 1 to 1000.")
    return limit
