"""Tools of sessions: `session_list`, `session_get`, `session_events`. They read only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import READS, Cursor, Limit, Namespace, answer, make_tool, told
from aegis.sessions.models import STATUSES
from aegis.sessions.service import Sessions
from aegis.wire.cursor import SESSIONS

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.memory import Memory

__all__ = ["session_tools"]

SessionId = Annotated[str, Field(description="Id of the session; of a sub-agent SESSION:AGENT.")]


def session_tools(memory: Memory) -> list[Tool]:
    """Return the tools that read the sessions beside `memory`."""
    sessions = Sessions(memory)

    async def session_list(
        status: Annotated[
            list[str] | None, Field(description=f"Only these: {', '.join(STATUSES)}.")
        ] = None,
        cwd: Annotated[str | None, Field(description="Only those in this folder.")] = None,
        limit: Limit = 20,
        cursor: Cursor = None,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """List agent sessions, latest first: what they were about, how they ended, their cost."""
        with told():
            rows = await sessions.list(
                limit=limit,
                before=SESSIONS.at(cursor),
                status=status or (),
                cwd=cwd,
                namespace=namespace,
            )
        return answer(SESSIONS.page(rows, limit))

    async def session_get(session_id: SessionId, namespace: Namespace = None) -> CallToolResult:
        """Return one agent session with the tools it called, its files and its sub-agents."""
        with told():
            return answer(await sessions.get(session_id, namespace=namespace))

    async def session_events(
        session_id: Annotated[str | None, Field(description="Of all sessions if left out.")] = None,
        after: Annotated[int | None, Field(description="Only events after this id.")] = None,
        limit: Limit = 50,
        namespace: Namespace = None,
    ) -> CallToolResult:
        """List what happened in agent sessions, in order: the last events, or those after an id."""
        with told():
            rows = await sessions.events(session_id, after=after, limit=limit, namespace=namespace)
        return answer({"items": rows})

    return [
        make_tool(session_list, READS, "List agent sessions"),
        make_tool(session_get, READS, "Read one agent session"),
        make_tool(session_events, READS, "List events of agent sessions"),
    ]
