"""What an agent asks of competitors, and what it is told in return."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcp import Client

from aegis.intel.service import Intel
from aegis.mcp.server import create_server
from aegis.memory import Memory
from tests.intel.conftest import pricing
from tests.intel.site import serve

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_an_agent_reads_changes_and_is_told_what_is_wrong(
    db: Database, settings: Settings
) -> None:
    polite = replace(settings, outbound_allow="127.0.0.1", intel_delay_s=0, intel_confirm_s=0)
    memory = Memory(db, None, namespace="default")
    intel = Intel(db, polite, memory=memory)
    with serve() as site:
        site.pages["/pricing"] = pricing("49")
        await intel.add(site.url, name="Acme", discover=False)
        async with Client(create_server(memory, intel=intel)) as agent:

            async def call(tool: str, **arguments: Any) -> Any:
                done = await agent.call_tool(tool, arguments)
                assert not done.is_error, done.content
                return done.structured_content

            page = await call("intel_watch", competitor="Acme", url=f"{site.url}/pricing")
            for _ in range(4):
                await call("intel_check", page_id=page["id"])
            site.pages["/pricing"] = pricing("59")
            for _ in range(2):
                await call("intel_check", page_id=page["id"])
            done = await call("intel_check", page_id=page["id"])
            assert done["outcome"] == "changed"
            (item,) = (await call("intel_changes", importance="high"))["items"]
            assert item["summary"] == "Pro: 49 USD/month → 59 USD/month (+20%)."
            change = await call("intel_change", change_id=item["id"])
            assert change["word_diff"] == "Pro | [-49-] {+59+} | USD | month"
            assert "## Acme" in (await call("intel_report"))["markdown"]
            assert len((await call("intel_pages", state="watched"))["items"]) == 1
            assert (await call("intel_acknowledge", change_ids=[item["id"]]))["acknowledged"]
            wrong = await agent.call_tool("intel_changes", {"type": "odd"})
            assert wrong.is_error
