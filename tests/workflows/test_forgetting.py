"""Executions that ended long ago go; what is part of another stays as long as that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.client import Aegis
from aegis.errors import InvalidInput, NotFound
from aegis.worker.upkeep import prune_workflows
from tests.workflows.conftest import Bench, chain

if TYPE_CHECKING:
    from aegis.config import Settings


async def age(bench: Bench, workflow: str, days: int) -> None:
    async with bench.db.transaction() as conn:
        await conn.execute(
            "UPDATE workflow_executions e SET completed_at = now() - make_interval(days => %s) "
            "FROM workflows w WHERE w.id = e.workflow_id AND w.name = %s "
            "AND e.completed_at IS NOT NULL",
            [days, workflow],
        )


async def left(bench: Bench) -> list[str]:
    return sorted(str(e.workflow) for e in await bench.workflows.executions())


async def test_what_ended_long_ago_goes_after_its_steps(bench: Bench) -> None:
    await bench.save("w", chain(("a", "echo")))
    await bench.save("young", chain(("a", "echo")))
    await bench.save("open", chain(("s", "signal", {"params": {"name": "go"}})))
    ended = await bench.run("w", key="once")
    await bench.run("young")
    async with bench.worker():
        waiting = await bench.workflows.start("open")
        await bench.until(waiting.id, waits=True)
    async with bench.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO workflow_executions (context, status, completed_at) "
            "VALUES ('{}', 'completed', now() - INTERVAL '9 years')"
        )
    await age(bench, "w", 400)
    # Its steps are there: they go first.
    assert await bench.workflows.forget(keep_days=365) == 0
    await bench.workflows.prune(keep_days=30)
    assert await bench.workflows.forget(keep_days=401) == 0
    assert await bench.workflows.forget(keep_days=365) == 1
    assert await left(bench) == ["None", "open", "young"]
    with pytest.raises(NotFound):
        await bench.workflows.execution(ended.id)
    assert (await bench.run("w", key="once")).id != ended.id
    with pytest.raises(InvalidInput, match="keep_days"):
        await bench.workflows.forget(keep_days=-1)


async def test_what_is_part_of_another_goes_no_earlier(bench: Bench) -> None:
    await bench.save("inner", chain(("a", "echo")))
    sub = {"params": {"workflow": "inner"}}
    wait = {"params": {"name": "go"}}
    await bench.save("outer", chain(("sub", "sub_workflow", sub), ("s", "signal", wait)))
    async with bench.worker():
        outer = await bench.workflows.start("outer")
        await bench.until(outer.id, node="s", waits=True)
        await age(bench, "inner", 500)
        await bench.workflows.prune(keep_days=30)
        assert await bench.workflows.forget(keep_days=365) == 0
        await bench.workflows.signal(outer.id, "go")
        await bench.until(outer.id)
    await bench.workflows.prune(keep_days=0)
    assert await bench.workflows.forget(keep_days=365) == 0
    await age(bench, "outer", 366)
    assert await bench.workflows.forget(keep_days=365) == 2
    assert await left(bench) == []


async def test_the_schedule_does_both_as_the_settings_say(bench: Bench, settings: Settings) -> None:
    await bench.save("w", chain(("a", "echo")))
    await bench.run("w")
    await age(bench, "w", 40)
    done: list[dict[str, int]] = []
    for days in (0, 41, 39):
        given = replace(settings, workflows_keep_executions_days=days)
        done.append(await prune_workflows(Aegis(bench.db, None, given), {}))
    assert done == [
        {"executions": 1, "forgotten": 0},
        {"executions": 0, "forgotten": 0},
        {"executions": 0, "forgotten": 1},
    ]


async def test_old_ones_are_found_by_an_index_among_many(bench: Bench) -> None:
    await bench.save("w", chain(("a", "echo")))
    async with bench.db.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO workflow_executions (
                workflow_id, version, context, status, started_at, completed_at, pruned_at
            )
            SELECT w.id, 1, '{}', 'completed', now() - make_interval(mins => n, secs => -30),
                   now() - make_interval(mins => n, secs => -30), now()
            FROM workflows w, generate_series(1, 20000) AS n
            """
        )
    async with bench.db.connection() as conn:
        await conn.execute("ANALYZE workflow_executions")
    async with bench.db.transaction() as conn:
        cursor = await conn.execute(
            """
            EXPLAIN SELECT e.id FROM workflow_executions e
            WHERE e.version IS NOT NULL
              AND e.pruned_at IS NOT NULL
              AND e.completed_at < now() - INTERVAL '30 days'
            ORDER BY e.completed_at
            LIMIT 500
            """
        )
        plan = "\n".join(row[0] for row in await cursor.fetchall())
    assert "idx_workflow_executions_pruned" in plan
    assert await bench.workflows.forget(keep_days=13) == 20_000 - 13 * 1_440
