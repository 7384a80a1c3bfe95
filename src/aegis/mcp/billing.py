"""Tools of billing: reading only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from mcp_types import CallToolResult
from pydantic import Field

from aegis.mcp.tools import READS, Cursor, Limit, answer, make_tool, told
from aegis.wire.cursor import BY_OFFSET

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from aegis.billing import Billing

__all__ = ["billing_tools"]

OfCustomer = Annotated[str | None, Field(description="Only this customer's.")]
Month = Annotated[str | None, Field(description="Such as 2026-10.")]


def billing_tools(billing: Billing) -> list[Tool]:
    """Return the tools that read `billing`."""

    async def billing_preview(
        customer_id: Annotated[str, Field(description="The customer.")], month: Month = None
    ) -> CallToolResult:
        """Return what a month, this one otherwise, costs a customer as things stand."""
        with told():
            return answer(await billing.preview(customer_id, month))

    async def billing_invoices(
        customer_id: OfCustomer = None,
        month: Month = None,
        state: Annotated[str | None, Field(description="draft, final, sent, paid or void.")] = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> CallToolResult:
        """List invoices without their lines, newest first."""
        with told():
            rows = await billing.invoices.list(
                customer_id=customer_id,
                month=month,
                state=state,
                limit=limit,
                offset=BY_OFFSET.at(cursor),
            )
        return answer(BY_OFFSET.page(rows, limit, cursor))

    async def billing_invoice_get(
        id: Annotated[int, Field(description="Number of the row, as billing_invoices shows it.")],
    ) -> CallToolResult:
        """Return one invoice with its lines."""
        with told():
            return answer(await billing.invoices.get(id))

    async def billing_entries(
        customer_id: OfCustomer = None,
        month: Month = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> CallToolResult:
        """List the entries that invoices are made of, newest first: usage, fees, credits."""
        with told():
            rows = await billing.entries(
                customer_id=customer_id, month=month, limit=limit, offset=BY_OFFSET.at(cursor)
            )
        return answer(BY_OFFSET.page(rows, limit, cursor))

    async def billing_plans() -> CallToolResult:
        """List price plans, and what tiers of API keys cost."""
        with told():
            return answer({"items": await billing.plans()})

    return [
        make_tool(billing_preview, READS, "Preview a customer's month"),
        make_tool(billing_invoices, READS, "List invoices"),
        make_tool(billing_invoice_get, READS, "Read one invoice"),
        make_tool(billing_entries, READS, "List billing entries"),
        make_tool(billing_plans, READS, "List price plans"),
    ]
