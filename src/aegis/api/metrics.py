"""`/v1/metrics`: samples of containers in, the newest of each, charts, and limits by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from aegis.api.route import Router
from aegis.api.schemas import OptionalTime
from aegis.api.shapes import Answer, Body
from aegis.api.state import ClientOf, KnownParameters, answer
from aegis.metrics.models import (
    ANOMALY_STATUSES,
    METRICS,
    RULE_KINDS,
    MetricRule,
    RuleKind,
    RuleSeverity,
    Sample,
    Source,
)

__all__ = ["router"]

router = Router(prefix="/v1/metrics", tags=["metrics"], dependencies=[KnownParameters])
MetricText = Annotated[str, Query(json_schema_extra={"enum": list(METRICS)})]


class SampleBody(Body):
    """One measurement of one container; a figure that was not measured is left out."""

    container_name: str
    timestamp: OptionalTime = Field(None, description="When it was measured; now if left out.")
    cpu_percent: float | None = Field(None, description="100 is one whole core.")
    mem_usage_mb: float | None = None
    mem_percent: float | None = Field(None, description="Of the container's limit.")
    net_io_mb: float | None = Field(None, description="Since the container started.")
    block_io_mb: float | None = Field(None, description="Since the container started.")
    disk_percent: float | None = Field(None, description="Of the file system, of machines.")


class SamplesBody(Body):
    """Samples to store, all or none."""

    samples: list[SampleBody]


class RecordedSamples(Answer):
    """How many samples were stored."""

    recorded: int


class LatestSample(Answer):
    """The newest sample of a container."""

    container_name: str
    timestamp: datetime
    cpu_percent: float | None
    mem_usage_mb: float | None
    mem_percent: float | None
    net_io_mb: float | None
    block_io_mb: float | None
    disk_percent: float | None


class LatestSamples(Answer):
    """The newest sample of each container, by name."""

    items: list[LatestSample]


class AnomalyAnswer(Answer):
    """One incident of one series."""

    id: int
    host: str | None
    container_name: str | None
    metric: str
    kind: str
    severity: str
    status: str
    observed: float | None
    expected: float | None
    expected_low: float | None
    expected_high: float | None
    score: float | None
    explanation: str
    evidence: dict[str, Any] | None
    started_at: datetime
    ended_at: datetime | None
    acknowledged_at: datetime | None
    marked_false_at: datetime | None
    first_id: int | None


class AnomalyList(Answer):
    """Anomalies, the newest first."""

    items: list[AnomalyAnswer]


class MetricRuleBody(Body):
    """A limit by hand, for the containers that a glob fits."""

    kind: str = Field(json_schema_extra={"enum": list(RULE_KINDS)})
    value: float = Field(description="The limit; a minute's change for rate, seconds for absence.")
    container: str = "*"
    metric: str = Field("cpu_percent", json_schema_extra={"enum": list(METRICS)})
    above: bool = Field(True, description="Whether values above the limit are bad, or below.")
    for_s: float = Field(60.0, description="Seconds that it has to last.")
    severity: str = Field("warning", json_schema_extra={"enum": ["warning", "critical"]})
    enabled: bool = True


class MetricRuleAnswer(Answer):
    """A limit by hand."""

    name: str
    kind: RuleKind
    container: str
    metric: str
    above: bool
    value: float
    for_s: float
    severity: RuleSeverity
    enabled: bool


class MetricRuleList(Answer):
    """Limits by hand, by name."""

    items: list[MetricRuleAnswer]


class ChartPoint(Answer):
    """One interval of a chart."""

    at: datetime
    samples: int
    value: float | None
    highest: float | None


class ChartAnswer(Answer):
    """One metric of one container over time; an interval without samples has no point."""

    container_name: str
    metric: str
    since: datetime
    until: datetime
    step_s: int
    source: Source
    points: list[ChartPoint]


@router.post("", status_code=201, response_model=RecordedSamples)
async def record_metrics(client: ClientOf, body: SamplesBody) -> Any:
    """Store samples, all or none; they may come late and in any order."""
    now = datetime.now(UTC)
    given = [
        Sample(
            container_name=sample.container_name,
            timestamp=sample.timestamp or now,
            cpu_percent=sample.cpu_percent,
            mem_usage_mb=sample.mem_usage_mb,
            mem_percent=sample.mem_percent,
            net_io_mb=sample.net_io_mb,
            block_io_mb=sample.block_io_mb,
            disk_percent=sample.disk_percent,
        )
        for sample in body.samples
    ]
    return answer({"recorded": await client.metrics.record(given)}, 201)


@router.get("", response_model=LatestSamples)
async def latest_metrics(client: ClientOf, hours: float = 24.0, limit: int = 1_000) -> Any:
    """Return the newest sample of each container seen in the last `hours`."""
    return answer({"items": await client.metrics.latest(hours=hours, limit=limit)})


@router.get("/anomalies", response_model=AnomalyList)
async def list_anomalies(
    client: ClientOf,
    status: Annotated[list[str] | None, Query()] = None,
    container_name: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Any:
    """Return what was unusual about containers, the newest first."""
    found = await client.telemetry.anomalies(
        statuses=ANOMALY_STATUSES if status is None else status,
        container_name=container_name,
        before=before,
        limit=limit,
    )
    return answer({"items": found})


@router.get("/rules", response_model=MetricRuleList)
async def list_metric_rules(client: ClientOf) -> Any:
    """Return the limits by hand, by name."""
    return answer({"items": await client.telemetry.rules()})


@router.put("/rules/{name}", response_model=MetricRuleAnswer)
async def put_metric_rule(client: ClientOf, name: str, body: MetricRuleBody) -> Any:
    """Make a limit, or replace the one of this name."""
    fields: dict[str, Any] = body.model_dump()
    rule = MetricRule(name=name, **fields)
    await client.telemetry.put_rule(rule)
    return answer(rule)


@router.delete("/rules/{name}", status_code=204)
async def delete_metric_rule(client: ClientOf, name: str) -> None:
    """Delete a limit, and end its alerts."""
    await client.telemetry.delete_rule(name)


@router.get("/chart", response_model=ChartAnswer)
async def chart_metrics(
    client: ClientOf,
    container_name: str,
    metric: MetricText = "cpu_percent",
    since: Annotated[OptionalTime, Query()] = None,
    until: Annotated[OptionalTime, Query()] = None,
    points: int = 500,
) -> Any:
    """Return one metric of a container, the last day by default, in about `points` points."""
    return answer(
        await client.metrics.chart(container_name, metric, since=since, until=until, points=points)
    )
