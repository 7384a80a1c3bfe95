"""Tools of keys: reading only, and never a key itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import READS, Cursor, Limit, answer, make_tool, told
from aegis.wire.cursor import BY_OFFSET

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.keys import Keys

__all__ = ["key_tools"]

KeyId = Annotated[str, Field(description="Id of the key, as key_list shows it.")]


def key_tools(keys: Keys) -> list[Tool]:
    """Return the tools that read `keys`."""

    async def key_list(
        customer_id: Annotated[str | None, Field(description="Only this customer's.")] = None,
        tier: Annotated[str | None, Field(description="Only of this tier.")] = None,
        enabled: Annotated[bool | None, Field(description="Only enabled or disabled.")] = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> CallToolResult:
        """List API keys, newest first: whose, what they may do, when last used; never the key."""
        with told():
            rows = await keys.list(
                customer_id=customer_id,
                tier=tier,
                enabled=enabled,
                limit=limit,
                offset=BY_OFFSET.at(cursor),
            )
        return answer(BY_OFFSET.page(rows, limit, cursor))

    async def key_get(id: KeyId) -> CallToolResult:
        """Return one API key with its quota of this month; never the key itself."""
        with told():
            record, balance = await keys.get(id), await keys.quota.balance(id)
        return answer({"key": record, "quota": balance})

    async def key_ledger(id: KeyId, limit: Limit = 20, cursor: Cursor = None) -> CallToolResult:
        """List how an API key's monthly quota came about, newest first."""
        with told():
            rows = await keys.quota.ledger(id, limit=limit, offset=BY_OFFSET.at(cursor))
        return answer(BY_OFFSET.page(rows, limit, cursor))

    async def key_tiers() -> CallToolResult:
        """List what the tiers of API keys allow and cost."""
        with told():
            return answer({"items": await keys.tiers.list()})

    async def key_customers(limit: Limit = 20, cursor: Cursor = None) -> CallToolResult:
        """List customers whose API keys share limits: the limits, and what is left this month."""
        with told():
            rows = await keys.customers.list(limit=limit, offset=BY_OFFSET.at(cursor))
        return answer(BY_OFFSET.page(rows, limit, cursor))

    return [
        make_tool(key_list, READS, "List API keys"),
        make_tool(key_get, READS, "Read one API key"),
        make_tool(key_ledger, READS, "Read the ledger of an API key"),
        make_tool(key_tiers, READS, "List tiers of API keys"),
        make_tool(key_customers, READS, "List limits that customers' keys share"),
    ]
