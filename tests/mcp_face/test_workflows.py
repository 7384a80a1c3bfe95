"""What an agent does with workflows: write one, start it, follow it; never approve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp import Client

from aegis.mcp.server import create_server
from aegis.memory import Memory
from aegis.workflows.service import Workflows

if TYPE_CHECKING:
    from aegis.db import Database

GRAPH = {
    "name": "hello",
    "description": "Says hello.",
    "start": "say",
    "nodes": {
        "say": {"type": "set", "params": {"value": "hello {{ input.name }}"}},
        "ask": {"type": "approval", "params": {"message": "Well?"}},
    },
    "edges": [{"from": "say", "to": "ask"}],
    "required": ["name"],
}


async def test_an_agent_writes_starts_and_follows_a_workflow(db: Database) -> None:
    server = create_server(Memory(db, None, namespace="default"), workflows=Workflows(db))
    async with Client(server) as agent:

        async def call(tool: str, **arguments: Any) -> Any:
            found = await agent.call_tool(tool, arguments)
            assert not found.is_error, found.content
            return found.structured_content

        names = {tool.name for tool in (await agent.list_tools()).tools}
        assert not any("approve" in name for name in names if name.startswith("workflow"))
        assert any(i["type"] == "memory_record" for i in (await call("workflow_types"))["items"])
        assert (await call("workflow_save", graph=GRAPH))["version"] == 1
        (item,) = (await call("workflow_list"))["items"]
        assert (item["name"], item["required"]) == ("hello", ["name"])
        assert (await call("workflow_show", name="hello"))["graph"]["start"] == "say"
        started = await call("workflow_run", name="hello", input={"name": "Ada"}, key="k")
        id = started["id"]
        assert (await call("workflow_run", name="hello", input={"name": "Ada"}, key="k"))[
            "id"
        ] == id
        assert (await call("workflow_status", id=id))["execution"]["status"] == "running"
        # What is empty is left out.
        assert "items" not in await call("workflow_history", id=id)
        assert (await call("workflow_signal", id=id, name="word", payload={"a": 1}))["sent"]
        assert (await call("workflow_pause", id=id))["status"] == "interrupted"
        assert (await call("workflow_resume", id=id))["status"] == "running"
        assert (await call("workflow_cancel", id=id, reason="enough"))["status"] == "failed"
        assert len((await call("workflow_executions"))["items"]) == 1
        assert (await call("workflow_retry", id=id, from_node="say"))["status"] == "running"

        broken = {**GRAPH, "nodes": {"say": {"type": "sett"}}, "edges": []}
        wrong = await agent.call_tool("workflow_save", {"graph": broken})
        assert wrong.is_error
        said = wrong.content[0].text  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        assert "node say, type: 'sett' is not known; did you mean set?" in said
        approval = await agent.call_tool(
            "workflow_signal", {"id": id, "name": "approval:ask", "payload": {"approved": True}}
        )
        assert approval.is_error
