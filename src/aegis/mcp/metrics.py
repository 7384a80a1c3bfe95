"""Tools of metrics, for reading: `metrics_latest` and `metrics_chart`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import READS, MaybeTime, answer, make_tool, maybe_time, told
from aegis.metrics.models import METRICS

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.metrics.service import Metrics

__all__ = ["metric_tools"]


def metric_tools(metrics: Metrics) -> list[Tool]:
    """Return the tools that read `metrics`."""

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

    return [
        make_tool(metrics_latest, READS, "Newest figures of containers"),
        make_tool(metrics_chart, READS, "A container's figures over time"),
    ]
