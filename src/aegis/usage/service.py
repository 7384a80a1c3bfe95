"""Usage, for its operator and for other programs: `client.usage`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aegis.errors import AegisError, InvalidInput
from aegis.keys.validate import check_text
from aegis.usage import validate
from aegis.usage.histogram import percentile
from aegis.usage.meter import Meter, write_events
from aegis.usage.models import (
    GRANULARITIES,
    GROUPS,
    ORDERS,
    Reconciled,
    Recorded,
    Rejection,
    Report,
    Sums,
)
from aegis.usage.partitions import Partitions
from aegis.usage.spans import choose, widen
from aegis.usage.store import events as event_store
from aegis.usage.store import partitions as partition_store
from aegis.usage.store import sums as sum_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.usage.models import Difference, Event, EventRecord, Granularity, Group, Order

__all__ = ["Usage"]

_LISTED = 1_000
_DEFAULT_SPAN = timedelta(days=30)


class Usage:
    """The usage of one database: `meter` writes calls as they end, `partitions` keeps months."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self.partitions = Partitions(db, settings)
        self.meter = Meter(db, self.partitions)

    async def record(
        self,
        events: Sequence[Any],
        *,
        partial: bool = False,
        customer_id: str | None = None,
        source: str = "events",
    ) -> Recorded:
        """Write events of calls that were made elsewhere; each is an object of the fields below.

        `event_id` (the sender's, the same when sent again), `customer_id` or `api_key_id` or both,
        `endpoint`, `method`, `status_code`; and `response_time_ms`, `tokens_used`, `cost_usd`,
        `created_at`. One transaction: all of them, or with `partial` all that can be accepted. An
        id that the customer used before, within 36 days, is not counted again. With `customer_id`,
        events of anybody else are refused.

        Raises:
            InvalidInput: an event cannot be accepted (`events_refused`), and nothing was recorded.
            Unavailable: the database does not answer; sending them again is safe.
        """
        if not isinstance(events, list | tuple):
            raise InvalidInput("events is no list; give a list of objects.")
        if not 1 <= len(events) <= validate.MAX_EVENTS:
            raise InvalidInput(
                f"events has {len(events):,} lines; send 1 to {validate.MAX_EVENTS:,} at a time."
            )
        now = datetime.now(UTC)
        accepted: list[tuple[int, Event]] = []
        rejected: list[Rejection] = []
        for line, raw in enumerate(events, 1):
            try:
                accepted.append((line, validate.event_of(raw, now=now, source=source)))
            except AegisError as error:
                rejected.append(_rejection(line, raw, error.message))
        checked = await self._owned(accepted, rejected, customer_id)
        if rejected and not partial:
            raise validate.refuse(sorted(rejected, key=lambda r: r.line), len(events))
        # The first of an id counts, whatever the others say.
        fresh: dict[tuple[str, str], Event] = {}
        for event in checked:
            fresh.setdefault((event.customer_id, event.event_id), event)
        written = 0
        if fresh:
            written = await write_events(self._db, self.partitions, list(fresh.values()))
        return Recorded(
            recorded=written,
            duplicates=len(checked) - written,
            rejected=sorted(rejected, key=lambda r: r.line),
        )

    async def show(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        granularity: Granularity | None = None,
        group: Group = "none",
        customer_id: str | None = None,
        api_key_id: str | None = None,
        endpoint: str | None = None,
        limit: int = 1000,
    ) -> Report:
        """Return sums by time, the last 30 days if nothing is said.

        `granularity` follows from the span: hours up to 3 days, days up to 93, else months. Spans
        are widened to whole hours, or to whole days (UTC) where it is not `hour`.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        return await self._sums(
            since, until, granularity, group, None, limit, customer_id, api_key_id, endpoint
        )

    async def top(
        self,
        *,
        by: Group = "customer",
        order: Order = "calls",
        since: datetime | None = None,
        until: datetime | None = None,
        customer_id: str | None = None,
        limit: int = 10,
    ) -> Report:
        """Return the customers, keys or endpoints with the most calls, errors, tokens or cost.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        validate.check_choice("by", by, GROUPS[1:])
        validate.check_choice("order", order, ORDERS)
        return await self._sums(since, until, "all", by, order, limit, customer_id, None, None)

    async def events(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        customer_id: str | None = None,
        api_key_id: str | None = None,
        endpoint: str | None = None,
        limit: int = 50,
        before: tuple[datetime, int] | None = None,
    ) -> Sequence[EventRecord]:
        """Return events, newest first; `before` is time and number of the last one seen.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        first, last = _span(since, until)
        validate.check_page(limit)
        key_id = _checked_filters(customer_id, api_key_id, endpoint)
        async with self._db.transaction() as conn:
            return await event_store.list_events(
                conn,
                customer_id=customer_id,
                api_key_id=key_id,
                endpoint=endpoint,
                since=first,
                until=last,
                before=before,
                limit=limit,
            )

    async def reconcile(self, month: date | None = None, *, fix: bool = False) -> Reconciled:
        """Add the events up again and compare them with the sums; all months, or one.

        `fix` makes the sums that differ again, while writers wait. Months whose events were
        dropped have nothing to compare with and are left alone.

        Raises:
            InvalidInput: `month` is not the first day of one that is here.
        """
        async with self._db.transaction() as conn:
            present = {p.month for p in await partition_store.list_partitions(conn) if p.attached}
            archives = await partition_store.list_archives(conn)
        months = sorted(present - {a.month for a in archives if a.state == "dropped"})
        if month is not None:
            if month not in months:
                raise InvalidInput(
                    f"month is {month}; give the first day of one that is in the database "
                    "(`aegis usage partitions`)."
                )
            months = [month]
        events = 0
        differences: list[Difference] = []
        for one in months:
            async with self._db.transaction() as conn:
                await conn.execute("SET LOCAL statement_timeout = 0")
                events += await sum_store.count_events(conn, one)
                found = await sum_store.compare_month(conn, one, limit=_LISTED)
                if found and fix:
                    await sum_store.rebuild_month(conn, one)
            differences += found
        return Reconciled(
            months=months,
            events=events,
            differences=differences[:_LISTED],
            fixed=fix and bool(differences),
        )

    async def _owned(
        self,
        accepted: Sequence[tuple[int, Event]],
        rejected: list[Rejection],
        only: str | None,
    ) -> list[Event]:
        """Return the events whose keys and customers fit; add the others to `rejected`."""
        key_ids = sorted({e.api_key_id for _, e in accepted if e.api_key_id is not None})
        if not key_ids and only is None:
            return [event for _, event in accepted]
        owners: dict[str, str] = {}
        if key_ids:
            async with self._db.transaction() as conn:
                owners = await event_store.owners_of(conn, key_ids)
        checked: list[Event] = []
        for line, event in accepted:
            owner = event.customer_id if event.api_key_id is None else owners.get(event.api_key_id)
            payer = event.customer_id or owner
            if owner is None:
                message = f"api_key_id is {event.api_key_id}; there is no such key."
            elif payer != owner:
                message = (
                    f"customer_id is {event.customer_id!r}, but key {event.api_key_id} is another "
                    "customer's."
                )
            elif only is not None and payer != only:
                message = f"the event is of {payer!r}; your key reports for {only!r} alone."
            else:
                named = event.customer_id == owner
                checked.append(event if named else replace(event, customer_id=owner))
                continue
            rejected.append(Rejection(line=line, event_id=event.event_id, message=message))
        return checked

    async def _sums(
        self,
        since: datetime | None,
        until: datetime | None,
        granularity: Granularity | None,
        group: Group,
        order: Order | None,
        limit: int,
        customer_id: str | None,
        api_key_id: str | None,
        endpoint: str | None,
    ) -> Report:
        first, last = _span(since, until)
        chosen = granularity or choose(first, last)
        validate.check_choice("granularity", chosen, GRANULARITIES)
        validate.check_choice("group", group, GROUPS)
        validate.check_page(limit, most=10_000)
        key_id = _checked_filters(customer_id, api_key_id, endpoint)
        first, last = widen(first, last, chosen)
        async with self._db.transaction() as conn:
            rows = await sum_store.read_sums(
                conn,
                since=first,
                until=last,
                granularity=chosen,
                group=group,
                order=order,
                limit=limit,
                customer_id=customer_id,
                api_key_id=key_id,
                endpoint=endpoint,
            )
        return Report(
            since=first, until=last, granularity=chosen, items=[_summed(row) for row in rows]
        )


def _span(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    # A sender's clock may be ahead: what was accepted is seen.
    last = until or datetime.now(UTC) + validate.FUTURE
    first = since or last - _DEFAULT_SPAN
    validate.check_span(first, last)
    return first, last


def _checked_filters(
    customer_id: str | None, api_key_id: str | None, endpoint: str | None
) -> str | None:
    if customer_id is not None:
        check_text("customer_id", customer_id, most=100)
    if endpoint is not None:
        check_text("endpoint", endpoint, most=200)
    return None if api_key_id is None else validate.check_key_id(api_key_id)


def _summed(row: Any) -> Sums:
    at, member, calls, errors, tokens, cost_usd, response_ms, histogram = row
    timed = sum(histogram)
    return Sums(
        at=at,
        group=member,
        calls=calls,
        errors=errors,
        tokens=tokens,
        cost_usd=cost_usd,
        mean_ms=response_ms / timed if timed > 0 else None,
        p50_ms=percentile(histogram, 0.50),
        p95_ms=percentile(histogram, 0.95),
        p99_ms=percentile(histogram, 0.99),
    )


def _rejection(line: int, raw: Any, message: str) -> Rejection:
    event_id: Any = raw.get("event_id") if isinstance(raw, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    known = event_id if isinstance(event_id, str) and len(event_id) <= 200 else None
    return Rejection(line=line, event_id=known, message=message)
