"""What there is to change about alerts: one, a message that was given up, a limit by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.alerts.models import Condition
from aegis.metrics.models import MetricRule

if TYPE_CHECKING:
    from aegis.client import Aegis


async def dead_message(a: Aegis) -> int:
    async with a.db.transaction() as conn:
        cursor = await conn.execute(
            "INSERT INTO alert_deliveries (channel, group_key, entries, critical, next_at, state) "
            "VALUES ('ops', 'g', '[]', false, now(), 'dead') RETURNING id"
        )
        row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def limit(a: Aegis) -> str:
    await a.telemetry.put_rule(MetricRule(name="hot", kind="threshold", value=90))
    return "hot"


async def alert(a: Aegis) -> int:
    bad = Condition(source="ours", id="disk", state="critical", title="Disk is full", hold_s=0)
    return (await a.alerts.observe("ours", [bad])).fired[0]
