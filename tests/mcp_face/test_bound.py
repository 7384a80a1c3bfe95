"""Keys that are bound to namespaces, over MCP: every tool, resource and prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp import MCPError

from aegis.keys import Keys
from aegis.mcp.tools import OPERATORS
from tests.mcp_face.clients import call, over_http, refused

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Database

VALUES: dict[str, Any] = {"integer": 1, "string": "x", "array": ["x"], "number": 0.5}
TEXTS = {"job_id": "3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e11", "outcome": "success"}


def arguments_of(tool: Any, namespace: str) -> dict[str, Any]:
    """Return what a tool requires, in a namespace."""
    given: dict[str, Any] = {"namespace": namespace}
    for name in tool.input_schema.get("required", []):
        kind = tool.input_schema["properties"][name].get("type", "string")
        given[name] = TEXTS.get(name, VALUES[kind])
    if tool.name == "memory_decision_record":
        given["alternatives"] = [given["chosen_option"]]
    return given


async def test_no_tool_leaves_the_namespaces_of_a_key(
    db: Database, settings: Settings, dsn: str
) -> None:
    made = await Keys(db, settings).issue(
        "acme", tier="enterprise", rate_limit=1_000_000, scopes=["*"],
        namespaces=["mine", {"namespace": "seen", "write": False}],
    )  # fmt: skip
    data_dir: Path = settings.data_dir
    async with over_http(data_dir, dsn, "auto", made.key) as client:
        tools = (await client.list_tools()).tools
        within = [
            t for t in tools
            if "namespace" in t.input_schema["properties"] and t.name not in OPERATORS
        ]  # fmt: skip
        assert len(within) > 40
        for tool in tools:
            if tool not in within:
                assert "not about one of them" in await refused(client, tool.name), tool.name
        for tool in within:
            said = await refused(client, tool.name, **arguments_of(tool, "foreign"))
            assert "namespace_denied" in said, (tool.name, said)
            assert tool.annotations is not None
            if not tool.annotations.read_only_hint:
                said = await refused(client, tool.name, **arguments_of(tool, "seen"))
                assert "only reads it" in said, (tool.name, said)
        done = await call(client, "memory_record", event_type="note", summary="mine alone")
        assert done["namespace"] == "mine"
        found = await call(client, "memory_list")
        assert [e["summary"] for e in found["items"]] == ["mine alone"]
        assert (await call(client, "memory_list", namespace="seen")).get("items", []) == []
        for uri in ("aegis://namespace/foreign", "aegis://episode/1?namespace=foreign"):
            try:
                await client.read_resource(uri)
            except MCPError as error:
                assert "namespace" in str(error)
            else:
                raise AssertionError(uri)
        listed = await client.read_resource("aegis://episodes")
        assert "mine alone" in str(listed.contents[0])
