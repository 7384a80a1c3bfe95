"""What keys accept. Pure: no database, no clock; every refusal names the field and the value."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import InvalidInput, NotFound
from aegis.keys.models import (
    CUSTOMER_LIMIT,
    CUSTOMER_MONTH,
    ENVIRONMENTS,
    MONTH,
    RATE_LIMIT,
    TIERS,
    Binding,
    Limit,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "MAX_COST",
    "MAX_LIMIT",
    "accepted_scopes",
    "check_cost",
    "check_environment",
    "check_expiry",
    "check_grace",
    "check_id",
    "check_limits",
    "check_namespaces",
    "check_own_limits",
    "check_page",
    "check_price",
    "check_quota",
    "check_rate",
    "check_scope",
    "check_scopes",
    "check_text",
    "check_tier",
    "check_topup",
    "check_whole",
]

MAX_LIMIT: Final = 1_000_000
MAX_QUOTA: Final = 2**31 - 1
MAX_COST: Final = 1_000_000
#: A window no longer than a month: beyond it, it is a quota.
MAX_WINDOW_S: Final = 31 * 86_400
MAX_LIMITS: Final = 16
MAX_SCOPES: Final = 100
MAX_NAMESPACES: Final = 100
MAX_GRACE_S: Final = 90 * 86_400
_PREVIEW: Final = 60
_SCOPE: Final = re.compile(r"[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+)*")
_GRANTED: Final = re.compile(r"\*|[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+)*(:\*)?")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,50}")


def check_text(name: str, value: Any, *, most: int) -> None:
    """Accept printable text of 1 to `most` characters."""
    if not isinstance(value, str):
        raise InvalidInput(f"{name} is {value!r}; it must be text.")
    if not value or value != value.strip() or len(value) > most or not value.isprintable():
        raise InvalidInput(
            f"{name} is {_shown(value)}; use 1 to {most} printable characters, no blank ends."
        )


def check_id(value: Any) -> str:
    """Return the id of a key in its one form; what is no id names no key (`NotFound`)."""
    try:
        if not isinstance(value, str) or len(value) > 50:
            raise ValueError
        return str(uuid.UUID(value))
    except ValueError:
        raise NotFound(
            f"There is no key {_shown(value)}; an id looks like "
            "3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e11 (`aegis keys list`)."
        ) from None


def check_tier(value: Any) -> None:
    """Accept a tier's name."""
    _check_choice("tier", value, TIERS)


def check_environment(value: Any) -> None:
    """Accept `live` or `test`."""
    _check_choice("environment", value, ENVIRONMENTS)


def check_rate(value: Any, name: str = "rate_limit") -> None:
    """Accept a number of calls a minute."""
    check_whole(name, value, least=1, most=MAX_LIMIT, hint=" To let nothing pass, disable the key.")


def check_quota(value: Any, name: str = "monthly_quota") -> None:
    """Accept a number of calls a month."""
    check_whole(name, value, least=0, most=MAX_QUOTA)


def check_cost(value: Any) -> None:
    """Accept the cost of a call."""
    check_whole("cost", value, least=0, most=MAX_COST)


def check_topup(value: Any) -> None:
    """Accept an amount to grant."""
    check_whole("amount", value, least=1, most=MAX_QUOTA)


def check_grace(value: Any) -> None:
    """Accept the seconds that an old key goes on working."""
    check_whole("grace_s", value, least=0, most=MAX_GRACE_S)


def check_whole(name: str, value: Any, *, least: int, most: int, hint: str = "") -> None:
    """Accept a whole number within its bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(
            f"{name} is {_shown(value)}; use a whole number from {least:,} to {most:,}.{hint}"
        )


def check_expiry(value: Any, *, now: datetime) -> None:
    """Accept a time with a zone that is still to come."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(f"expires_at is {_shown(value)}; it must be a time with a zone.")
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        moment = None
    if moment is None or moment.year > 9000:
        raise InvalidInput(f"expires_at is {value.isoformat()}; leave it out for never.")
    if moment <= now:
        raise InvalidInput(
            f"expires_at is {value.isoformat()}, which is past; give a time to come, or disable "
            "the key."
        )


def check_scopes(values: Any) -> list[str]:
    """Return scopes to grant, each once."""
    if isinstance(values, str) or not isinstance(values, list | tuple | set | frozenset):
        raise InvalidInput(f"scopes is {_shown(values)}; it must be a list of scopes.")
    scopes = list(dict.fromkeys(cast("Sequence[Any]", values)))
    if len(scopes) > MAX_SCOPES:
        raise InvalidInput(f"scopes holds {len(scopes)}; use {MAX_SCOPES} at most.")
    for scope in scopes:
        if not isinstance(scope, str) or len(scope) > 100 or not _GRANTED.fullmatch(scope):
            raise InvalidInput(
                f"scopes holds {_shown(scope)}; write `reports:read`, `reports:*` or `*`."
            )
    return scopes


def check_scope(value: Any) -> None:
    """Accept the scope that a call needs."""
    if not isinstance(value, str) or len(value) > 100 or not _SCOPE.fullmatch(value):
        raise InvalidInput(f"scope is {_shown(value)}; write it as `reports:read`.")


def accepted_scopes(scope: str) -> list[str]:
    """Return the scopes that grant `scope`: itself, `*`, and `a:*` for each part before it."""
    parts = scope.split(":")
    wider = [":".join([*parts[:count], "*"]) for count in range(1, len(parts))]
    return ["*", *wider, scope]


def check_limits(limits: Any) -> tuple[Limit, ...]:
    """Return the limits that a call names; dictionaries of their fields will do."""
    if isinstance(limits, str | bytes | dict) or not isinstance(limits, list | tuple):
        raise InvalidInput(f"limits is {_shown(limits)}; it must be a list of limits.")
    made = tuple(_limit(item) for item in cast("Sequence[Any]", limits))
    names = [limit.name for limit in made]
    if len(made) > MAX_LIMITS or len(set(names)) != len(names):
        raise InvalidInput(f"limits names {len(names)}; use {MAX_LIMITS} at most, each name once.")
    for limit in made:
        _check_name(limit.name)
        check_rate(limit.limit, "limit")
        check_whole("window_s", limit.window_s, least=1, most=MAX_WINDOW_S)
        if limit.cost is not None:
            check_cost(limit.cost)
        if not isinstance(limit.shared, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(f"shared is {_shown(limit.shared)}; use true or false.")
    return made


def check_own_limits(limits: Any) -> None:
    """Accept a key's own limits: name to `limit` and `window_s`."""
    if not isinstance(limits, dict):
        raise InvalidInput(
            f'limits is {_shown(limits)}; write {{"tokens": {{"limit": 1000, "window_s": 60}}}}.'
        )
    mapping = cast("dict[Any, Any]", limits)
    check_limits([{"name": n, **_fields(n, v, {"limit", "window_s"})} for n, v in mapping.items()])


def check_namespaces(values: Any) -> list[dict[str, Any]]:
    """Return namespaces to bind a key to, the default one first; texts may be read and written."""
    if isinstance(values, str | bytes | dict) or not isinstance(values, list | tuple):
        raise InvalidInput(f"namespaces is {_shown(values)}; it must be a list of namespaces.")
    bound = [_binding(item) for item in cast("Sequence[Any]", values)]
    names = [one["namespace"] for one in bound]
    if not 1 <= len(names) <= MAX_NAMESPACES or len(set(names)) != len(names):
        raise InvalidInput(f"namespaces names {len(names)}; use 1 to {MAX_NAMESPACES}, each once.")
    return bound


def check_page(limit: Any, offset: Any) -> None:
    """Accept the size and the place of a page."""
    check_whole("limit", limit, least=1, most=1000)
    check_whole("offset", offset, least=0, most=2**31 - 1)


def check_price(value: Any) -> Decimal:
    """Return a price in US dollars, exact to the cent."""
    try:
        if isinstance(value, bool | float):
            raise ValueError
        price = Decimal(value)
        exact = price.is_finite() and price == price.quantize(Decimal("0.01"))
    except (InvalidOperation, ValueError, TypeError):
        exact, price = False, Decimal(0)
    if not exact or not 0 <= price < 10**8:
        raise InvalidInput(f"price_usd is {_shown(value)}; write dollars and cents, such as 29.00.")
    return price


def _limit(item: Any) -> Limit:
    if isinstance(item, Limit):
        return item
    fields = _fields("limits", item, {"name", "limit", "window_s", "cost", "shared"})
    try:
        return Limit(**fields)
    except TypeError:
        raise InvalidInput(
            f"limits holds {_shown(item)}; each needs name, limit and window_s."
        ) from None


def _binding(item: Any) -> dict[str, Any]:
    if isinstance(item, Binding):
        item = {"namespace": item.namespace, "write": item.write}
    elif isinstance(item, str):
        item = {"namespace": item}
    fields = _fields("namespaces", item, {"namespace", "write"})
    check_text("namespace", fields.get("namespace"), most=200)
    write = fields.get("write", True)
    if not isinstance(write, bool):
        raise InvalidInput(f"write is {_shown(write)}; use true or false.")
    return {"namespace": fields["namespace"], "write": write}


def _fields(name: Any, item: Any, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(item, dict) or not set(cast("dict[Any, Any]", item)) <= known:
        raise InvalidInput(
            f"{_shown(name)} holds {_shown(item)}; its fields are {', '.join(sorted(known))}."
        )
    return cast("dict[str, Any]", item)


def _check_name(value: Any) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidInput(
            f"limits names {_shown(value)}; use 1 to 50 letters, digits, dots, dashes and "
            "underscores."
        )
    if value in (RATE_LIMIT, MONTH, CUSTOMER_LIMIT, CUSTOMER_MONTH):
        raise InvalidInput(
            f"limits names {value!r}, which every key has already; use another name."
        )


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInput(f"{name} is {_shown(value)}; use one of {', '.join(choices)}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"
