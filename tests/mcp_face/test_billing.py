"""Tools of billing: they read, and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp import Client

from aegis.billing import Billing
from aegis.mcp.server import create_server
from aegis.memory import Memory
from tests.billing.conftest import LATER, subscribed, use

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_tools_read_what_customers_pay(db: Database, settings: Settings) -> None:
    billing = Billing(db, settings)
    await subscribed(billing, "acme")
    await use(db, "acme", "2026-10-05", 250)
    await billing.run("2026-10", now=LATER)
    memory = Memory(db, None, namespace="default")
    async with Client(create_server(memory, billing=billing)) as client:

        async def call(name: str, **arguments: Any) -> Any:
            done = await client.call_tool(name, arguments)
            assert not done.is_error, done.content
            return done.structured_content

        seen = await call("billing_preview", customer_id="acme", month="2026-10")
        assert (seen["total_usd"], seen["billed_usd"]) == ("2.50", "2.50")
        (one,) = (await call("billing_invoices", customer_id="acme"))["items"]
        found = await call("billing_invoice_get", id=one["id"])
        assert found["lines"][0]["amount_usd"] == "2.50"
        assert (await call("billing_entries", month="2026-10"))["items"][0]["customer_id"] == "acme"
        assert (await call("billing_plans"))["items"][0]["name"] == "basic"
        unknown = await client.call_tool("billing_invoice_get", {"id": 99})
        assert "[not_found]" in str(unknown.content)
        for tool in (await client.list_tools()).tools:
            if tool.name.startswith("billing_"):
                assert tool.annotations is not None
                assert tool.annotations.read_only_hint is True
