"""Tools of usage: reading only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import READS, Cursor, Limit, MaybeTime, answer, make_tool, maybe_time, told
from aegis.usage.models import GRANULARITIES, GROUPS, ORDERS
from aegis.wire.cursor import EVENTS

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.usage import Usage

__all__ = ["usage_tools"]

Customer = Annotated[str | None, Field(description="Only this customer's.")]
KeyId = Annotated[str | None, Field(description="Only of this key, by its id.")]
Endpoint = Annotated[str | None, Field(description="Only this one: /v1/things/{id}.")]
GroupText = Annotated[
    str,
    Field(description="none, customer, key or endpoint.", json_schema_extra={"enum": [*GROUPS]}),
]
ByText = Annotated[
    str,
    Field(description="customer, key or endpoint.", json_schema_extra={"enum": [*GROUPS[1:]]}),
]
OrderText = Annotated[
    str, Field(description="What to rank by.", json_schema_extra={"enum": [*ORDERS]})
]
GranularityText = Annotated[
    str | None,
    Field(
        description="hour, day, month or all; follows from the span if left out.",
        json_schema_extra={"enum": [*GRANULARITIES, None]},
    ),
]


def usage_tools(usage: Usage) -> list[Tool]:
    """Return the tools that read `usage`."""
    return [*_sums(usage), *_rows(usage)]


def _sums(usage: Usage) -> list[Tool]:
    async def usage_show(
        since: MaybeTime = None,
        until: MaybeTime = None,
        granularity: GranularityText = None,
        group: GroupText = "none",
        customer_id: Customer = None,
        api_key_id: KeyId = None,
        endpoint: Endpoint = None,
        limit: Limit = 100,
    ) -> CallToolResult:
        """Sum API calls by time: calls, errors, tokens, cost, percentiles of response time."""
        filters: dict[str, Any] = {"granularity": granularity, "group": group}
        with told():
            report = await usage.show(
                since=maybe_time("since", since),
                until=maybe_time("until", until),
                customer_id=customer_id,
                api_key_id=api_key_id,
                endpoint=endpoint,
                limit=limit,
                **filters,
            )
        return answer(report)

    async def usage_top(
        by: ByText = "customer",
        order: OrderText = "calls",
        since: MaybeTime = None,
        until: MaybeTime = None,
        limit: Limit = 10,
    ) -> CallToolResult:
        """List the customers, keys or endpoints with the most calls, errors, tokens or cost."""
        ranked: dict[str, Any] = {"by": by, "order": order}
        with told():
            report = await usage.top(
                since=maybe_time("since", since),
                until=maybe_time("until", until),
                limit=limit,
                **ranked,
            )
        return answer(report)

    return [
        make_tool(usage_show, READS, "Sum API usage"),
        make_tool(usage_top, READS, "Rank API usage"),
    ]


def _rows(usage: Usage) -> list[Tool]:
    async def usage_events(
        since: MaybeTime = None,
        until: MaybeTime = None,
        customer_id: Customer = None,
        api_key_id: KeyId = None,
        endpoint: Endpoint = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> CallToolResult:
        """List single API calls as they were metered, newest first."""
        with told():
            rows = await usage.events(
                since=maybe_time("since", since),
                until=maybe_time("until", until),
                customer_id=customer_id,
                api_key_id=api_key_id,
                endpoint=endpoint,
                limit=limit,
                before=EVENTS.at(cursor),
            )
        return answer(EVENTS.page(rows, limit))

    async def usage_partitions() -> CallToolResult:
        """List the months of events in the database, and those that were exported to files."""
        with told():
            items, archives = await usage.partitions.list(), await usage.partitions.archives()
        return answer({"items": items, "archives": archives})

    return [
        make_tool(usage_events, READS, "List API calls"),
        make_tool(usage_partitions, READS, "List months of usage"),
    ]
