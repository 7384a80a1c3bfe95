"""The examples that come with Aegis, each run from end to end by a worker."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.client import Aegis
from aegis.research.providers.perplexity import Perplexity
from aegis.worker.loop import Worker
from aegis.workflows.examples import example, examples
from aegis.workflows.nodes import outside
from aegis.workflows.running import kind_of
from tests.research.servers import Script, ok
from tests.research.servers import serving as researching
from tests.research.shapes import perplexity, perplexity_response
from tests.test_outbound import Site, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.db.lease import Kind
    from aegis.workflows.execution import ExecutionDetail


@asynccontextmanager
async def working(client: Aegis, *, research: bool = True) -> AsyncGenerator[None]:
    kinds: list[Kind] = [kind_of(client)]
    if research:
        kinds.append(client.research.work())
    worker = Worker(client.db, kinds, concurrency=4, lease_s=10.0, grace_s=0.0)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await asyncio.wait_for(task, 30)


async def ended(client: Aegis, id: str) -> ExecutionDetail:
    async with asyncio.timeout(60):
        async for _ in client.workflows.watch(id):
            pass
    return await client.workflows.execution(id)


async def waits_at(client: Aegis, id: str, node: str) -> None:
    async with asyncio.timeout(60):
        async for change in client.workflows.watch(id):
            found = change.execution
            if found.reason == "waiting" and found.current_node == node:
                return
    raise AssertionError(f"it never waited at {node}")


async def run(client: Aegis, name: str, input: dict[str, Any] | None = None) -> ExecutionDetail:
    await client.workflows.save(example(name))
    async with working(client):
        started = await client.workflows.start(name, input)
        return await ended(client, started.id)


@pytest.fixture
async def client(db: Database, settings: Settings) -> Aegis:
    return Aegis(db, None, replace(settings, outbound_allow="127.0.0.1"))


@pytest.mark.parametrize("name", examples())
async def test_every_example_can_be_saved(client: Aegis, name: str) -> None:
    saved, new = await client.workflows.save(example(name))
    assert (saved.name, saved.version, new) == (name, 1, True)
    assert saved.graph.description


async def test_nightly_review_keeps_what_was_important(client: Aegis) -> None:
    await client.memory.record("error", "The disk was full.", importance="high")
    await client.memory.record("note", "Lunch was good.")
    found = await run(client, "nightly-memory-review")
    assert found.execution.status == "completed", found.execution.error
    kept = await client.memory.list(event_types=["review"])
    assert len(kept) == 1
    assert "2 memories, 1 errors" in kept[0].summary
    assert "The disk was full." in kept[0].summary
    assert "Lunch" not in kept[0].summary
    assert kept[0].importance == "high"
    assert found.output == {"id": kept[0].id, "namespace": "default"}


async def test_nightly_review_of_nothing_keeps_nothing(client: Aegis) -> None:
    found = await run(client, "nightly-memory-review")
    assert found.output == "Nothing was remembered."
    assert await client.memory.list(event_types=["review"]) == []


@pytest.mark.parametrize("approved", [True, False])
async def test_release_watch_notes_what_a_person_approves(client: Aegis, approved: bool) -> None:
    releases = [{"name": "v1"}, {"name": "v2"}, {"name": "v3"}]
    site = Site(body=json.dumps(releases).encode(), headers={"Content-Type": "application/json"})
    await client.workflows.save(example("release-watch"))
    with serving(site):
        async with working(client):
            started = await client.workflows.start(
                "release-watch",
                {"url": f"http://127.0.0.1:{site.port}/releases", "known": ["v1"]},
            )
            await waits_at(client, started.id, "ask")
            asked = (await client.workflows.execution(started.id)).waiting
            assert asked[0].input["message"] == '2 new release(s): ["v2", "v3"]. Note them?'
            await client.workflows.approve(started.id, "ask", approved=approved, by="ada")
            found = await ended(client, started.id)
    assert found.execution.status == "completed", found.execution.error
    kept = [episode.summary for episode in await client.memory.list(event_types=["release"])]
    wanted = ["Release v2 came out.", "Release v3 came out."]
    assert sorted(kept) == (wanted if approved else [])


async def test_release_watch_goes_on_where_nobody_answers(client: Aegis) -> None:
    site = Site(body=b'[{"name": "v1"}]', headers={"Content-Type": "application/json"})
    with serving(site):
        found = await run(
            client,
            "release-watch",
            {"url": f"http://127.0.0.1:{site.port}/", "patience_s": 0.05},
        )
    assert found.execution.status == "completed", found.execution.error
    assert found.output["approved"] is False
    assert "did not come" in found.output["why"]


async def test_release_watch_of_nothing_new_asks_nobody(client: Aegis) -> None:
    site = Site(body=b'[{"name": "v1"}]', headers={"Content-Type": "application/json"})
    with serving(site):
        found = await run(
            client,
            "release-watch",
            {"url": f"http://127.0.0.1:{site.port}/", "known": ["v1"]},
        )
    assert (found.execution.status, found.output) == ("completed", [])


async def test_research_becomes_a_memory_with_its_sources(client: Aegis) -> None:
    known = await client.memory.record("learning", "Backups failed for want of disk.")
    await client.memory.record("note", "Lunch was good.")
    found = await run(client, "research-to-memory", {"question": "Why did backups fail?"})
    assert found.execution.status == "completed", found.execution.error
    (job,) = await client.research.list()
    assert (job.provider, job.status, job.query) == ("local", "completed", "Why did backups fail?")
    (kept,) = await client.memory.list(event_types=["research"])
    assert kept.summary.startswith("Why did backups fail?\n\n")
    assert "Backups failed for want of disk." in kept.summary
    assert kept.details is not None
    assert kept.details["job_id"] == job.id
    assert kept.details["sources"][0]["episode_id"] == known.id
    assert found.output == {
        "episode": kept.id,
        "job": job.id,
        "sources": len(kept.details["sources"]),
    }


@pytest.mark.parametrize("research", [True, False])
async def test_research_that_a_stopped_worker_was_at_goes_on_with_the_next(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, research: bool
) -> None:
    """Whoever is at the job when its worker stops: the place for research, or the step itself."""
    monkeypatch.setattr(outside, "_PATIENCE_S", 600.0 if research else 0.0)
    monkeypatch.setattr(Perplexity, "ceilings", replace(Perplexity.ceilings, longest_poll_s=0.0))
    never = asyncio.Event()
    done = perplexity(response=perplexity_response())
    script = Script(ok(perplexity("CREATED")), ok({}, after=never), ok(done))
    async with researching(script):
        given = replace(
            settings, research_perplexity_url=script.url, research_perplexity_api_key="k"
        )
        client = Aegis(db, None, given)
        await client.workflows.save(example("research-to-memory"))
        async with working(client, research=research):
            started = await client.workflows.start(
                "research-to-memory", {"question": "How fast?", "provider": "perplexity"}
            )
            # The start is paid, and the first look at it is not answered.
            await script.requests(2)
        let_go = (await client.workflows.execution(started.id)).execution
        assert (let_go.status, let_go.lease_owner) == ("running", None)
        async with working(client, research=research):
            found = await ended(client, started.id)
        never.set()
        await client.aclose()
    assert found.execution.status == "completed", found.execution.error
    assert len(script.starts()) == 1
    (kept,) = await client.memory.list(event_types=["research"])
    assert kept.summary.startswith("How fast?\n\n")
    # The step was cut off, and did not fail: it is the same attempt.
    history = await client.workflows.history(started.id)
    assert [(s.node, s.attempt, s.status) for s in history] == [
        ("research", 1, "completed"),
        ("keep", 1, "completed"),
    ]
