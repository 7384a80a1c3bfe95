"""The scheduler: exactly once over workers, whatever clocks do; paused, resumed, run by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.worker.schedules import SchedulesKind, plan_due
from tests.worker.conftest import ended, working

if TYPE_CHECKING:
    from aegis.client import Aegis


async def nothing(_: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments


async def put_next(client: Aegis, sql: str) -> None:
    async with client.db.connection() as conn:
        await conn.execute(f"UPDATE schedules SET next_at = {sql}".encode())


@pytest.fixture
async def aegis(client: Aegis) -> Aegis:
    client.functions.add("nothing", nothing)
    return client


async def test_planners_at_once_make_one_job_of_a_time(aegis: Aegis) -> None:
    for n in range(8):
        await aegis.schedules.add(f"s{n}", "0 * * * *", "nothing")
    await put_next(aegis, "date_trunc('hour', now())")
    made = await asyncio.gather(*(plan_due(aegis.db) for _ in range(6)))
    jobs = [job for some in made for job in some]
    assert sorted(job.schedule or "" for job in jobs) == [f"s{n}" for n in range(8)]
    assert await plan_due(aegis.db) == []
    found = await aegis.schedules.list()
    assert {schedule.next_at for schedule in found} == {
        jobs[0].planned_at + timedelta(hours=1) if jobs[0].planned_at else None
    }


async def test_a_time_is_never_planned_twice_whatever_the_clock_did(aegis: Aegis) -> None:
    await aegis.schedules.add("s", "0 * * * *", "nothing", missed="all")
    await put_next(aegis, "date_trunc('hour', now())")
    (job,) = await plan_due(aegis.db)
    # As if the clock had gone back, and the same hour came again.
    await put_next(aegis, "date_trunc('hour', now())")
    assert await plan_due(aegis.db) == []
    assert (await aegis.schedules.get("s")).skipped == 1
    assert [one.id for one in await aegis.schedules.history("s")] == [job.id]


async def test_a_next_time_from_a_clock_that_was_wrong_is_brought_back(aegis: Aegis) -> None:
    await aegis.schedules.add("s", "0 * * * *", "nothing")
    await put_next(aegis, "'2099-01-01 00:00:00+00'")
    await plan_due(aegis.db, look_ahead=True)
    at = (await aegis.schedules.get("s")).next_at
    assert at is not None
    assert at <= datetime.now(UTC) + timedelta(hours=1)


async def test_a_schedule_that_plain_sql_broke_keeps_no_other_from_its_time(aegis: Aegis) -> None:
    await aegis.schedules.add("bad", "0 * * * *", "nothing")
    await aegis.schedules.add("good", "0 * * * *", "nothing")
    async with aegis.db.connection() as conn:
        await conn.execute("UPDATE schedules SET cron = 'x' WHERE name = 'bad'")
    await put_next(aegis, "now() - INTERVAL '1 s'")
    assert [job.schedule for job in await plan_due(aegis.db)] == ["good"]
    assert (await aegis.schedules.get("bad")).next_at is None
    await plan_due(aegis.db, look_ahead=True)


async def test_nothing_is_added_while_the_job_before_is_not_done(aegis: Aegis) -> None:
    await aegis.schedules.add("s", "* * * * *", "nothing")
    await put_next(aegis, "date_trunc('minute', now()) - INTERVAL '5 min'")
    (job,) = await plan_due(aegis.db)
    assert job.planned_at == job.due_at
    assert (await aegis.schedules.get("s")).skipped == 5
    await put_next(aegis, "date_trunc('minute', now()) + INTERVAL '1 s' - INTERVAL '1 min'")
    assert await plan_due(aegis.db) == []


async def test_paused_it_plans_nothing_and_resumed_it_makes_up_for_nothing(aegis: Aegis) -> None:
    await aegis.schedules.add("s", "0 * * * *", "nothing", missed="all")
    paused = await aegis.schedules.pause("s")
    assert (paused.paused, paused.next_at) == (True, None)
    await put_next(aegis, "now() - INTERVAL '9 hours'")
    assert await plan_due(aegis.db, look_ahead=True) == []
    resumed = await aegis.schedules.resume("s")
    assert resumed.next_at is not None
    assert resumed.next_at > datetime.now(UTC)
    assert await aegis.schedules.resume("s") == resumed


async def test_run_by_hand_it_runs_now_and_its_times_stay(aegis: Aegis) -> None:
    made = await aegis.schedules.add("s", "0 0 1 1 *", "nothing", arguments={"a": 1})
    await aegis.schedules.pause("s")
    async with working(aegis):
        job = await aegis.schedules.run("s")
        done = await ended(aegis, job.id)
    assert (done.state, done.result, done.schedule) == ("completed", {"a": 1}, "s")
    assert done.planned_at is None
    assert (await aegis.schedules.resume("s")).next_at == made.next_at


async def test_a_worker_runs_a_schedule_when_its_time_comes(aegis: Aegis) -> None:
    async with working(aegis):
        # A second from now at most; the worker is told that there is a new one.
        await aegis.schedules.add("s", "* * * * * *", "nothing", arguments={"a": 1})
        async with asyncio.timeout(30):
            while not (found := await aegis.schedules.history("s")):
                await asyncio.sleep(0.05)
        done = await ended(aegis, found[-1].id)
    assert (done.state, done.result, done.key) == ("completed", {"a": 1}, "schedule:s")


async def test_a_name_is_one_schedule(aegis: Aegis) -> None:
    await aegis.schedules.add("s", "0 * * * *", "nothing")
    with pytest.raises(Conflict, match="There is a schedule"):
        await aegis.schedules.add("s", "0 1 * * *", "nothing")
    await aegis.schedules.pause("s")
    changed = await aegis.schedules.add("s", "0 1 * * *", "nothing", replace=True)
    assert (changed.cron, changed.paused, changed.next_at) == ("0 1 * * *", True, None)
    await aegis.schedules.remove("s")
    for call in (aegis.schedules.get, aegis.schedules.remove, aegis.schedules.pause,
                 aegis.schedules.resume, aegis.schedules.run):  # fmt: skip
        with pytest.raises(NotFound, match="no schedule 's'"):
            await call("s")
    assert await aegis.schedules.list() == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cron": "x"}, "cron is 'x'"),
        ({"timezone": "Nowhere"}, "timezone is 'Nowhere'"),
        ({"function": "no.such"}, "not registered"),
        ({"missed": "some"}, "missed is 'some'"),
        ({"jitter_s": -1}, "jitter_s is -1"),
        ({"name": " "}, "name is ' '"),
        ({"arguments": "x"}, "arguments is 'x'"),
        ({"colour": "red"}, "no such field"),
    ],
)
async def test_what_cannot_be_a_schedule_is_refused(
    aegis: Aegis, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        given: dict[str, Any] = {"name": "s", "cron": "0 * * * *", "function": "nothing"}
        await aegis.schedules.add(**{**given, **fields})


async def test_the_scheduler_knows_when_the_next_time_is(aegis: Aegis) -> None:
    kind = SchedulesKind(aegis.db)
    assert await kind.next_due() is None
    await aegis.schedules.add("s", "0 * * * *", "nothing")
    due_s = await kind.next_due()
    assert due_s is not None
    assert 0 < due_s <= 3_600
    await put_next(aegis, "now() - INTERVAL '1 s'")
    assert await kind.next_due() == 0
    assert await kind.claim("w", limit=1, lease_s=30) == []
    assert len(await aegis.schedules.history("s")) == 1
