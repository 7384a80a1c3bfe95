"""How a job ends: its report, its citations, its cost, and its budget settled, in one transaction.

Where the cost is not known, what was kept free for the job counts as spent: a budget errs on the
side of the bill.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aegis.research.citing import checked
from aegis.research.models import Cost
from aegis.research.pricing import cost_of, prices_for, total
from aegis.research.rendering import render
from aegis.research.store import ending as store
from aegis.research.store import money
from aegis.research.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection, Database
    from aegis.research.models import Call, JobRow, Report

__all__ = ["End", "end", "store_calls"]

_MAX_ERROR = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a job ends."""

    status: str
    calls: tuple[Call, ...] = ()
    report: Report | None = None
    remote_id: str | None = None
    error: str | None = None
    error_code: str | None = None
    #: Nothing was taken on by the provider, so that nothing is to be paid.
    unpaid: bool = False
    #: Why the cost is not known, although calls may have told of some of it.
    uncertain: str | None = None


async def end(db: Database, job: JobRow, how: End, *, now: datetime) -> bool:
    """Write the end; False where the job is not held any more, and nothing was written."""
    report = None if how.report is None else checked(how.report)
    remembers = how.status == "completed" and report is not None and job.remember
    async with db.transaction() as conn:
        costs = await store_calls(conn, job, how.calls, now=now)
        known = await store.sum_calls(conn, job.id)
        usd, detail = _cost(job, how, costs, known)
        ended = await store.end_job(
            conn,
            job,
            status=how.status,
            result=None if report is None else _result(job, report),
            remote_id=how.remote_id,
            cost_usd=usd,
            cost_detail=detail,
            error=one_line(how.error, most=_MAX_ERROR),
            error_code=how.error_code,
            more=remembers,
        )
        if not ended:
            # Somebody else has it by now; what calls used is true whoever writes it.
            return False
        if report is not None:
            await store.insert_sources(conn, job.id, report.sources)
            await store.insert_citations(conn, job.id, report.citations)
        if job.budget_month is not None:
            spent = usd if usd is not None else max(job.reserved_usd, known)
            await money.settle(
                conn, job.namespace, job.budget_month, reserved=job.reserved_usd, spent=spent
            )
    return True


async def store_calls(
    conn: Connection, job: JobRow, calls: Sequence[Call], *, now: datetime
) -> list[Cost]:
    """Store what calls used and cost at the prices of the day on which the job started."""
    if not calls:
        return []
    on = (job.started_at or now).date()
    prices = await money.list_prices(conn, provider=job.provider)
    costs: list[Cost] = []
    for call in calls:
        model = call.model or job.model
        fitting = prices_for(prices, provider=job.provider, model=model, on=on)
        cost = cost_of(call, fitting, free=job.provider == "local")
        await store.upsert_call(conn, job, call, cost)
        costs.append(cost)
    return costs


def _cost(
    job: JobRow, how: End, costs: list[Cost], known: Decimal
) -> tuple[Decimal | None, dict[str, Any]]:
    if job.provider == "local":
        return Decimal(0), {"source": "free"}
    if how.unpaid and not costs and how.uncertain is None:
        return known, {"source": "nothing was taken on"}
    why = how.uncertain
    if why is None and not costs:
        why = "the provider reported no usage"
    if why is None and total(costs) is None:
        missing = sorted({m for c in costs for m in c.detail.get("unpriced", [])})
        why = f"no price of {', '.join(missing)}" if missing else "no usage was reported"
    if why is not None:
        counted = max(job.reserved_usd, known)
        return None, {"uncertain": why, "known_usd": str(known), "counted_usd": str(counted)}
    over = job.budget_usd is not None and known > job.budget_usd
    detail: dict[str, Any] = {"source": costs[-1].source, "calls": len(costs)}
    return known, {**detail, "over_budget": True} if over else detail


def _result(job: JobRow, report: Report) -> dict[str, Any]:
    return {
        "format": 1,
        "markdown": render(job.query, report),
        # What the places of citations count in.
        "report": report.text,
        "warnings": list(report.warnings),
        "provider": job.provider,
        "model": report.model or job.model,
    }
