"""Processes that are killed, stale ones, several at once: nothing is bought twice."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import Unavailable
from aegis.research import service
from aegis.research.work import ResearchWork
from tests.research.servers import PATIENCE_S, Answer, Script, events, ok, refused
from tests.research.shapes import (
    GEMINI_USAGE,
    claude_events,
    claude_turn,
    gemini,
    gemini_steps,
    perplexity,
    perplexity_response,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.research.conftest import Desk

QUERY = "How fast does it grow?"


@asynccontextmanager
async def victim(job_id: str, dsn: str, data: Path, url: str) -> AsyncGenerator[Any]:
    """Wait for a job in a process of its own, which is killed at the end of the block."""
    names = ("gemini", "perplexity", "claude")
    given = {f"AEGIS_RESEARCH_{n.upper()}_URL": url for n in names}
    given |= {f"AEGIS_RESEARCH_{n.upper()}_API_KEY": f"key-of-{n}" for n in names}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AEGIS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.research.killed",
        job_id,
        env={**clean, **given, "AEGIS_DATABASE_URL": dsn, "AEGIS_DATA_DIR": str(data)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_killed_between_polls_it_goes_on_without_a_second_start(
    desk: Desk, dsn: str, tmp_path: Path
) -> None:
    never = asyncio.Event()
    done = gemini(steps=gemini_steps(), usage=GEMINI_USAGE)
    script = Script(ok(gemini("queued")), ok({}, after=never), ok(done))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        async with victim(started.job.id, dsn, tmp_path, script.url):
            # The start is answered, and the first poll hangs.
            await script.requests(2)
        never.set()
        await desk.expire()
        detail = await research.wait(started.job.id)
    assert len(script.starts()) == 1
    assert detail.job.status == "completed"
    assert detail.job.cost_usd is not None


@pytest.mark.parametrize("provider", ["gemini", "claude"])
async def test_killed_before_the_start_is_answered_it_is_not_sent_again(
    desk: Desk, dsn: str, tmp_path: Path, provider: str
) -> None:
    never = asyncio.Event()
    script = Script(Answer(after=never))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider=provider, budget_usd="3")
        async with victim(started.job.id, dsn, tmp_path, script.url):
            await script.requests(1)
        await desk.expire()
        detail = await research.wait(started.job.id)
        never.set()
    assert len(script.asked) == 1
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_start_unknown")
    assert await desk.month() == (3, 0)


async def test_killed_before_the_start_is_answered_perplexity_gets_the_same_key(
    desk: Desk, dsn: str, tmp_path: Path
) -> None:
    never = asyncio.Event()
    done = perplexity(response=perplexity_response())
    script = Script(Answer(after=never), ok(perplexity("CREATED")), ok(done))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="perplexity")
        async with victim(started.job.id, dsn, tmp_path, script.url):
            await script.requests(1)
        await desk.expire()
        detail = await research.wait(started.job.id)
        never.set()
    assert detail.job.status == "completed"
    assert [a.body["idempotency_key"] for a in script.starts()] == [started.job.id] * 2


async def test_killed_between_turns_claude_goes_on_from_the_stored_one(
    desk: Desk, dsn: str, tmp_path: Path
) -> None:
    paused = claude_turn(stop="pause_turn", number=1)
    script = Script(events(claude_events(paused)), events(claude_events(claude_turn(number=2))))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="claude")
        assert await research.run_due() == 1
        # Another process takes it from what is stored.
        again = desk.open(script.url)
        detail = await again.wait(started.job.id)
        await again.aclose()
    assert [len(a.body["messages"]) for a in script.asked] == [1, 2]
    assert script.asked[1].body["messages"][1]["content"] == paused["content"]
    assert detail.job.status == "completed"


async def test_a_stale_worker_changes_nothing(desk: Desk) -> None:
    late = asyncio.Event()
    done = perplexity(response=perplexity_response())
    script = Script(ok(perplexity("CREATED"), after=late), ok(perplexity("CREATED")), ok(done))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="perplexity")
        (stale,) = await research.work().claim("stale", limit=1, lease_s=60)
        slow = asyncio.create_task(research.work().run(stale))
        await script.requests(1)
        await desk.expire()
        detail = await research.wait(started.job.id)
        late.set()
        await slow
        after = await research.get(started.job.id)
    assert detail == after
    assert await desk.value("SELECT count(*) FROM research_calls") == 1
    assert await research.work().renew([stale], lease_s=60) == set()


async def test_many_workers_take_each_job_once(desk: Desk) -> None:
    script = Script(ok({}))
    async with desk.asking(script) as research:
        for n in range(12):
            await research.start(f"Question {n}", provider="local")
        claims = await asyncio.gather(
            *(research.work().claim(f"w{n}", limit=4, lease_s=60) for n in range(6))
        )
        taken = [claim.id for some in claims for claim in some]
        assert len(taken) == len(set(taken)) == 12
        await asyncio.gather(*(research.work().run(c) for some in claims for c in some))
        assert await research.work().next_due() is None
        assert {j.status for j in await research.list()} == {"completed"}


async def test_a_stopped_worker_hands_back_what_it_has_not_begun(desk: Desk) -> None:
    async with desk.asking(Script(ok({}))) as research:
        await research.start(QUERY, provider="local")
        work = research.work()
        claims = await work.claim("one", limit=5, lease_s=60)
        assert await work.claim("two", limit=5, lease_s=60) == []
        assert await work.renew(claims, lease_s=60) == {claims[0].id}
        await work.release(claims)
        (again,) = await work.claim("two", limit=5, lease_s=60, without_keys=["gemini"])
        assert again.token > claims[0].token
        # The first one's token is worth nothing now.
        await work.run(claims[0])
        assert (await research.status(again.id)).status == "pending"


async def test_a_worker_that_stops_stores_the_id_of_a_start_under_way(desk: Desk) -> None:
    answered = asyncio.Event()
    script = Script(ok(gemini("queued"), after=answered))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini")
        (claim,) = await research.work().claim("w", limit=1, lease_s=60)
        running = asyncio.create_task(research.work().run(claim))
        await script.requests(1)
        running.cancel()
        answered.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        job = await research.status(started.job.id)
    assert job.remote_id == "v1_int"
    assert await desk.value("SELECT sent_at FROM deep_briefing_jobs") is None


async def test_whoever_waits_and_is_cut_off_hands_the_job_back(desk: Desk) -> None:
    never = asyncio.Event()
    done = perplexity(response=perplexity_response())
    script = Script(ok(perplexity("CREATED")), ok({}, after=never), ok(done))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="perplexity")
        waiting = asyncio.create_task(research.wait(started.job.id))
        await script.requests(2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # No lease of a minute is left behind, by a process that is still there or one that is not.
        assert await desk.value("SELECT lease_owner FROM deep_briefing_jobs") is None
        assert await research.work().next_due() == 0
        detail = await research.wait(started.job.id)
        never.set()
    assert detail.job.status == "completed"
    assert len(script.starts()) == 1


async def test_a_claim_that_is_cut_off_when_it_is_committed_is_handed_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed, go_on = asyncio.Event(), asyncio.Event()
    claim = ResearchWork.claim

    async def slow(*args: Any, **more: Any) -> Any:
        found = await claim(*args, **more)
        committed.set()
        await go_on.wait()
        return found

    async with desk.asking(Script(ok({}))) as research:
        await research.start(QUERY, provider="local")
        monkeypatch.setattr(ResearchWork, "claim", slow)
        stepping = asyncio.create_task(research.run_due())
        await asyncio.wait_for(committed.wait(), PATIENCE_S)
        assert await desk.value("SELECT lease_owner FROM deep_briefing_jobs") is not None
        stepping.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await stepping
    assert await desk.value("SELECT lease_owner FROM deep_briefing_jobs") is None
    assert await desk.value("SELECT status FROM deep_briefing_jobs") == "pending"


async def test_a_job_of_another_process_is_looked_at_less_and_less_often(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []

    async def noted(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 8:
            await desk.expire()

    async with desk.asking(Script(ok({}))) as research:
        started = await research.start(QUERY, provider="local")
        assert len(await research.work().claim("another", limit=1, lease_s=60)) == 1
        clock = SimpleNamespace(sleep=noted, get_running_loop=asyncio.get_running_loop)
        monkeypatch.setattr(service, "asyncio", clock)
        detail = await research.wait(started.job.id)
    assert detail.job.status == "completed"
    assert naps == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0]


async def test_patience_leaves_a_step_to_others_for_a_while(desk: Desk) -> None:
    async with desk.asking(Script(ok({}))) as research:
        started = await research.start(QUERY, provider="local")
        with pytest.raises(Unavailable, match="has not ended yet"):
            await research.wait(started.job.id, within_s=0, patience_s=3_600)
        assert (await research.status(started.job.id)).status == "pending"
        async with desk.db.transaction() as conn:
            await conn.execute(
                "UPDATE deep_briefing_jobs SET next_poll_at = now() - INTERVAL '2 hours'"
            )
        detail = await research.wait(started.job.id, patience_s=3_600)
    assert detail.job.status == "completed"


async def test_polling_holds_no_slot_between_polls(desk: Desk) -> None:
    script = Script(ok(perplexity("CREATED")))
    async with desk.asking(script) as research:
        await research.start(QUERY, provider="perplexity")
        patient = desk.open(script.url)
        patient._pace = 1.0  # pyright: ignore[reportPrivateUsage]
        assert await patient.run_due() == 1
        assert await patient.run_due() == 0
        due = await patient.work().next_due()
        await patient.aclose()
    assert due is not None
    assert 0 < due <= 30
    assert await desk.value("SELECT lease_owner FROM deep_briefing_jobs") is None


async def test_rows_of_plain_sql_are_shown_and_never_bought(desk: Desk) -> None:
    async with desk.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO deep_briefing_jobs (query, provider) VALUES ('old', 'gemini')"
        )
    script = Script(ok(gemini("queued")))
    async with desk.asking(script) as research:
        assert await research.run_due() == 0
        (job,) = await research.list()
        detail = await research.wait(job.id)
    assert (job.query, job.status, detail.markdown) == ("old", "pending", None)
    assert script.asked == []


async def test_a_process_without_a_provider_s_key_leaves_its_jobs_to_others(desk: Desk) -> None:
    done = perplexity(response=perplexity_response())
    script = Script(ok(perplexity("CREATED")), ok(done))
    async with desk.asking(script) as research:
        keyless = desk.open(script.url, research_perplexity_api_key=None)
        started = await research.start(QUERY, provider="perplexity")
        assert await keyless.run_due() == 0
        # It does not look again and again for what it cannot have.
        assert await keyless.work().next_due() is None
        assert await research.work().next_due() == 0
        assert await research.run_due() == 1
        await desk.expire()
        assert await keyless.run_due() == 0
        due = await keyless.work().next_due()
        assert due is not None
        # The end of its time, at which it can be given up without a key.
        assert 3_000 < due <= 3_600
        detail = await research.wait(started.job.id)
    assert (detail.job.status, len(script.asked)) == ("completed", 2)


async def test_a_process_without_the_key_ends_what_is_cancelled_or_out_of_time(
    desk: Desk,
) -> None:
    script = Script(ok(perplexity("CREATED")), refused(401), refused(401))
    async with desk.asking(script) as research:
        keyless = desk.open(script.url, research_perplexity_api_key=None)
        unsent = await research.start(QUERY, provider="perplexity")
        await keyless.cancel(unsent.job.id)
        assert (await keyless.wait(unsent.job.id)).job.status == "cancelled"
        sent = await research.start("Who else grows?", provider="perplexity", budget_usd="2")
        assert await research.run_due() == 1
        async with desk.db.transaction() as conn:
            await conn.execute(
                "UPDATE deep_briefing_jobs SET deadline_at = now(), next_poll_at = now() "
                "WHERE next_poll_at IS NOT NULL"
            )
        detail = await keyless.wait(sent.job.id)
    assert (detail.job.status, detail.job.error_code) == ("failed", "research_ceiling")
    assert await desk.month() == (2, 0)


async def test_cancelling_where_the_key_is_refused_comes_to_an_end(desk: Desk) -> None:
    script = Script(ok(gemini("queued")), refused(401, "revoked"))
    async with desk.asking(script) as research:
        started = await research.start(QUERY, provider="gemini", budget_usd="3")
        assert await research.run_due() == 1
        await research.cancel(started.job.id)
        detail = await research.wait(started.job.id)
    assert (detail.job.status, detail.job.error_code) == ("cancelled", "research_key")
    # It may go on there: what was kept free for it counts.
    assert await desk.month() == (3, 0)
