"""Jobs: run once, in order of priority, one of a key; retried, cancelled, taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.worker.conftest import ended, working

if TYPE_CHECKING:
    from aegis.client import Aegis


async def test_a_job_runs_and_its_result_is_kept(client: Aegis) -> None:
    async def add(_: Any, arguments: dict[str, Any]) -> int:
        return arguments["a"] + arguments["b"]

    client.functions.add("add", add)
    async with working(client):
        job = await client.jobs.enqueue("add", arguments={"a": 2, "b": 3})
        assert job.state == "waiting"
        done = await ended(client, job.id)
    assert (done.state, done.result, done.attempts, done.error) == ("completed", 5, 1, None)
