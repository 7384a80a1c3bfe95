"""What an agent reads of containers: their newest figures, and charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mcp import Client

from aegis.client import Aegis
from aegis.mcp.server import create_server
from aegis.memory import Memory
from aegis.metrics.models import Sample
from aegis.metrics.service import Metrics

if TYPE_CHECKING:
    from aegis.config import Settings
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
        names = {tool.name for tool in (await agent.list_tools()).tools}
        assert "metrics_anomalies" not in names
        wrong = await agent.call_tool(
            "metrics_chart", {"container_name": "web", "metric": "ram", "since": "soon"}
        )
        assert wrong.is_error
        assert "[invalid_input]" in wrong.content[0].text  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def test_an_agent_reads_what_was_unusual(db: Database, settings: Settings) -> None:
    client = Aegis(db, None, settings)
    async with db.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO infra_anomaly_alerts (
                container_name, metric, kind, status, explanation, started_at
            )
            VALUES ('web', 'cpu_percent', 'spike', 'open', 'It rose.', now()),
                   ('db', 'mem_percent', 'leak', 'resolved', 'It leaked.', now())
            """
        )
    server = create_server(client.memory, metrics=client.metrics, client=client)
    async with Client(server) as agent:

        async def kinds(**given: Any) -> list[str]:
            found = await agent.call_tool("metrics_anomalies", given)
            assert found.structured_content is not None, found
            return sorted(item["kind"] for item in found.structured_content["items"])

        assert await kinds() == ["leak", "spike"]
        assert await kinds(open_only=True) == ["spike"]
        assert await kinds(container_name="db") == ["leak"]
        wrong = await agent.call_tool("metrics_anomalies", {"limit": 0})
        assert wrong.is_error
