"""A tool that tells which columns are encrypted; changing that is the operator's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_types import CallToolResult

from aegis.mcp.tools import READS, answer, make_tool, told

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.client import Aegis

__all__ = ["column_tools"]


def column_tools(client: Aegis) -> list[Tool]:
    """Return the tool."""

    async def encrypted_columns() -> CallToolResult:
        """List columns that may be encrypted, which are, and whether their keys are here."""
        with told():
            return answer({"items": await client.encryption.list()})

    return [make_tool(encrypted_columns, READS, "Which columns are encrypted")]
