"""Starting a job: is it asked already, may it cost that much, and then one row, in one transaction.

The month's budget is kept free for what the job may cost at most, so that jobs which run at the
same time cannot spend it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aegis.errors import ConfigError, LimitExceeded
from aegis.memory.embedding_text import embed_or_none
from aegis.research.models import EVERYBODY, NewJob, Started
from aegis.research.pricing import estimate, prices_for
from aegis.research.store import jobs as store
from aegis.research.store import money
from aegis.research.texts import numbers_of, query_key

if TYPE_CHECKING:
    from datetime import date, datetime

    from aegis.config import Settings
    from aegis.db import Connection
    from aegis.memory import Memory
    from aegis.research.providers import Provider

__all__ = ["Wish", "start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants to know, found good."""

    query: str
    namespace: str
    model: str | None
    options: dict[str, Any]
    budget_usd: Decimal
    idempotency_key: str | None
    remember: bool
    priority: int
    #: Buy it although it was asked before.
    again: bool


async def start(
    memory: Memory, settings: Settings, provider: Provider, wish: Wish, *, now: datetime
) -> Started:
    """Store a job, or return the one that asks the same.

    Raises:
        ConfigError: the provider lacks a key, or what it costs is not known.
        LimitExceeded: the job's or the month's budget is too small.
    """
    missing = provider.missing()
    if missing:
        raise ConfigError(
            f"{provider.name} needs {', '.join(missing)}; set it, or use provider local.",
            code="research_key",
        )
    free = provider.name == "local"
    vector, embedding_model = None, None
    if not free:
        vectors, embedding_model = await embed_or_none(memory.embedder, [wish.query])
        vector = vectors[0]
    month = now.date().replace(day=1)
    new = NewJob(
        namespace=wish.namespace,
        query=wish.query,
        provider=provider.name,
        model=wish.model or provider.model,
        query_key=query_key(wish.query),
        query_embedding=vector,
        embedding_model=embedding_model,
        options=wish.options,
        idempotency_key=wish.idempotency_key,
        remember=wish.remember,
        priority=wish.priority,
        budget_usd=None if free else wish.budget_usd,
        budget_month=None if free else month,
    )
    async with memory.database.transaction() as conn:
        await store.lock_question(conn, wish.namespace)
        if wish.idempotency_key is not None:
            known = await store.find_by_key(
                conn, namespace=wish.namespace, key=wish.idempotency_key
            )
            if known is not None:
                return Started(job=known, outcome="same_key")
        if not free and not wish.again:
            offered = await _find_like(conn, new, settings, now=now)
            if offered is not None:
                return offered
        if not free:
            await _check_estimate(conn, new, wish.budget_usd, now=now)
            await _reserve(conn, new, wish.budget_usd, month, settings)
        return Started(job=await store.insert_job(conn, new), outcome="new")


async def _find_like(
    conn: Connection, new: NewJob, settings: Settings, *, now: datetime
) -> Started | None:
    if settings.research_reuse_days == 0:
        return None
    found = await store.list_like(
        conn,
        namespace=new.namespace,
        query_key=new.query_key,
        vector=new.query_embedding,
        embedding_model=new.embedding_model,
        since=now - timedelta(days=settings.research_reuse_days),
        similar_from=settings.research_similar_from,
    )
    numbers = numbers_of(new.query)
    for like in found:
        # Questions about two years or two amounts are near one another, and not the same.
        if like.same or numbers_of(like.query) == numbers:
            job = await store.get_job(conn, like.id, namespace=new.namespace)
            return Started(job=job, outcome="offered", similarity=round(like.similarity, 4))
    return None


async def _check_estimate(conn: Connection, new: NewJob, budget: Decimal, *, now: datetime) -> None:
    prices = await money.list_prices(conn, provider=new.provider)
    fitting = prices_for(prices, provider=new.provider, model=new.model, on=now.date())
    cost = estimate(new.provider, fitting)
    if cost.usd is None:
        if new.provider == "perplexity":
            # It says itself what it cost.
            return
        meters = " and ".join(cost.detail.get("unpriced", []))
        raise ConfigError(
            f"What {new.model} of {new.provider} costs is not known ({meters}); enter its prices "
            "with `aegis research prices set`.",
            code="research_price_missing",
        )
    if cost.usd > budget:
        raise LimitExceeded(
            f"A job of usual size costs about {_usd(cost.usd)} USD at {new.provider}, and this one "
            f"may cost {_usd(budget)}; give it a larger budget.",
            code="research_job_budget",
        )


async def _reserve(
    conn: Connection, new: NewJob, budget: Decimal, month: date, settings: Settings
) -> None:
    usual = Decimal(str(settings.research_month_usd))
    for place in (EVERYBODY, new.namespace):
        limit = usual if place == EVERYBODY else None
        if await money.reserve(conn, place, month, budget, usual=limit):
            continue
        used = await money.get_month(conn, place, month)
        whole = used.limit_usd if used.limit_usd is not None else usual
        whose = "all namespaces" if place == EVERYBODY else f"namespace {place!r}"
        raise LimitExceeded(
            f"The budget of {month:%Y-%m} of {whose} is {_usd(whole)} USD: {_usd(used.spent_usd)} "
            f"are spent and {_usd(used.reserved_usd)} kept free for running jobs, and this job may "
            f"cost {_usd(budget)}; see `aegis research budget`.",
            code="research_month_budget",
        )


def _usd(value: Decimal) -> str:
    return f"{value.quantize(Decimal('0.01')):f}"
