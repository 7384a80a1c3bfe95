"""What usage accepts. Pure: no database, no clock; every refusal names the field and the value."""

from __future__ import annotations

import functools
import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import InvalidInput
from aegis.keys.validate import check_text, check_whole
from aegis.usage.models import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.usage.models import Rejection

__all__ = [
    "FUTURE",
    "LATE",
    "MAX_EVENTS",
    "check_choice",
    "check_key_id",
    "check_page",
    "check_span",
    "event_of",
    "refuse",
]

#: How old an event may be when it comes, and how far ahead its sender's clock may be.
LATE: Final = timedelta(days=35)
FUTURE: Final = timedelta(minutes=5)
MAX_EVENTS: Final = 10_000
MAX_INT: Final = 2**31 - 1
#: What `cost_usd` can hold: ten digits, six of them behind the point.
MAX_COST: Final = Decimal("9999.999999")
_FIELDS: Final = (
    "event_id", "customer_id", "api_key_id", "endpoint", "method", "status_code",
    "response_time_ms", "tokens_used", "cost_usd", "created_at",
)  # fmt: skip
_KNOWN: Final = frozenset(_FIELDS)
_METHOD: Final = re.compile(r"[A-Z]{1,10}")
_USUAL: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_NAMED_REASONS: Final = 20
_PREVIEW: Final = 60


def event_of(raw: Any, *, now: datetime, source: str) -> Event:
    """Return the event that a sender's object describes (`InvalidInput`).

    `customer_id` may be left out where `api_key_id` says it; it is empty then.
    """
    if not isinstance(raw, dict):
        raise InvalidInput(f"the event is {_shown(raw)}; it must be an object.")
    given = cast("Mapping[str, Any]", raw)
    if not given.keys() <= _KNOWN:
        name = next(name for name in given if name not in _KNOWN)
        raise InvalidInput(f"{_shown(name)} is no field; use {', '.join(_FIELDS)}.")
    event_id = given.get("event_id")
    customer_id = given.get("customer_id")
    key_id = given.get("api_key_id")
    endpoint = given.get("endpoint")
    if event_id is None:
        raise InvalidInput("event_id is missing; give an id that is the same when sent again.")
    check_text("event_id", event_id, most=200)
    if customer_id is None and key_id is None:
        raise InvalidInput("customer_id and api_key_id are missing; say who pays.")
    if customer_id is not None:
        check_text("customer_id", customer_id, most=100)
    check_text("endpoint", endpoint, most=200)
    method = given.get("method")
    if not isinstance(method, str) or not (method in _USUAL or _METHOD.fullmatch(method)):
        raise InvalidInput(f"method is {_shown(method)}; use capitals, such as GET.")
    status_code = given.get("status_code")
    check_whole("status_code", status_code, least=100, most=599)
    response_ms = given.get("response_time_ms")
    if response_ms is not None:
        check_whole("response_time_ms", response_ms, least=0, most=MAX_INT)
    tokens = given.get("tokens_used", 0)
    check_whole("tokens_used", tokens, least=0, most=MAX_INT)
    return Event(
        event_id=cast("str", event_id),
        customer_id=customer_id or "",
        api_key_id=None if key_id is None else check_key_id(key_id),
        endpoint=cast("str", endpoint),
        method=method,
        status_code=cast("int", status_code),
        response_time_ms=response_ms,
        tokens_used=tokens,
        cost_usd=_check_cost(given.get("cost_usd", 0)),
        created_at=_check_time(given.get("created_at"), now),
        source=source,
    )


def check_key_id(value: Any) -> str:
    """Return a key's id in its one form (`InvalidInput`)."""
    try:
        if not isinstance(value, str) or len(value) > 50:
            raise ValueError
        return str(uuid.UUID(value))
    except ValueError:
        raise InvalidInput(
            f"api_key_id is {_shown(value)}; an id looks like 3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e11."
        ) from None


def check_span(since: Any, until: Any) -> None:
    """Accept two times with zones, the first before the second."""
    for name, value in (("since", since), ("until", until)):
        if not isinstance(value, datetime) or value.utcoffset() is None:
            raise InvalidInput(f"{name} is {_shown(value)}; use a time with a zone.")
        if not 2 <= value.year <= 9990:
            raise InvalidInput(f"{name} is in the year {value.year}; use years 2 to 9990.")
    if since >= until:
        raise InvalidInput(f"since is {since}, which is not before until ({until}).")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Accept one of `choices`."""
    if value not in choices:
        raise InvalidInput(f"{name} is {_shown(value)}; use one of {', '.join(choices)}.")


def check_page(limit: Any, *, most: int = 1000) -> None:
    """Accept the size of a page."""
    check_whole("limit", limit, least=1, most=most)


def refuse(rejected: Sequence[Rejection], count: int) -> InvalidInput:
    """Return the refusal of a whole batch: every bad line, the first twenty with their reasons."""
    reasons = "; ".join(
        f"line {r.line}: {r.message.rstrip('.')}" for r in rejected[:_NAMED_REASONS]
    )
    others = ", ".join(str(r.line) for r in rejected[_NAMED_REASONS:])
    more = f"; and lines {others}" if others else ""
    return InvalidInput(
        f"Nothing was recorded: {len(rejected):,} of {count:,} events cannot be accepted. "
        f"{reasons}{more}.",
        code="events_refused",
    )


def _check_cost(value: Any) -> Decimal:
    cost = None
    if isinstance(value, int | str | float | Decimal) and not isinstance(value, bool):
        # A JSON number is what it looks like, not its binary neighbour.
        cost = _amount(str(value)[:_PREVIEW])
    if cost is None:
        raise InvalidInput(
            f"cost_usd is {_shown(value)}; use 0 to {MAX_COST}, six digits behind the point."
        )
    return cost


# Calls of one kind cost the same, again and again.
@functools.lru_cache(maxsize=4_096)
def _amount(text: str) -> Decimal | None:
    try:
        cost = Decimal(text)
        if not cost.is_finite() or not 0 <= cost <= MAX_COST or cost != round(cost, 6):
            return None
    except (InvalidOperation, ValueError):
        return None
    return cost


def _check_time(value: Any, now: datetime) -> datetime:
    if value is None:
        return now
    at = value
    if isinstance(value, str) and len(value) <= _PREVIEW:
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            at = None
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise InvalidInput(
            f"created_at is {_shown(value)}; write a time with a zone, such as "
            "2026-05-01T09:00:00+00:00."
        )
    try:
        at = at if at.tzinfo is UTC else at.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"created_at is {_shown(value)}; no calendar has it.") from None
    if at < now - LATE:
        raise InvalidInput(
            f"created_at is {at.isoformat()}, more than {LATE.days} days ago; its month is billed."
        )
    if at > now + FUTURE:
        raise InvalidInput(
            f"created_at is {at.isoformat()}, in the future; set the sender's clock."
        )
    return at


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _PREVIEW else f"{text[:_PREVIEW]}…"
