"""Tools of embedding models, for reading alone: a change is the operator's business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_types import CallToolResult

from aegis.mcp.tools import READS, answer, make_tool, told

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.memory import Memory

__all__ = ["model_tools"]


def model_tools(memory: Memory) -> list[Tool]:
    """Return the tools that read the models of `memory`."""

    async def memory_model_list() -> CallToolResult:
        """List embedding models: which is active, rows, calls, tokens and what they cost."""
        with told():
            return answer({"items": await memory.models.list()})

    async def memory_model_status() -> CallToolResult:
        """Say where a change of the embedding model stands, and whether the settings agree."""
        with told():
            return answer(await memory.models.status())

    async def memory_model_plan() -> CallToolResult:
        """Estimate texts, tokens and cost of a change to the next embedder that is configured."""
        with told():
            return answer(await memory.models.plan())

    return [
        make_tool(memory_model_list, READS, "List embedding models"),
        make_tool(memory_model_status, READS, "Read where a change of the model stands"),
        make_tool(memory_model_plan, READS, "Estimate a change of the model"),
    ]
