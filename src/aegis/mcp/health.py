"""Tools of operations, for reading: `doctor` and `maintenance_plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import READS, answer, make_tool, told
from aegis.wire.plain import plain

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.ops.health import Health
    from aegis.ops.maintenance import Maintenance

__all__ = ["health_tools"]


def health_tools(health: Health, maintenance: Maintenance) -> list[Tool]:
    """Return the tools that look at the database's health."""

    async def doctor(
        only: Annotated[
            list[str] | None,
            Field(description="Ids of checks or groups, such as indexes; all if left out."),
        ] = None,
    ) -> CallToolResult:
        """Check the database and say what is not well, what it means and what to do.

        Checks that are well are only counted. Nothing is changed: a fix is for the operator.
        """
        with told():
            report: dict[str, Any] = plain(await health.check(only=only))
            bad = [result for result in report.pop("results") if result["state"] != "ok"]
            return answer({**report, "not_ok": bad})

    async def maintenance_plan() -> CallToolResult:
        """Show what maintenance would do now, in which order, and why; nothing is done."""
        with told():
            return answer({"steps": await maintenance.plan()})

    return [
        make_tool(doctor, READS, "Check the database"),
        make_tool(maintenance_plan, READS, "What maintenance would do"),
    ]
