"""Tools of workers: which live, and how often all of them together may ask each provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import CHANGES, READS, answer, make_tool, told

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.worker.service import Workers

__all__ = ["worker_tools"]


def worker_tools(workers: Workers) -> list[Tool]:
    """Return the tools that work on `workers`."""

    async def worker_list() -> CallToolResult:
        """List the workers that live: what they run, how much of it, since when."""
        with told():
            return answer({"items": await workers.list()})

    async def provider_rate_list() -> CallToolResult:
        """List how often all workers together may ask each provider; one without a rate: freely."""
        with told():
            return answer({"items": await workers.rates()})

    async def provider_rate_set(
        provider: Annotated[
            str, Field(description="As research and jobs call it, such as perplexity.")
        ],
        per_minute: Annotated[
            float | None, Field(description="Calls a minute of all workers; null lifts the rate.")
        ],
        burst: Annotated[int, Field(description="Calls that may come at once after a pause.")] = 1,
    ) -> CallToolResult:
        """Set how often all workers together may ask a provider, as its plan allows."""
        with told():
            found = await workers.set_rate(provider, per_minute, burst=burst)
            return answer(found or {"provider": provider, "per_minute": None, "burst": None})

    return [
        make_tool(worker_list, READS, "Workers"),
        make_tool(provider_rate_list, READS, "Rates of providers"),
        make_tool(provider_rate_set, CHANGES, "Set the rate of a provider"),
    ]
