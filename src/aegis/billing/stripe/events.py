"""What Stripe's webhooks say: read, and compared with what is known. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Happened", "is_newer", "read_event", "state_of"]

#: In one second several events may happen: the later in this order stands.
_ORDER: Final = (
    *("created", "updated", "finalization_failed", "finalized", "sent", "upcoming", "overdue"),
    *("payment_action_required", "payment_failed", "marked_uncollectible", "payment_succeeded"),
    *("paid", "voided"),
)
#: What an event makes of our invoice.
_STATES: Final = {
    "finalized": "sent",
    "sent": "sent",
    "payment_succeeded": "paid",
    "paid": "paid",
    "voided": "void",
}
_ID: Final = re.compile(r"[A-Za-z0-9_]{1,200}")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_LAST: Final = 253_402_300_799


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event of Stripe's."""

    event_id: str
    event_type: str
    at: datetime
    object_id: str | None
    #: The customer at Stripe.
    customer: str | None
    #: Our invoice, as its metadata says.
    invoice_id: int | None
    #: `paid` of `invoice.paid`; None for what is not about an invoice.
    status: str | None


def read_event(body: bytes) -> Happened:
    """Return the event that a body, whose signature fits, holds (`InvalidInput`)."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput("The webhook's body is not a JSON document.") from None
    fields = _mapping(event)
    event_id, event_type = fields.get("id"), fields.get("type")
    created = _time(fields.get("created"))
    if (
        not isinstance(event_id, str)
        or not _ID.fullmatch(event_id)
        or not isinstance(event_type, str)
        or not 0 < len(event_type) <= 200
        or created is None
    ):
        raise InvalidInput("The webhook's body is no event: it needs id, type and created.")
    # Events of the second kind hold no object, and name the one that they are about.
    about = _mapping(_mapping(fields.get("data")).get("object") or fields.get("related_object"))
    object_id = _id(about.get("id"))
    is_invoice = event_type.startswith("invoice.") and about.get("object") == "invoice"
    ours = _mapping(about.get("metadata")).get("aegis_invoice_id")
    return Happened(
        event_id=event_id,
        event_type=event_type,
        at=created,
        object_id=object_id,
        customer=_id(about.get("customer")),
        invoice_id=int(ours) if isinstance(ours, str) and _NUMBER.fullmatch(ours) else None,
        status=event_type.removeprefix("invoice.") if is_invoice and object_id else None,
    )


def is_newer(
    status: str, at: datetime, *, known_status: str | None, known_at: datetime | None
) -> bool:
    """Tell whether an event comes after what is known; they arrive in any order."""
    if known_at is None or at != known_at:
        return known_at is None or at > known_at
    return _place(status) > _place(known_status or "")


def state_of(status: str) -> str | None:
    """Return the state that an event brings an invoice of ours to, None for no other."""
    return _STATES.get(status)


def _place(status: str) -> int:
    return _ORDER.index(status) if status in _ORDER else -1


def _time(value: Any) -> datetime | None:
    """Return a time: seconds since 1970, or, in events of the second kind, as text."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LAST:
        return datetime.fromtimestamp(value, UTC)
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.utcoffset() is not None else None
    except (ValueError, OverflowError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None
