"""What an agent reads of the database's health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp import Client

from aegis.mcp.server import create_server
from aegis.memory import Memory
from aegis.ops.health import Health
from aegis.ops.maintenance import Maintenance

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_an_agent_asks_the_doctor(db: Database, settings: Settings) -> None:
    server = create_server(
        Memory(db, None, namespace="default"),
        health=Health(db, settings),
        maintenance=Maintenance(db, settings),
    )
    async with Client(server) as agent:
        tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
        hints = tools["doctor"].annotations
        assert hints is not None
        assert (hints.read_only_hint, hints.destructive_hint) == (True, False)
        found = await agent.call_tool("doctor", {"only": ["settings"]})
        assert found.structured_content is not None
        bad = {r["id"]: r for r in found.structured_content["not_ok"]}
        assert bad["durability"]["findings"][0]["fix"].startswith("ALTER SYSTEM")
        wrong = await agent.call_tool("doctor", {"only": ["indices"]})
        assert wrong.is_error
        plan = await agent.call_tool("maintenance_plan", {})
        assert not plan.is_error
