"""`/v1/usage`. A customer's key sees and reports its own customer's usage, the operator's any."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from aegis.api import usage_shapes as shapes
from aegis.api.route import Router
from aegis.api.schemas import OptionalTime
from aegis.api.state import ClientOf, KnownParameters, answer
from aegis.errors import PermissionDenied
from aegis.keys import Verification
from aegis.usage import Usage
from aegis.usage.models import Granularity, Group, Order
from aegis.wire.cursor import EVENTS
from aegis.wire.usage import parse_month

__all__ = ["router"]

router = Router(prefix="/v1/usage", tags=["usage"], dependencies=[KnownParameters])


# `async` for what `state.py` says: a thread costs more than all that is done there.
async def _usage(client: ClientOf) -> Usage:
    return client.usage


async def _only(request: Request) -> str | None:
    """Return the one customer that the caller may speak of, None for any."""
    found = request.scope["aegis.key"]
    assert isinstance(found, Verification)
    return None if found.key_id is None or "*" in found.scopes else found.customer_id


UsageOf = Annotated[Usage, Depends(_usage)]
Only = Annotated[str | None, Depends(_only)]


@router.post("/events", response_model=shapes.Recorded)
async def record_usage(
    usage: UsageOf, only: Only, body: shapes.EventBatch | shapes.EventBody
) -> Any:
    """Record calls that were made elsewhere, one or a batch; an id is counted once."""
    if isinstance(body, shapes.EventBatch):
        found = await usage.record(body.events, partial=body.partial, customer_id=only)
    else:
        found = await usage.record([body.given()], customer_id=only)
    return answer(found)


@router.get("", response_model=shapes.Report)
async def show_usage(
    usage: UsageOf,
    only: Only,
    since: OptionalTime = None,
    until: OptionalTime = None,
    granularity: Granularity | None = None,
    group: Group = "none",
    customer_id: str | None = None,
    api_key_id: str | None = None,
    endpoint: str | None = None,
    limit: int = 1000,
) -> Any:
    """Sum calls by hour, day or month, the last 30 days if nothing is said."""
    report = await usage.show(
        since=since,
        until=until,
        granularity=granularity,
        group=group,
        customer_id=_own(customer_id, only),
        api_key_id=api_key_id,
        endpoint=endpoint,
        limit=limit,
    )
    return answer(report)


@router.get("/top", response_model=shapes.Report)
async def top_usage(
    usage: UsageOf,
    only: Only,
    by: Group = "customer",
    order: Order = "calls",
    since: OptionalTime = None,
    until: OptionalTime = None,
    customer_id: str | None = None,
    limit: int = 10,
) -> Any:
    """List the customers, keys or endpoints with the most calls, errors, tokens or cost."""
    report = await usage.top(
        by=by,
        order=order,
        since=since,
        until=until,
        customer_id=_own(customer_id, only),
        limit=limit,
    )
    return answer(report)


@router.get("/events", response_model=shapes.EventPage)
async def list_usage_events(
    usage: UsageOf,
    only: Only,
    since: OptionalTime = None,
    until: OptionalTime = None,
    customer_id: str | None = None,
    api_key_id: str | None = None,
    endpoint: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Any:
    """List events, newest first; `next_cursor` leads to the next page."""
    rows = await usage.events(
        since=since,
        until=until,
        customer_id=_own(customer_id, only),
        api_key_id=api_key_id,
        endpoint=endpoint,
        limit=limit,
        before=EVENTS.at(cursor),
    )
    return answer(EVENTS.page(rows, limit))


@router.get("/partitions", response_model=shapes.Partitions)
async def list_usage_partitions(usage: UsageOf) -> Any:
    """List the months in the database, and those in files."""
    partitions = usage.partitions
    return answer({"items": await partitions.list(), "archives": await partitions.archives()})


@router.post("/reconcile", response_model=shapes.Reconciled)
async def reconcile_usage(usage: UsageOf, body: shapes.ReconcileBody) -> Any:
    """Add events up again and compare them with the sums; `fix` puts these right."""
    return answer(await usage.reconcile(parse_month(body.month), fix=body.fix))


def _own(asked: str | None, only: str | None) -> str | None:
    if only is not None and asked not in (None, only):
        raise PermissionDenied(f"Your key sees the usage of {only!r} alone.")
    return only or asked
