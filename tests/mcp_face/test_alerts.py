"""What an agent reads of alerts, and how it takes one on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp import Client

from aegis.alerts.models import Condition
from aegis.alerts.service import Alerts
from aegis.mcp.server import create_server
from aegis.memory import Memory

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_an_agent_lists_alerts_and_takes_one_on(db: Database, settings: Settings) -> None:
    alerts = Alerts(db, settings)
    bad = Condition(id="disk", source="doctor", state="critical", title="Disk is full", hold_s=0)
    (fired,) = (await alerts.observe("doctor", [bad])).fired
    async with Client(create_server(Memory(db, None, namespace="default"), alerts=alerts)) as agent:
        listed = await agent.call_tool("alert_list", {})
        assert listed.structured_content is not None
        (item,) = listed.structured_content["items"]
        assert (item["id"], item["title"], item["state"]) == (fired, "Disk is full", "firing")
        await agent.call_tool("alert_ack", {"alert_id": fired, "note": "removing old files"})
        shown = await agent.call_tool("alert_get", {"alert_id": fired})
        assert shown.structured_content is not None
        assert shown.structured_content["alert"]["acknowledged_by"] == "agent"
        kinds = [event["kind"] for event in shown.structured_content["events"]]
        assert kinds[0] == "acknowledged"
        wrong = await agent.call_tool("alert_ack", {"alert_id": 999})
        assert wrong.is_error
        assert "[not_found]" in wrong.content[0].text  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def test_an_agent_sends_messages_again_that_were_given_up(
    db: Database, settings: Settings
) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO alert_deliveries (channel, group_key, entries, critical, state) "
            "VALUES ('ops', 'a', '[]', false, 'dead'), ('ops', 'b', '[]', false, 'sent')"
        )
    server = create_server(Memory(db, None, namespace="default"), alerts=Alerts(db, settings))
    async with Client(server) as agent:
        dead = await agent.call_tool("alert_deliveries", {"state": "dead"})
        assert dead.structured_content is not None
        (item,) = dead.structured_content["items"]
        assert item["group_key"] == "a"
        done = await agent.call_tool("alert_retry", {})
        assert done.structured_content == {"retried": 1}
        again = await agent.call_tool("alert_retry", {"id": item["id"]})
        assert again.is_error
        everything = await agent.call_tool("alert_deliveries", {})
        assert everything.structured_content is not None
        assert [one["state"] for one in everything.structured_content["items"]] == [
            "sent",
            "pending",
        ]
