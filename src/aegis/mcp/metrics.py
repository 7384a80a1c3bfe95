"""Tools of metrics, for reading: newest figures, charts, and what was unusual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import READS, MaybeTime, answer, make_tool, maybe_time, told
from aegis.metrics.models import ANOMALY_STATUSES, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.mcpserver.tools import Tool

    from aegis.metrics.service import Metrics
    from aegis.metrics.telemetry import Telemetry

__all__ = ["metric_tools"]


def metric_tools(metrics: Metrics, telemetry: Callable[[], Telemetry] | None) -> list[Tool]:
    """Return the tools that read `metrics`; `telemetry` is asked for when it is first needed."""

    async def metrics_latest(
        hours: Annotated[float, Field(description="Seen within so many hours.")] = 24.0,
    ) -> CallToolResult:
        """List containers with their newest CPU, memory, network and disk figures."""
        with told():
            return answer({"items": await metrics.latest(hours=hours)})

    async def metrics_chart(
        container_name: str,
        metric: Annotated[
            str, Field(description="What to show.", json_schema_extra={"enum": [*METRICS]})
        ] = "cpu_percent",
        since: MaybeTime = None,
        until: MaybeTime = None,
        points: Annotated[int, Field(description="How many points, 10 to 5000.")] = 60,
    ) -> CallToolResult:
        """Show one metric of a container over time, the last day unless since says otherwise.

        Each point has the mean and the highest of its interval; an interval without samples has
        none: the container was not measured, which is not zero.
        """
        with told():
            chart = await metrics.chart(
                container_name,
                metric,
                since=maybe_time("since", since),
                until=maybe_time("until", until),
                points=points,
            )
            return answer(chart)

    tools = [
        make_tool(metrics_latest, READS, "Newest figures of containers"),
        make_tool(metrics_chart, READS, "A container's figures over time"),
    ]
    if telemetry is None:
        return tools
    watching = telemetry

    async def metrics_anomalies(
        open_only: Annotated[
            bool, Field(description="Only what lasts and nobody has taken on.")
        ] = False,
        container_name: Annotated[str | None, Field(description="Of one container.")] = None,
        limit: Annotated[int, Field(description="How many to return, 1 to 1000.")] = 20,
    ) -> CallToolResult:
        """List what was unusual about containers, the newest first, and why it was.

        Spikes, drops, shifts, flat lines, leaks with the time at which memory is full, disks that
        fill up, restarts in a loop. What is info only was told to nobody.
        """
        with told():
            items = await watching().anomalies(
                statuses=["open"] if open_only else ANOMALY_STATUSES,
                container_name=container_name,
                limit=limit,
            )
            return answer({"items": items})

    return [*tools, make_tool(metrics_anomalies, READS, "What was unusual")]
