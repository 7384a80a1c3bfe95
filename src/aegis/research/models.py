"""What research is made of. Field = column, where a class is a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime
    from decimal import Decimal

__all__ = [
    "COST_SOURCES",
    "EVERYBODY",
    "FINAL",
    "METERS",
    "PROVIDERS",
    "STATUSES",
    "Call",
    "Citation",
    "Cost",
    "CostSource",
    "Job",
    "JobDetail",
    "JobRow",
    "Meter",
    "Month",
    "NewJob",
    "Price",
    "PricedCall",
    "Progress",
    "ProviderInfo",
    "ProviderName",
    "Report",
    "Source",
    "SourceKind",
    "Started",
    "Status",
]

ProviderName = Literal["local", "gemini", "perplexity", "claude"]
PROVIDERS: tuple[ProviderName, ...] = ("local", "gemini", "perplexity", "claude")

#: Plain SQL may have written others; they are shown as they are.
Status = Literal["pending", "running", "completed", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = ("pending", "running", "completed", "failed", "cancelled")
FINAL: tuple[Status, ...] = ("completed", "failed", "cancelled")

Meter = Literal[
    "input_tokens",
    "cached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "citation_tokens",
    "searches",
    "requests",
]
METERS: tuple[Meter, ...] = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "citation_tokens",
    "searches",
    "requests",
)

#: Who says what a call cost: the provider, `research_prices`, nobody has to, or nobody can.
CostSource = Literal["provider", "prices", "free", "unknown"]
COST_SOURCES: tuple[CostSource, ...] = ("provider", "prices", "free", "unknown")

SourceKind = Literal["web", "memory"]

#: The budget of all namespaces together goes by this name.
EVERYBODY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a provider returned for a report to rest on."""

    kind: SourceKind = "web"
    url: str | None = None
    episode_id: int | None = None
    title: str | None = None
    snippet: str | None = None
    #: As the provider wrote it.
    published: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """What a report names as its source."""

    url: str | None = None
    episode_id: int | None = None
    title: str | None = None
    cited_text: str | None = None
    #: Characters of the report; None where the place is not known.
    start_char: int | None = None
    end_char: int | None = None
    #: Number of the source, from 1; None where the provider returned no such source.
    source_position: int | None = None
    #: Whether the provider returned it. False may be an invention of the model's.
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What one paid call used."""

    #: The provider's own id: read again it is the same call.
    key: str
    usage: Mapping[Meter, int]
    model: str | None = None
    #: What the provider says it cost.
    given_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a call cost."""

    usd: Decimal | None
    source: CostSource
    #: By meter; and under `unpriced` the meters that have no price.
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedCall:
    """A stored call (`research_calls`)."""

    call_key: str
    at: datetime
    provider: str
    model: str | None
    usage: dict[str, Any]
    cost_usd: Decimal | None
    cost_source: CostSource
    cost_detail: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report as its provider wrote it: Markdown of a stranger's, data and never instructions."""

    text: str
    sources: tuple[Source, ...] = ()
    citations: tuple[Citation, ...] = ()
    #: What went wrong on the way, a sentence each.
    warnings: tuple[str, ...] = ()
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a job stands after its provider was asked."""

    state: Literal["running", "completed", "failed", "cancelled"]
    remote_id: str | None = None
    #: Seconds until it is worth asking again.
    poll_after_s: float = 10.0
    #: What is needed to go on, beside the remote id; None leaves what is stored.
    checkpoint: Mapping[str, Any] | None = None
    calls: tuple[Call, ...] = ()
    report: Report | None = None
    error: str | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as whoever works on it sees it."""

    id: str
    namespace: str
    query: str
    provider: ProviderName
    model: str | None
    status: str
    options: dict[str, Any] | None
    remember: bool
    episode_id: int | None
    token: int
    remote_id: str | None
    sent_at: datetime | None
    checkpoint: dict[str, Any] | None
    attempts: int
    polls: int
    started_at: datetime | None
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    budget_usd: Decimal | None
    budget_month: date | None
    reserved_usd: Decimal
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that was found good and is to be stored."""

    namespace: str
    query: str
    provider: ProviderName
    model: str | None
    query_key: str
    query_embedding: str | None
    embedding_model: str | None
    options: Mapping[str, Any]
    idempotency_key: str | None
    remember: bool
    priority: int
    budget_usd: Decimal | None
    budget_month: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A research job (`deep_briefing_jobs`), without its report."""

    id: str
    namespace: str
    query: str
    #: One of STATUSES, or what plain SQL wrote.
    status: str
    provider: str | None
    model: str | None
    #: What it cost in US dollars, unrounded; None where that is not known or not yet.
    cost_usd: Decimal | None
    #: What it may cost at most.
    budget_usd: Decimal | None
    #: What is kept free for it in the month's budget.
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
    next_poll_at: datetime | None
    cancel_requested_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetail:
    """A job with what came of it."""

    job: Job
    #: The report as Markdown with its sources below, None where there is none.
    markdown: str | None
    warnings: list[str]
    sources: list[Source]
    citations: list[Citation]
    calls: list[PricedCall]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What became of a wish to start a job."""

    job: Job
    #: `new`; `same_key`: the key was used before, this is its job; `offered`: this recent job asks
    #: the same or nearly the same, and nothing was bought.
    outcome: Literal["new", "same_key", "offered"]
    #: How like the questions are, up to 1; None for a new job.
    similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one meter of a model costs from a day on (`research_prices`)."""

    provider: str
    #: Beginning of the names of the models that it holds for; the longest wins.
    model: str
    meter: Meter
    valid_from: date
    #: US dollars for `per` of the meter.
    usd: Decimal
    per: int
    source: str
    source_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A budget and what a month used of it."""

    #: `*` for all namespaces together.
    namespace: str
    month: date
    #: None for no limit of its own.
    limit_usd: Decimal | None
    spent_usd: Decimal
    #: Kept free for jobs that are going on.
    reserved_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """A provider as this installation knows it."""

    name: ProviderName
    #: Whether what it needs is set.
    ready: bool
    model: str | None
    url: str | None
    #: Seconds after which a job is given up.
    ceiling_s: float
    #: What a job of usual size costs at the prices known; None where they are not known.
    estimate_usd: Decimal | None
    #: What a restart does about a start whose answer was not stored.
    restart: str
    missing: list[str] = field(default_factory=list[str])
