"""What an agent does with jobs and schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp import Client

from aegis.client import Aegis
from aegis.mcp.server import server_of

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_an_agent_enqueues_schedules_and_looks(db: Database, settings: Settings) -> None:
    async with Client(server_of(Aegis(db, None, settings))) as agent:

        async def call(tool: str, /, **arguments: Any) -> Any:
            answer = await agent.call_tool(tool, arguments)
            assert not answer.is_error, answer.content
            return answer.structured_content

        async def refused(tool: str, /, **arguments: Any) -> str:
            answer = await agent.call_tool(tool, arguments)
            assert answer.is_error
            return answer.content[0].text  # type: ignore[union-attr]

        job = await call("job_enqueue", function="memory.sweep", unique_key="u")
        assert job["state"] == "waiting"
        assert (await call("job_get", job_id=job["id"]))["function"] == "memory.sweep"
        assert (await call("job_cancel", job_id=job["id"]))["state"] == "cancelled"
        assert (await call("job_retry", job_id=job["id"]))["state"] == "waiting"
        found = await call("job_list", state="waiting")
        assert [item["id"] for item in found["items"]] == [job["id"]]
        unknown = await refused("job_enqueue", function="os.system")
        assert "memory.sweep" in unknown
        assert "[function_unknown]" in unknown
        made = await call("schedule_add", name="s", cron="0 2 * * *", function="memory.sweep")
        assert made["created_by"] == "mcp"
        assert (await call("schedule_pause", name="s"))["paused"] is True
        assert (await call("schedule_resume", name="s"))["paused"] is False
        run = await call("schedule_run", name="s")
        history = await call("schedule_history", name="s")
        assert [item["id"] for item in history["items"]] == [run["id"]]
        assert [item["name"] for item in (await call("schedule_list"))["items"]] == ["s"]
        assert (await call("schedule_remove", name="s")) == {"removed": "s"}
        assert "[not_found]" in await refused("schedule_remove", name="s")


async def test_an_agent_sets_and_lifts_the_rate_of_a_provider(
    db: Database, settings: Settings
) -> None:
    async with Client(server_of(Aegis(db, None, settings))) as agent:

        async def call(tool: str, /, **arguments: Any) -> Any:
            answer = await agent.call_tool(tool, arguments)
            assert not answer.is_error, answer.content
            return answer.structured_content

        assert (await call("worker_list")).get("items", []) == []
        set_ = await call("provider_rate_set", provider="perplexity", per_minute=5, burst=2)
        assert set_ == {"provider": "perplexity", "per_minute": 5, "burst": 2}
        assert (await call("provider_rate_list"))["items"] == [set_]
        wrong = await agent.call_tool("provider_rate_set", {"provider": "x", "per_minute": 0})
        assert wrong.is_error
        assert "per_minute" in wrong.content[0].text  # type: ignore[union-attr]
        # Not to name a rate must not lift one.
        left_out = await agent.call_tool("provider_rate_set", {"provider": "perplexity"})
        assert left_out.is_error
        lifted = await call("provider_rate_set", provider="perplexity", per_minute=None)
        assert lifted == {"provider": "perplexity"}
        assert (await call("provider_rate_list")).get("items", []) == []
        assert (await Aegis(db, None, settings).workers.rates()) == []
