"""Jobs that ended long ago go; what they became, what months cost, and the rest stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.client import Aegis
from aegis.config import load_settings
from aegis.errors import ConfigError, InvalidInput
from aegis.research import pruning
from aegis.worker.upkeep import prune_research
from tests.research.servers import Script, ok
from tests.research.shapes import GEMINI_USAGE, gemini, gemini_steps, perplexity

if TYPE_CHECKING:
    from tests.research.conftest import Desk


async def age(desk: Desk, *job_ids: str, days: int) -> None:
    async with desk.db.transaction() as conn:
        await conn.execute(
            "UPDATE deep_briefing_jobs SET completed_at = completed_at - make_interval(days => %s) "
            "WHERE id = ANY (%s::uuid[])",
            [days, list(job_ids)],
        )


async def test_old_jobs_go_with_their_reports_and_their_memories_and_costs_stay(
    desk: Desk,
) -> None:
    done = gemini(steps=gemini_steps(), usage=GEMINI_USAGE)
    script = Script(ok(gemini("queued")), ok(done), ok(done), ok(perplexity("CREATED")))
    async with desk.asking(script) as research:
        bought = (await research.start("How fast does it grow?", provider="gemini")).job
        detail = await research.wait(bought.id)
        assert detail.job.episode_id is not None
        young = (await research.start("What is known?", provider="local")).job
        await research.wait(young.id)
        elsewhere = (await research.start("Who?", provider="local", namespace="other")).job
        await research.wait(elsewhere.id, namespace="other")
        running = (await research.start("Who grows?", provider="perplexity")).job
        await research.run_due()
        async with desk.db.transaction() as conn:
            # As another program would write one.
            await conn.execute(
                "INSERT INTO deep_briefing_jobs (query, status, completed_at) "
                "VALUES ('old', 'completed', now() - INTERVAL '9 years')"
            )
        spent = await desk.month()
        await age(desk, bought.id, elsewhere.id, running.id, days=400)
        await age(desk, young.id, days=300)
        assert await research.prune(keep_days=365) == 2
        assert await research.prune(keep_days=365) == 0
        left = {job.query for job in await research.list()}
        assert left == {"What is known?", "Who grows?", "old"}
        assert await research.list(namespace="other") == []
    for table in ("research_calls", "research_sources", "research_citations"):
        query = f"SELECT count(*) FROM {table} WHERE job_id = '{bought.id}'"
        assert await desk.value(query) == 0
    assert await desk.month() == spent
    (kept,) = await desk.memory.list(event_types=["research"])
    assert kept.id == detail.job.episode_id


async def test_many_go_a_few_at_a_time_and_two_who_do_it_do_not_wait(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_AT_ONCE", 3)
    async with desk.asking(Script(ok({}))) as research:
        for number in range(10):
            job = (await research.start(f"Question {number}", provider="local")).job
            await research.wait(job.id)
        counts = await asyncio.gather(
            research.prune(keep_days=0), desk.open("http://x").prune(keep_days=0)
        )
        # What the other had locked may be left to it alone.
        assert sum(counts) + await research.prune(keep_days=0) == 10
        assert await research.list() == []
        with pytest.raises(InvalidInput, match="keep_days"):
            await research.prune(keep_days=-1)


async def test_the_schedule_keeps_what_the_settings_say_and_zero_keeps_all(desk: Desk) -> None:
    async with desk.asking(Script(ok({}))) as research:
        job = (await research.start("What is known?", provider="local")).job
        await research.wait(job.id)
    await age(desk, job.id, days=40)
    for days, gone in ((0, 0), (41, 0), (39, 1)):
        client = Aegis(desk.db, None, replace(desk.settings, research_keep_days=days))
        assert await prune_research(client, {}) == {"jobs": gone}
    with pytest.raises(ConfigError, match="AEGIS_RESEARCH_KEEP_DAYS"):
        load_settings({"AEGIS_RESEARCH_KEEP_DAYS": "-1"})
