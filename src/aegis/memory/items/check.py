"""What items accept. Pure; every refusal names the field and the value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from aegis.errors import InvalidInput
from aegis.memory import validate
from aegis.memory.items.models import GetItem, ListPaths, Operation, PutItem, SearchItems

__all__ = ["check_operation", "path_range", "verbatim_of"]

MAX_LABELS = 50
#: Together with the key and the namespace below the 2,704 bytes of a B-tree entry.
MAX_PATH_BYTES = 800
MAX_KEY_BYTES = 800
#: A century.
MAX_TTL_MINUTES = 52_560_000
MAX_LIMIT = 10_000
MAX_TEXTS = 1_000
#: JSONB writes whole numbers out, so that from here on a float would come back as an integer.
_LEAST_EXPONENT = 1e16


def check_operation(operation: Operation) -> None:
    """Accept an operation or say what is wrong with it (`InvalidInput`)."""
    if isinstance(operation, PutItem):
        _check_put(operation)
    elif isinstance(operation, GetItem):
        _check_place(operation.path, operation.key)
    elif isinstance(operation, SearchItems):
        check_path("namespace_prefix", operation.prefix, empty=True)
        _check_page(operation.limit, operation.offset)
        if operation.query:
            validate.check_text("query", operation.query, most=validate.MAX_SUMMARY)
    else:
        _check_listing(operation)


def check_path(name: str, path: Any, *, empty: bool = False) -> None:
    """Accept a path: texts, none of them empty."""
    if isinstance(path, str) or not isinstance(path, Sequence):
        raise InvalidInput(f"{name} is {path!r}; give a list of labels, such as ['users', '42'].")
    labels = cast("Sequence[Any]", path)
    if not labels and not empty:
        raise InvalidInput(f"{name} is empty; give at least one label.")
    for label in labels:
        if label == "":
            raise InvalidInput(f"{name} has an empty label; every label must say something.")
        if not isinstance(label, str) or label.strip():
            validate.check_key(f"label of {name}", label)
    if len(labels) > MAX_LABELS or sum(len(label.encode()) for label in labels) > MAX_PATH_BYTES:
        raise InvalidInput(
            f"{name} has {len(labels)} labels; at most {MAX_LABELS}, of {MAX_PATH_BYTES} bytes "
            "together, are accepted."
        )


def path_range(prefix: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the least path that begins with `prefix`, and the least that is greater than all.

    By bytes, U+0001 behind a label makes the least text that is greater than it.
    """
    return list(prefix), [*prefix[:-1], prefix[-1] + "\x01"]


def verbatim_of(value: Mapping[str, Any]) -> str | None:
    """Return the JSON text of a value that JSONB would give back with another number, or None."""
    level: list[Any] = [value]
    while level:
        below: list[Any] = []
        for part in level:
            if isinstance(part, float):
                whole = part.is_integer() and abs(part) >= _LEAST_EXPONENT
                if whole or (not part and math.copysign(1, part) < 0):
                    return json.dumps(value, ensure_ascii=False)
            elif isinstance(part, Mapping):
                below += cast("Mapping[str, Any]", part).values()
            elif isinstance(part, list | tuple):
                below += cast("Sequence[Any]", part)
        level = below
    return None


def _check_put(put: PutItem) -> None:
    _check_place(put.path, put.key)
    if put.value is None:
        return
    validate.check_json_object("value", put.value)
    _check_names(put.value)
    ttl: Any = put.ttl_minutes
    if ttl is not None:
        number = isinstance(ttl, int | float) and not isinstance(ttl, bool)
        if not number or not 0 <= ttl <= MAX_TTL_MINUTES:
            raise InvalidInput(f"ttl is {ttl!r}; use minutes, from 0 to {MAX_TTL_MINUTES:,}.")
    if len(put.texts) > MAX_TEXTS:
        raise InvalidInput(
            f"index names {len(put.texts):,} texts of one item; at most {MAX_TEXTS:,} are embedded."
        )
    for field, _ in put.texts:
        validate.check_key("index", field)


def _check_names(value: Mapping[str, Any]) -> None:
    """Refuse what JSON would write as another name: 1 as "1"."""
    level: list[Any] = [value]
    while level:
        below: list[Any] = []
        for part in level:
            if isinstance(part, Mapping):
                members = cast("Mapping[Any, Any]", part)
                for name in members:
                    if not isinstance(name, str):
                        raise InvalidInput(f"value has the name {name!r}; names must be texts.")
                below += members.values()
            elif isinstance(part, list | tuple):
                below += cast("Sequence[Any]", part)
        level = below


def _check_place(path: Any, key: Any) -> None:
    check_path("namespace", path)
    if not isinstance(key, str):
        raise InvalidInput(f"key is {key!r}; it must be text.")
    if key.strip():
        validate.check_key("key", key)
    if len(key.encode()) > MAX_KEY_BYTES:
        raise InvalidInput(
            f"key has {len(key.encode()):,} bytes; at most {MAX_KEY_BYTES} are accepted."
        )


def _check_page(limit: Any, offset: Any) -> None:
    for name, value, most in (("limit", limit, MAX_LIMIT), ("offset", offset, 2**31 - 1)):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise InvalidInput(f"{name} is {value!r}; use a whole number from 0 to {most:,}.")


def _check_listing(listing: ListPaths) -> None:
    _check_page(listing.limit, listing.offset)
    if listing.max_depth is not None:
        validate.check_limit("max_depth", listing.max_depth, most=2**31 - 1)
    for match in listing.matches:
        validate.check_choice("match_type", match.kind, ("prefix", "suffix"))
        check_path(match.kind, match.labels, empty=True)
