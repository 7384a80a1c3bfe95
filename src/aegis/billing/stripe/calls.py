"""Calls to Stripe through its own package: one row of the outbox is one call.

Each call carries the key that was stored before it, so a call that is repeated is made once. Stripe
keeps keys for a day, and repeats a failure of its own for a key as it does a success: then, and
after a day, what was asked for is looked for by the number of ours in its metadata before it is
asked for again.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from aegis.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.billing.models import OutboxRow

__all__ = ["Calls", "Outcome", "Place", "open_calls", "pause_s"]

#: Stripe may forget a key after a day.
KEY_LIVES: Final = timedelta(hours=23)
_LONGEST_PAUSE_S: Final = 3600.0
_PREVIEW: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What Stripe calls a row's customer and invoice."""

    stripe_customer_id: str | None
    stripe_invoice_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a call."""

    state: Literal["sent", "retry", "failed"]
    stripe_id: str | None = None
    error: str | None = None
    #: Seconds that Stripe asked to wait.
    retry_after_s: float | None = None
    #: Whether another key is needed: this one answers with a failure for good.
    spent: bool = False
    #: Whether no answer came at all.
    unreachable: bool = False


def pause_s(attempts: int) -> float:
    """Return the seconds to wait after so many attempts: 2, 4, 8 … up to an hour."""
    return min(2.0 ** min(attempts, 20), _LONGEST_PAUSE_S)


def open_calls(api_key: str, *, base: str | None, timeout_s: float) -> Calls:
    """Return the way to Stripe (`ConfigError`: the extra is not installed)."""
    try:
        stripe: Any = importlib.import_module("stripe")
    except ImportError:
        raise ConfigError(
            "Stripe needs its package: install it with `pip install 'aegis-core[stripe]'`.",
            code="extra_missing",
        ) from None
    # It would tell Stripe how long calls took here.
    stripe.enable_telemetry = False
    addresses = {} if base is None else {"api": base, "meter_events": base}
    client = stripe.StripeClient(
        api_key,
        base_addresses=addresses,
        # The outbox tries again, and knows when.
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=timeout_s),
    )
    return Calls(stripe, client)


class Calls:
    """Stripe's API. Calls block: make them in a thread."""

    def __init__(self, stripe: Any, client: Any) -> None:
        self._stripe = stripe
        self._v1 = client.v1
        self._v2 = client.v2

    def make(self, row: OutboxRow, place: Place, *, now: datetime) -> Outcome:
        """Make the call of a row and return what became of it.

        Raises:
            ConfigError: Stripe does not know the key, or it may not do this.
        """
        stale = row.first_attempt_at is not None and now - row.first_attempt_at > KEY_LIVES
        try:
            if stale or row.generation:
                if row.kind == "meter_event" and stale:
                    return Outcome(
                        state="failed",
                        error="It was tried more than a day ago and may have been counted; look at "
                        "the meter at Stripe before you retry it.",
                    )
                found = self._find(row, place)
                if found is not None:
                    return Outcome(state="sent", stripe_id=found)
            return Outcome(state="sent", stripe_id=self._create(row, place))
        except self._stripe.StripeError as error:
            return self._refused(row, error)

    def fetch_data(self, event_id: str) -> Any:
        """Return the `data` of an event of the second kind, None if Stripe no longer has it.

        Raises:
            ConfigError: Stripe does not know the key, or it may not do this.
            Unavailable: not now.
        """
        stripe = self._stripe
        try:
            event: dict[str, Any] = self._v2.core.events.retrieve(event_id).to_dict()
        except (stripe.AuthenticationError, stripe.PermissionError) as error:
            raise _key_refused(error) from None
        except stripe.StripeError as error:
            if error.http_status in (400, 404):
                return None
            raise Unavailable(f"Stripe does not tell of {event_id}: {_line(error)}") from None
        return event.get("data")

    def _create(self, row: OutboxRow, place: Place) -> str:
        options = {"idempotency_key": f"{row.idempotency_key}-{row.generation}"}
        params: dict[str, Any] = dict(row.payload)
        if row.kind == "customer":
            return self._v1.customers.create(params, options).id
        if row.kind == "meter_event":
            values = {"stripe_customer_id": _known(place.stripe_customer_id), **params["payload"]}
            params["payload"] = values
            return self._v1.billing.meter_events.create(params, options).identifier
        if row.kind == "finalize":
            invoice_id = _known(place.stripe_invoice_id)
            return self._v1.invoices.finalize_invoice(invoice_id, params, options).id
        params["customer"] = _known(place.stripe_customer_id)
        if row.kind == "invoice":
            return self._v1.invoices.create(params, options).id
        params["invoice"] = _known(place.stripe_invoice_id)
        return self._v1.invoice_items.create(params, options).id

    def _find(self, row: OutboxRow, place: Place) -> str | None:
        """Return the id of what an earlier call made, None if it made nothing."""
        if row.kind == "meter_event":
            # Stripe refuses a second event of one identifier by itself.
            return None
        if row.kind == "finalize":
            invoice = self._v1.invoices.retrieve(_known(place.stripe_invoice_id))
            return None if invoice.status == "draft" else invoice.id
        if row.kind == "customer":
            wanted = row.payload["metadata"]["aegis_customer_id"]
            quoted = wanted.replace("\\", "\\\\").replace("'", "\\'")
            query = f"metadata['aegis_customer_id']:'{quoted}'"
            listed = self._v1.customers.search({"query": query, "limit": 100})
        elif row.kind == "invoice":
            listed = self._v1.invoices.list(
                {"customer": _known(place.stripe_customer_id), "limit": 100}
            )
        else:
            listed = self._v1.invoice_items.list(
                {"invoice": _known(place.stripe_invoice_id), "limit": 100}
            )
        ours: dict[str, str] = row.payload["metadata"]
        for item in listed.auto_paging_iter():
            metadata: dict[str, Any] = item.metadata.to_dict() if item.metadata else {}
            if all(metadata.get(name) == value for name, value in ours.items()):
                return item.id
        return None

    def _refused(self, row: OutboxRow, error: Any) -> Outcome:
        stripe = self._stripe
        text = _line(error)
        if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
            raise _key_refused(error) from None
        status = error.http_status
        if row.kind == "meter_event" and status == 400 and _is_duplicate(error):
            return Outcome(state="sent", stripe_id=row.payload["identifier"])
        headers: dict[str, str] = error.headers or {}
        replayed = headers.get("idempotent-replayed") == "true"
        if status is None or status in (409, 429) or status >= 500:
            return Outcome(
                state="retry",
                error=text,
                retry_after_s=_retry_after(headers),
                spent=replayed and status is not None and status >= 500,
                unreachable=status is None,
            )
        return Outcome(state="failed", error=text, spent=True)


def _key_refused(error: Any) -> ConfigError:
    return ConfigError(
        f"Stripe refuses AEGIS_STRIPE_API_KEY: {_line(error)}", code="stripe_key_refused"
    )


def _is_duplicate(error: Any) -> bool:
    """Tell whether Stripe refuses a meter event because it has it."""
    text = str(error.user_message or "").lower()
    return "identifier" in text and ("already" in text or "duplicate" in text)


def _retry_after(headers: Any) -> float | None:
    raw = str(headers.get("retry-after", ""))
    return min(float(raw), _LONGEST_PAUSE_S) if raw.isdigit() and len(raw) < 8 else None


def _known(stripe_id: str | None) -> str:
    if stripe_id is None:
        # An earlier row that made it is sent, so its id is stored.
        raise Unavailable("Stripe's id is not known yet; try again.")
    return stripe_id


def _line(error: Any) -> str:
    text = " ".join(str(error.user_message or error or type(error).__name__).split())
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"
