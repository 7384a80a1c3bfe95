"""The tool of security, for reading: `security_check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_types import CallToolResult

from aegis.mcp.tools import READS, answer, make_tool, told
from aegis.wire.plain import plain

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.security.service import Security

__all__ = ["security_tools"]


def security_tools(security: Security) -> list[Tool]:
    """Return the tool that looks at who may do what."""

    async def security_check() -> CallToolResult:
        """Compare the database's roles, rights and logins with what they should be.

        Checks that are well are only counted. Nothing is changed: that is for the operator.
        """
        with told():
            report: dict[str, Any] = plain(await security.check())
            checks = report.pop("checks")
            bad = [found for found in checks if found["verdict"] != "ok"]
            return answer({**report, "ok": len(checks) - len(bad), "not_ok": bad})

    return [make_tool(security_check, READS, "Check who may do what")]
