"""Stripe, for the operator and the background: `client.billing.stripe`."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aegis.billing import validate
from aegis.billing.invoices import WAYS, move
from aegis.billing.models import OUTBOX_STATES, Synced
from aegis.billing.store import accounts, outbox, queueing, webhooks
from aegis.billing.store import invoices as invoice_store
from aegis.billing.stripe.calls import Outcome, open_calls, pause_s
from aegis.billing.stripe.events import is_newer, read_event, state_of
from aegis.billing.stripe.reports import REPORT, enter_report, read_report
from aegis.billing.stripe.signature import check_signature
from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.security.audit.actor import Actor, acting_as
from aegis.security.audit.recording import audited, note
from aegis.security.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aegis.billing.models import OutboxRow
    from aegis.billing.store.outbox import Counts
    from aegis.billing.store.queueing import NewCustomer
    from aegis.billing.stripe.calls import Calls, Place
    from aegis.billing.stripe.events import Happened
    from aegis.config import Settings
    from aegis.db import Connection, Database

__all__ = ["Stripe"]

_log = logging.getLogger("aegis.billing")

#: Calls at once; Stripe allows 100 a second.
_AT_ONCE: Final = 8
#: How far back usage is looked for: it may come 35 days late, and nobody may have told for a while.
_METER_DAYS: Final = 70
#: Stripe takes meter events of the last 35 days; older usage is told with a time that it takes.
_OLDEST: Final = timedelta(days=34, hours=22)
#: Of the connection, and between two pieces of an answer.
_TIMEOUT_S: Final = 30.0
#: Reports of usage that does not count, read in a round.
_REPORTS: Final = 20
#: Longer than a call may take: then another process may make it.
_LEASE_S: Final = 120


class Stripe:
    """What one database has to tell Stripe, and hears from it."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._columns = Columns(settings)
        self._calls: Calls | None = None
        #: Threads of its own: a Stripe that is slow holds nobody else's work up.
        self._threads: ThreadPoolExecutor | None = None
        #: Seconds that Stripe may be silent; an answer may take three times as long.
        self.timeout_s = _TIMEOUT_S

    @property
    def configured(self) -> bool:
        """Whether there is a key."""
        return self._settings.stripe_api_key is not None

    async def sync(
        self, *, limit: int = 10_000, on_progress: Callable[[int, int], object] | None = None
    ) -> Synced:
        """Tell Stripe what it has to know: customers, final invoices, usage of its meters.

        What cannot be sent now waits in the outbox, and is tried again at a later round. A round
        ends early where Stripe cannot be reached.

        Raises:
            ConfigError: there is no key, or Stripe refuses it; the extra is not installed.
        """
        calls = await self._open()
        queued = await self.queue()
        await self._read_reports(calls)
        sent = retried = failed = 0
        unreachable: str | None = None
        while sent + retried + failed < limit and unreachable is None:
            async with self._db.transaction() as conn:
                rows = await outbox.claim(
                    conn, limit=_AT_ONCE, lease_s=_LEASE_S, oldest=datetime.now(UTC) - _OLDEST
                )
            if not rows:
                break
            # All of them come to their end, whichever of them shows that there is no use going on.
            done = await asyncio.gather(
                *(self._send(calls, row) for row in rows), return_exceptions=True
            )
            outcomes: list[Outcome] = []
            for one in done:
                if isinstance(one, BaseException):
                    raise one
                outcomes.append(one)
            states = [one.state for one in outcomes]
            sent += states.count("sent")
            retried += states.count("retry")
            failed += states.count("failed")
            if on_progress is not None:
                on_progress(sent + retried + failed, sent + retried + failed)
            if all(one.unreachable for one in outcomes):
                # The others would only wait as long for nothing.
                unreachable = outcomes[0].error
        async with self._db.transaction() as conn:
            left = await outbox.waiting(conn)
        return Synced(
            queued=queued,
            sent=sent,
            retried=retried,
            failed=failed,
            waiting=left,
            unreachable=unreachable,
        )

    async def queue(self) -> int:
        """Add to the outbox what is missing there and return how many rows; needs no key."""
        today = datetime.now(UTC).date()
        meters = read_meters(self._settings.stripe_meters)
        async with self._db.transaction() as conn:
            queued = await self._queue_customers(conn)
            queued += await queueing.queue_invoices(conn)
            if meters:
                queued += await queueing.queue_meters(
                    conn, meters, begin=today - timedelta(days=_METER_DAYS), end=today
                )
        return queued

    async def counts(self) -> Counts:
        """Return how many rows of the outbox wait, were sent and were refused."""
        async with self._db.transaction() as conn:
            return await outbox.count_rows(conn)

    async def rows(
        self, *, state: str | None = None, limit: int = 50, offset: int = 0
    ) -> Sequence[OutboxRow]:
        """Return rows of the outbox, newest first (`InvalidInput`)."""
        if state is not None:
            validate.check_choice("state", state, OUTBOX_STATES)
        validate.check_page(limit, offset)
        states = OUTBOX_STATES if state is None else (state,)
        async with self._db.transaction() as conn:
            rows = await outbox.list_rows(conn, states=states, limit=limit, offset=offset)
        return self._columns.reveal_all("billing_stripe_outbox", rows)

    async def retry(self, row_id: int | None = None) -> int:
        """Let what Stripe refused be tried again, one row or all, and return how many."""
        if row_id is not None:
            row_id = validate.check_number("row", row_id)
        async with audited(self._db) as conn:
            count = await outbox.retry_failed(conn, row_id)
            if count:
                note(conn, "billing.stripe_retry", "outbox", row_id, rows=count)
            return count

    async def receive(self, body: bytes, signature: str | None, *, now: float | None = None) -> str:
        """Take in an event as it came, its raw body, and return what became of it.

        `applied`, `stale` (something later was known), `ignored` (not about an invoice of ours),
        `waiting` (the next sync fetches what it is about) or `repeated`. The event and what it
        changes are one transaction.

        Raises:
            ConfigError: there is no secret to check it by.
            Unauthenticated, InvalidInput: its signature does not fit; it is no event.
            Unavailable: not now; Stripe sends it again.
        """
        secret = self._settings.stripe_webhook_secret
        if secret is None:
            raise ConfigError(
                "Webhooks need AEGIS_STRIPE_WEBHOOK_SECRET, the endpoint's `whsec_…`.",
                code="stripe_not_configured",
            )
        check_signature(body, signature, secret=secret, now=time.time() if now is None else now)
        happened = read_event(body)
        with acting_as(Actor(kind="service", face="http", id="stripe")):
            return await self._take_in(happened)

    async def _take_in(self, happened: Happened) -> str:
        async with audited(self._db) as conn:
            new = await webhooks.insert_event(
                conn,
                event_id=happened.event_id,
                event_type=happened.event_type,
                object_id=happened.object_id,
                at=happened.at,
            )
            if not new:
                return "repeated"
            outcome, invoice_id = await _apply(conn, happened)
            await webhooks.set_outcome(conn, happened.event_id, outcome, invoice_id)
        return outcome

    async def _open(self) -> Calls:
        key = self._settings.stripe_api_key
        if key is None:
            raise ConfigError(
                "Stripe needs AEGIS_STRIPE_API_KEY; without it everything else works.",
                code="stripe_not_configured",
            )
        if self._calls is None:
            # Its import takes half a second.
            self._calls = await asyncio.to_thread(
                open_calls, key, base=self._settings.stripe_api_base, timeout_s=self.timeout_s
            )
        return self._calls

    async def _queue_customers(self, conn: Connection) -> int:
        """Add customers that Stripe does not know; names and addresses are stored encrypted."""
        new = self._columns.reveal_all("billing_accounts", await queueing.list_new_customers(conn))
        if not new:
            return 0
        sealed = await self._columns.seal(
            conn,
            "billing_stripe_outbox",
            [(f"customer:{one.customer_id}", {"payload": _told_of(one)}) for one in new],
        )
        return await queueing.queue_customers(
            conn, [one.customer_id for one in new], [values["payload"] for values in sealed]
        )

    async def _read_reports(self, calls: Calls) -> None:
        """Find out which usage Stripe accepted and does not count."""
        async with self._db.transaction() as conn:
            told = await webhooks.list_waiting(conn, limit=_REPORTS)
        for event in told:
            try:
                data = await self._in_thread(partial(calls.fetch_data, event.event_id))
            except (Unavailable, TimeoutError):
                # The next round asks again.
                return
            async with self._db.transaction() as conn:
                await enter_report(conn, event.event_id, read_report(data))

    async def _send(self, calls: Calls, row: OutboxRow) -> Outcome:
        async with self._db.transaction() as conn:
            place = await outbox.get_place(conn, row)
        try:
            row = self._columns.reveal("billing_stripe_outbox", row)
            outcome = await self._make(calls, row, place)
        except AegisError as error:
            async with self._db.transaction() as conn:
                await outbox.record_failure(
                    conn, row, state="pending", error=error.message,
                    pause_s=pause_s(row.attempts), spent=False,
                )  # fmt: skip
            if isinstance(error, ConfigError):
                raise
            return Outcome(state="retry", error=error.message)
        async with self._db.transaction() as conn:
            if outcome.state == "sent":
                await outbox.record_sent(conn, row, outcome.stripe_id)
                return outcome
            why = _without_names(outcome.error or "", row)
            extra = {"subject": row.subject, "why": why, "attempts": row.attempts}
            _log.warning("billing.stripe_refused", extra=extra)
            await outbox.record_failure(
                conn,
                row,
                state="failed" if outcome.state == "failed" else "pending",
                error=why,
                pause_s=max(pause_s(row.attempts), outcome.retry_after_s or 0.0),
                spent=outcome.spent,
            )
        return replace(outcome, error=why)

    async def _make(self, calls: Calls, row: OutboxRow, place: Place) -> Outcome:
        """Make a call, and give up on an answer that does not come to its end."""
        try:
            return await self._in_thread(partial(calls.make, row, place, now=datetime.now(UTC)))
        except TimeoutError:
            error = f"Stripe did not answer within {3 * self.timeout_s:g} seconds."
            return Outcome(state="retry", error=error, unreachable=True)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        """Return what a call in a thread returns (`TimeoutError`: it does not come to its end)."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="stripe")
        made = asyncio.get_running_loop().run_in_executor(self._threads, call)
        return await asyncio.wait_for(made, 3 * self.timeout_s)


def _told_of(customer: NewCustomer) -> dict[str, Any]:
    email = {} if customer.email is None else {"email": customer.email}
    return {
        "name": customer.name or customer.customer_id,
        **email,
        "metadata": {"aegis_customer_id": customer.customer_id},
    }


def _without_names(text: str, row: OutboxRow) -> str:
    """Return what Stripe said without the name and address that it repeats: it is kept, logged."""
    for field in ("name", "email"):
        told = row.payload.get(field)
        if isinstance(told, str) and len(told) > 2 and told != row.customer_id:
            text = text.replace(told, "…")
    return text


def read_meters(text: str | None) -> Mapping[str, str]:
    """Return our meters with Stripe's event names: `calls=api_calls,tokens=api_tokens`."""
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        if part.strip():
            meter, _, name = part.strip().partition("=")
            found[meter] = name
    return found


async def _apply(conn: Connection, happened: Happened) -> tuple[str, int | None]:
    if happened.event_type == REPORT:
        return "waiting", None
    if happened.status is None or happened.object_id is None:
        return "ignored", None
    found: Any = await webhooks.find_invoice(
        conn,
        stripe_invoice_id=happened.object_id,
        ours=happened.invoice_id,
        stripe_customer=happened.customer,
    )
    if found is None:
        return "ignored", None
    await accounts.lock_accounts(conn, [found.customer_id])
    invoice = await invoice_store.lock_invoice(conn, found.id)
    # Read again: until the lock was there, another event may have come.
    found = await webhooks.find_invoice(
        conn,
        stripe_invoice_id=happened.object_id,
        ours=happened.invoice_id,
        stripe_customer=happened.customer,
    )
    if found is None or not is_newer(
        happened.status,
        happened.at,
        known_status=found.stripe_status,
        known_at=found.stripe_event_at,
    ):
        return "stale", invoice.id
    await webhooks.set_status(
        conn,
        invoice.id,
        stripe_invoice_id=happened.object_id,
        status=happened.status,
        at=happened.at,
    )
    state = state_of(happened.status)
    if state is not None and invoice.state in WAYS[state]:
        await move(conn, invoice, state)
    return "applied", invoice.id
