"""Tools of the copy in Graphiti: `memory_graphiti_status`, `memory_graphiti_sync`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from aegis.mcp.tools import READS, Namespace, answer, make_tool, told

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.memory import Memory

__all__ = ["graphiti_tools"]

#: A language model reads each.
_MOST = 100
_PUSHES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)


def graphiti_tools(memory: Memory) -> list[Tool]:
    """Return the tools that copy memory into a Graphiti graph, and say how far that is."""

    async def memory_graphiti_status(namespace: Namespace = None) -> CallToolResult:
        """Say how many memories the Graphiti graph has, waits for and did not take."""
        with told():
            return answer(await memory.graphiti.state(namespace=namespace))

    async def memory_graphiti_sync(
        limit: Annotated[int, Field(ge=1, le=_MOST, description="At most so many memories.")] = 20,
        retry: Annotated[bool, Field(description="Try again what was not taken.")] = False,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Push new and changed memories into the Graphiti graph, the oldest first."""
        with told():
            return answer(await memory.graphiti.sync(limit=limit, retry=retry, namespace=namespace))

    return [
        make_tool(memory_graphiti_status, READS, "How far Graphiti is"),
        make_tool(memory_graphiti_sync, _PUSHES, "Push into Graphiti"),
    ]
