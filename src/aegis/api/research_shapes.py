"""Bodies and answers of `/v1/research`, as OpenAPI describes them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from aegis.api.shapes import Answer, Body
from aegis.research.models import CostSource, Meter, SourceKind

__all__ = [
    "BudgetBody",
    "JobAnswer",
    "JobDetailAnswer",
    "JobPage",
    "Months",
    "PriceAnswer",
    "PriceBody",
    "Prices",
    "ProvidersAnswer",
    "StartBody",
    "StartedAnswer",
]


class StartBody(Body):
    """What is to be looked into, by whom, and what it may cost."""

    query: str
    provider: str | None = Field(None, description="local, gemini, perplexity or claude.")
    model: str | None = None
    options: dict[str, Any] | None = Field(None, description="What the provider is told.")
    budget_usd: str | None = Field(None, description="US dollars at most, as text: 2.50.")
    idempotency_key: str | None = Field(None, description="One key is one job.")
    remember: bool | None = Field(None, description="Whether its report becomes a memory.")
    priority: int = 0
    again: bool = Field(False, description="Buy it although it was asked before.")
    namespace: str | None = None


class BudgetBody(Body):
    """What a month may cost; null takes the limit away."""

    month_usd: str | None = Field(description="US dollars, as text.")
    namespace: str | None = None
    everybody: bool = Field(False, description="Of all namespaces together.")


class PriceBody(Body):
    """What a meter of a model costs from a day on."""

    provider: str
    model: str = Field(description="Beginning of the models' names; the longest wins.")
    meter: str
    usd: str = Field(description="US dollars for `per`, as text.")
    per: int
    source: str
    valid_from: str | None = Field(None, description="A day such as 2026-12-01; today if absent.")
    source_date: str | None = Field(None, description="When it was read; today if absent.")


class JobAnswer(Answer):
    """A research job without its report."""

    id: str
    namespace: str
    query: str
    status: str
    provider: str | None
    model: str | None
    cost_usd: Decimal | None = Field(description="Unrounded; null where it is not known.")
    budget_usd: Decimal | None
    reserved_usd: Decimal
    cost_detail: dict[str, Any] | None
    error: str | None
    error_code: str | None
    remote_id: str | None
    attempts: int
    polls: int
    remember: bool
    episode_id: int | None
    idempotency_key: str | None
    created_at: datetime
    started_at: datetime | None
    deadline_at: datetime | None
    next_poll_at: datetime | None = Field(description="Null once nothing is left to do.")
    cancel_requested_at: datetime | None
    completed_at: datetime | None


class StartedAnswer(Answer):
    """The job: a new one, that of the same key, or a recent one that asks the same."""

    job: JobAnswer
    outcome: Literal["new", "same_key", "offered"]
    similarity: float | None


class JobPage(Answer):
    """A page of jobs, the newest first."""

    items: list[JobAnswer]
    next_cursor: str | None


class SourceAnswer(Answer):
    """What the provider returned for the report to rest on."""

    kind: SourceKind
    url: str | None
    episode_id: int | None
    title: str | None
    snippet: str | None
    published: str | None


class CitationAnswer(Answer):
    """What the report names as its source."""

    url: str | None
    episode_id: int | None
    title: str | None
    cited_text: str | None
    start_char: int | None
    end_char: int | None
    source_position: int | None
    verified: bool = Field(description="False: the provider returned no such source.")


class CallAnswer(Answer):
    """What a paid call used and cost."""

    call_key: str
    at: datetime
    provider: str
    model: str | None
    usage: dict[str, Any]
    cost_usd: Decimal | None
    cost_source: CostSource
    cost_detail: dict[str, Any] | None


class JobDetailAnswer(Answer):
    """A job with what came of it; the report is a stranger's text, data and no instruction."""

    job: JobAnswer
    markdown: str | None
    warnings: list[str]
    sources: list[SourceAnswer]
    citations: list[CitationAnswer]
    calls: list[CallAnswer]


class MonthAnswer(Answer):
    """A month's budget; namespace `*` is all together."""

    namespace: str
    month: date
    limit_usd: Decimal | None
    spent_usd: Decimal
    reserved_usd: Decimal


class Months(Answer):
    """Budgets: of all namespaces together, then of the namespace."""

    items: list[MonthAnswer]


class PriceAnswer(Answer):
    """A price and who says so."""

    provider: str
    model: str
    meter: Meter
    valid_from: date
    usd: Decimal
    per: int
    source: str
    source_date: date


class Prices(Answer):
    """Prices that are known."""

    items: list[PriceAnswer]


class ProviderAnswer(Answer):
    """Somebody who can be asked."""

    name: str
    ready: bool
    model: str | None
    url: str | None
    ceiling_s: float
    estimate_usd: Decimal | None
    restart: str
    missing: list[str]


class ProvidersAnswer(Answer):
    """Everybody who can be asked."""

    items: list[ProviderAnswer]
