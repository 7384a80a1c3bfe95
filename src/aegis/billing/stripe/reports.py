"""What Stripe found wrong with usage after it had accepted it.

A meter event that is answered with 200 is looked at later. One that does not count, such as for a
meter that was archived, is named in an event of its own, whose content has to be fetched. Its row
of the outbox is then refused like any other: it shows, and can be retried.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.billing.store import outbox, webhooks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Connection

__all__ = ["REPORT", "Fault", "enter_report", "read_report"]

_log = logging.getLogger("aegis.billing")

#: The type of the event that tells of it.
REPORT: Final = "v1.billing.meter.error_report_triggered"
_PREVIEW: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What was wrong with some events."""

    #: Such as `archived_meter`; Stripe may add others.
    code: str
    #: How many events.
    count: int
    #: Some of them, not always all: their identifiers with what was wrong.
    named: Sequence[tuple[str, str]]


def read_report(data: Any) -> list[Fault]:
    """Return what a report says; what it does not say as documented is left out."""
    faults: list[Fault] = []
    for raw in _items(_mapping(_mapping(data).get("reason")).get("error_types")):
        kind = _mapping(raw)
        named: list[tuple[str, str]] = []
        for sample in _items(kind.get("sample_errors")):
            identifier = _mapping(_mapping(sample).get("request")).get("identifier")
            if isinstance(identifier, str):
                named.append((identifier, _text(_mapping(sample).get("error_message"))))
        count = kind.get("error_count")
        faults.append(
            Fault(
                code=_text(kind.get("code")) or "unknown",
                count=count if isinstance(count, int) else len(named),
                named=named,
            )
        )
    return faults


async def enter_report(conn: Connection, event_id: str, faults: Sequence[Fault]) -> int:
    """Let the rows that a report names be refused, and return how many they are."""
    refused = 0
    for fault in faults:
        known = 0
        for identifier, message in fault.named:
            why = f"Stripe accepted it and did not count it: {fault.code}"
            error = f"{why} ({message.rstrip('.')})." if message else f"{why}."
            known += await outbox.refuse_event(conn, identifier, error=error)
        refused += known
        # It may name fewer than there are: then the meter at Stripe has to be looked at.
        extra = {"event": event_id, "why": fault.code, "events": fault.count, "named": known}
        _log.error("billing.stripe_uncounted", extra=extra)
    await webhooks.set_outcome(conn, event_id, "applied", None)
    return refused


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _items(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list) else ()


def _text(value: Any) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"
