"""Tools of keys: they read, and never show a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp import Client

from aegis.keys import Keys
from aegis.mcp.server import create_server
from aegis.memory import Memory

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_tools_read_keys_and_never_show_one(db: Database, settings: Settings) -> None:
    keys = Keys(db, settings)
    issued = await keys.issue("acme", name="Reports", scopes=["a:b"])
    await keys.verify(issued.key, cost=3)
    key_id = issued.record.id
    async with Client(create_server(Memory(db, None, namespace="default"), keys=keys)) as client:

        async def call(name: str, **arguments: Any) -> Any:
            done = await client.call_tool(name, arguments)
            assert not done.is_error, done.content
            assert issued.key not in str(done)
            return done.structured_content

        assert [k["id"] for k in (await call("key_list"))["items"]] == [key_id]
        found = await call("key_get", id=key_id)
        assert (found["key"]["name"], found["quota"]["used"]) == ("Reports", 3)
        assert [e["kind"] for e in (await call("key_ledger", id=key_id))["items"]] == ["grant"]
        assert (await call("key_tiers"))["items"][0]["name"] == "free"
        unknown = await client.call_tool("key_get", {"id": "nobody"})
        assert "[not_found]" in str(unknown.content)
        for tool in (await client.list_tools()).tools:
            if tool.name.startswith("key_"):
                assert tool.annotations is not None
                assert tool.annotations.read_only_hint is True
