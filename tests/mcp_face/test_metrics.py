"""What an agent reads of containers: their newest figures, and charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mcp import Client

from aegis.mcp.server import create_server
from aegis.memory import Memory
from aegis.metrics.models import Sample
from aegis.metrics.service import Metrics

if TYPE_CHECKING:
    from aegis.db import Database


async def test_an_agent_reads_figures_and_is_told_what_is_wrong(db: Database) -> None:
    metrics = Metrics(db)
    now = datetime.now(UTC)
    await metrics.record(
        [
            Sample(container_name="web", timestamp=now - timedelta(minutes=n), cpu_percent=10.0 * n)
            for n in range(1, 4)
        ]
    )
    await metrics.keep()
    async with Client(
        create_server(Memory(db, None, namespace="default"), metrics=metrics)
    ) as agent:
        latest = await agent.call_tool("metrics_latest", {})
        assert latest.structured_content is not None
        (item,) = latest.structured_content["items"]
        # What was not measured is left out.
        assert (item["cpu_percent"], "mem_percent" in item) == (10.0, False)
        chart = await agent.call_tool("metrics_chart", {"container_name": "web"})
        assert chart.structured_content is not None
        peaks = [point["highest"] for point in chart.structured_content["points"]]
        assert max(peaks) == 30.0
        wrong = await agent.call_tool(
            "metrics_chart", {"container_name": "web", "metric": "ram", "since": "soon"}
        )
        assert wrong.is_error
        assert "[invalid_input]" in wrong.content[0].text  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
