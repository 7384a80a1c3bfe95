"""Functions of ours and their schedules; one failure keeps nobody from the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.config import load_settings
from aegis.errors import ConfigError, Unavailable
from aegis.worker.defaults import default_schedules, ensure_defaults
from aegis.worker.functions import BUILTIN, Functions
from aegis.worker.upkeep import consolidate, forget_jobs, sweep_memory, tell_stripe

if TYPE_CHECKING:
    from aegis.client import Aegis
    from aegis.config import Settings
    from aegis.db import Database


def test_an_hour_that_is_none_is_refused() -> None:
    for text in ("25:00", "3:30", "midnight", "03:60"):
        with pytest.raises(ConfigError, match="AEGIS_CONSOLIDATE_AT"):
            load_settings({"AEGIS_CONSOLIDATE_AT": text})
    assert load_settings({"AEGIS_CONSOLIDATE_AT": "off"}).consolidate_at == "off"
    with pytest.raises(ConfigError, match="AEGIS_CONSOLIDATE_ACCEPT_FROM"):
        load_settings({"AEGIS_CONSOLIDATE_ACCEPT_FROM": "1.5"})


def test_ranges_of_the_worker_are_checked() -> None:
    for name, value in (("CONCURRENCY", "0"), ("CONCURRENCY", "1001"), ("GRACE_S", "-1")):
        with pytest.raises(ConfigError, match=f"AEGIS_WORKER_{name}"):
            load_settings({f"AEGIS_WORKER_{name}": value})


async def test_every_namespace_has_its_turn_whatever_fails_in_another(
    client: Aegis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("a", "b", "c"):
        for word in ("again", "once more", "at night"):
            await client.memory.record(
                "error", f"The disk of db1 filled up {word}.", namespace=place
            )
    assert await client.memory.consolidation.namespaces() == ["a", "b", "c"]
    run = client.memory.consolidation.run

    async def fails_in_b(*, namespace: str) -> Any:
        if namespace == "b":
            raise Unavailable("not now")
        return await run(namespace=namespace)

    monkeypatch.setattr(client.memory.consolidation, "run", fails_in_b)
    assert await consolidate(client, {}) == {"namespaces": 3, "proposals": 2, "failed": 1}
    assert await client.memory.consolidation.namespaces() == ["b"]


async def test_sweep_takes_what_has_expired(client: Aegis) -> None:
    await client.memory.record("note", "gone", namespace="other", ttl=timedelta(milliseconds=1))
    async with client.db.connection() as conn:
        await conn.execute("UPDATE episodic_memory SET expires_at = now() - INTERVAL '1 day'")
    assert (await sweep_memory(client, {}))["deleted"] == 1


async def test_stripe_without_a_key_fails_for_everybody_to_see(client: Aegis) -> None:
    with pytest.raises(ConfigError):
        await tell_stripe(client, {})


async def test_finished_jobs_are_forgotten_in_time_and_others_never(client: Aegis) -> None:
    async with client.db.connection() as conn:
        await conn.execute(
            """
            INSERT INTO jobs (function, state, created_at, finished_at)
            SELECT 'f',
                   state,
                   now() - age,
                   CASE WHEN state IN ('waiting', 'running') THEN NULL ELSE now() - age END
            FROM unnest(ARRAY['waiting', 'running', 'completed', 'failed', 'cancelled']) AS state,
                 unnest(ARRAY[INTERVAL '6 days', INTERVAL '8 days', INTERVAL '31 days']) AS age
            """
        )
    assert await forget_jobs(client, {}) == {"forgotten": 4}
    left = await client.jobs.list(states=["completed", "failed", "cancelled"])
    assert sorted(job.state for job in left) == [
        "cancelled", "cancelled", "completed", "failed", "failed",
    ]  # fmt: skip
    assert await client.jobs.counts() == {"due": 3, "later": 0, "running": 3}
    assert await forget_jobs(client, {"completed_days": 0, "failed_days": 0}) == {"forgotten": 5}


def test_every_default_schedule_calls_a_function_that_there_is(settings: Settings) -> None:
    made, off = default_schedules(replace(settings, stripe_api_key="sk_test_x"))
    functions = Functions()
    for new in made:
        assert functions.get(new.function)
    assert {new.function for new in made} == set(BUILTIN)
    assert off == []


async def test_what_the_operator_changed_stays_changed(
    client: Aegis, db: Database, settings: Settings
) -> None:
    await ensure_defaults(db, settings)
    names = {schedule.name for schedule in await client.schedules.list()}
    assert names == {*BUILTIN} - {"billing.stripe"}
    await client.schedules.pause("memory.sweep")
    await client.schedules.remove("metrics.keep")
    await client.schedules.add("jobs.forget", "0 1 * * *", "jobs.forget", replace=True)
    # Started again, with another hour: what nobody touched follows it.
    await ensure_defaults(db, replace(settings, consolidate_at="04:45"))
    after = {schedule.name: schedule for schedule in await client.schedules.list()}
    assert {*after} == names - {"metrics.keep"}
    assert after["memory.sweep"].paused
    assert after["jobs.forget"].cron == "0 1 * * *"
    assert after["memory.consolidate"].cron == "45 4 * * *"
    await ensure_defaults(db, replace(settings, consolidate_at="off"))
    assert "memory.consolidate" not in [one.name for one in await client.schedules.list()]
    # It comes back when it is asked for by hand.
    back = await client.schedules.add("metrics.keep", "* * * * *", "metrics.keep")
    assert back.next_at is not None
