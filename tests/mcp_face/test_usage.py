"""Tools of usage: they read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp import Client

from aegis.keys import Keys
from aegis.mcp.server import create_server
from aegis.memory import Memory
from aegis.usage import Usage
from tests.usage.conftest import event

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_tools_read_usage(db: Database, settings: Settings) -> None:
    usage = Usage(db, settings)
    await usage.record([event("a"), event("b", status_code=500), event("c", customer_id="other")])
    server = create_server(
        Memory(db, None, namespace="default"), keys=Keys(db, settings), usage=usage
    )
    async with Client(server) as client:

        async def call(name: str, **arguments: Any) -> Any:
            done = await client.call_tool(name, arguments)
            assert not done.is_error, done.content
            return done.structured_content

        shown = await call("usage_show", customer_id="acme", granularity="all")
        assert [(i["calls"], i["errors"]) for i in shown["items"]] == [(2, 1)]
        assert [i["group"] for i in (await call("usage_top"))["items"]] == ["acme", "other"]
        page = await call("usage_events", limit=2)
        rest = await call("usage_events", limit=2, cursor=page["next_cursor"])
        assert {e["event_id"] for e in page["items"] + rest["items"]} == {"a", "b", "c"}
        assert len((await call("usage_partitions"))["items"]) >= 7
        wrong = await client.call_tool("usage_show", {"granularity": "week"})
        assert wrong.is_error
        assert "granularity" in str(wrong.content)
        for tool in (await client.list_tools()).tools:
            if tool.name.startswith("usage_"):
                assert tool.annotations is not None
                assert tool.annotations.read_only_hint is True
