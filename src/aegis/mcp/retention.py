"""Tools of forgetting, for reading alone: `memory_forget_plan`, `memory_archive_list`, …"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import READS, Limit, Namespace, answer, make_tool, told

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.memory import Memory

__all__ = ["retention_tools"]


def retention_tools(memory: Memory) -> list[Tool]:
    """Return the tools that tell what is forgotten; doing it is a person's business."""

    async def memory_forget_plan(
        sample: Annotated[int, Field(description="How many to show, 1 to 1000.")] = 10,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """Say which memories have faded so far that they would be archived, and why."""
        with told():
            return answer(await memory.retention.plan(sample=sample, namespace=namespace))

    async def memory_policy_list(namespace: Namespace = None) -> CallToolResult:
        """List how long which memories live, where that is limited."""
        with told():
            return answer({"items": await memory.retention.policies(namespace=namespace)})

    async def memory_archive_list(
        memory_id: Annotated[
            int | None, Field(description="Archives that hold the memory of this id.")
        ] = None,
        limit: Limit = 20,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """List archives of forgotten memories; a person can bring them back."""
        with told():
            found = await memory.archives.list(
                memory_id=memory_id, limit=limit, namespace=namespace
            )
        return answer({"items": found})

    return [
        make_tool(memory_forget_plan, READS, "What would be forgotten"),
        make_tool(memory_policy_list, READS, "How long memories live"),
        make_tool(memory_archive_list, READS, "What was archived"),
    ]
