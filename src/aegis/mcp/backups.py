"""The tool `backup_status`: whether there is a backup that was proven, and what is an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_types import CallToolResult

from aegis.mcp.tools import READS, answer, make_tool, told
from aegis.ops.health.of_backups import check_backups
from aegis.wire.backups import entry_json

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.ops.backup.service import Backups

__all__ = ["backup_tools"]

_CHECK = ("id", "title", "state", "observed", "threshold", "advice")
_SHOWN = ("name", "snapshot_at", "verdict", "level", "bytes", "rows", "local", "hold")


def backup_tools(backups: Backups) -> list[Tool]:
    """Return the tools that read `backups`; making and restoring are the operator's."""

    async def backup_status() -> CallToolResult:
        """List the newest backups with their verdicts, and what about them is an alarm.

        not_verified means that nobody could look, or did yet: it is no word on the backup.
        """
        with told():
            items = [entry_json(entry) for entry in (await backups.list())[:20]]
            return answer(
                {
                    "items": [{name: item.get(name) for name in _SHOWN} for item in items],
                    "checks": [
                        {name: getattr(one, name) for name in _CHECK}
                        for one in await check_backups(backups)
                    ],
                }
            )

    return [make_tool(backup_status, READS, "Backups and their verdicts")]
