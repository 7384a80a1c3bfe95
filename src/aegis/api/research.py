"""`/v1/research`: start jobs, see what became of them, end them; budgets and prices."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import Query

from aegis.api import research_shapes as shapes
from aegis.api.route import Router
from aegis.api.state import ClientOf, KnownParameters, answer
from aegis.errors import InvalidInput
from aegis.research.models import PROVIDERS, STATUSES
from aegis.wire.cursor import RESEARCH_JOBS

__all__ = ["router"]

router = Router(prefix="/v1/research", tags=["research"], dependencies=[KnownParameters])
StatusText = Annotated[str, Query(json_schema_extra={"enum": list(STATUSES)})]
ProviderText = Annotated[str | None, Query(json_schema_extra={"enum": [*PROVIDERS, None]})]


@router.post("", status_code=201, response_model=shapes.StartedAnswer)
async def start_research(client: ClientOf, body: shapes.StartBody) -> Any:
    """Start a job (201), or return the one of the same key or with the same question (200)."""
    started = await client.research.start(
        body.query,
        provider=body.provider,
        model=body.model,
        options=body.options,
        budget_usd=body.budget_usd,
        idempotency_key=body.idempotency_key,
        remember=body.remember,
        priority=body.priority,
        again=body.again,
        namespace=body.namespace,
    )
    return answer(started, 201 if started.outcome == "new" else 200)


@router.get("", response_model=shapes.JobPage)
async def list_research(
    client: ClientOf,
    limit: int = 50,
    cursor: str | None = None,
    status: Annotated[list[StatusText] | None, Query()] = None,
    provider: ProviderText = None,
    namespace: str | None = None,
) -> Any:
    """Return a page of jobs, the newest first, without their reports."""
    rows = await client.research.list(
        limit=limit,
        before=RESEARCH_JOBS.at(cursor),
        status=status or (),
        provider=provider,
        namespace=namespace,
    )
    return answer(RESEARCH_JOBS.page(rows, limit))


@router.get("/providers", response_model=shapes.ProvidersAnswer)
async def research_providers(client: ClientOf) -> Any:
    """Return who can be asked, what is missing, and what a job of usual size costs there."""
    return answer({"items": await client.research.providers()})


@router.get("/budget", response_model=shapes.Months)
async def research_budget(client: ClientOf, namespace: str | None = None) -> Any:
    """Return what this month may cost, has cost, and keeps free for running jobs."""
    return answer({"items": await client.research.budget(namespace=namespace)})


@router.put("/budget", response_model=shapes.Months)
async def set_research_budget(client: ClientOf, body: shapes.BudgetBody) -> Any:
    """Set what a namespace, or everybody, may spend in a month."""
    months = await client.research.set_budget(
        body.month_usd, namespace=body.namespace, everybody=body.everybody
    )
    return answer({"items": months})


@router.get("/prices", response_model=shapes.Prices)
async def research_prices(client: ClientOf, provider: ProviderText = None) -> Any:
    """Return the prices that are known, from which day on, and who says so."""
    return answer({"items": await client.research.prices(provider=provider)})


@router.put("/prices", response_model=shapes.PriceAnswer)
async def set_research_price(client: ClientOf, body: shapes.PriceBody) -> Any:
    """Store a price; one of the same day is replaced."""
    price = await client.research.set_price(
        body.provider,
        body.model,
        body.meter,
        body.usd,
        per=body.per,
        source=body.source,
        valid_from=_day("valid_from", body.valid_from),
        source_date=_day("source_date", body.source_date),
    )
    return answer(price)


@router.get("/{job_id}", response_model=shapes.JobDetailAnswer)
async def get_research(client: ClientOf, job_id: str, namespace: str | None = None) -> Any:
    """Return a job with its report, its sources and citations, and what its calls cost."""
    return answer(await client.research.get(job_id, namespace=namespace))


@router.get("/{job_id}/status", response_model=shapes.JobAnswer)
async def research_status(client: ClientOf, job_id: str, namespace: str | None = None) -> Any:
    """Return a job without its report."""
    return answer(await client.research.status(job_id, namespace=namespace))


@router.post("/{job_id}/cancel", response_model=shapes.JobAnswer)
async def cancel_research(client: ClientOf, job_id: str, namespace: str | None = None) -> Any:
    """Have a job end; what it cost until then is paid."""
    return answer(await client.research.cancel(job_id, namespace=namespace))


@router.delete("/{job_id}", status_code=204)
async def delete_research(client: ClientOf, job_id: str, namespace: str | None = None) -> None:
    """Delete a job that has ended, with its report; a memory that it became stays."""
    await client.research.delete(job_id, namespace=namespace)


def _day(name: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{name} is {text!r:.60}; write a day such as 2026-12-01.") from None
