"""Repairs of decisions that wait, and of skew: what each does, taken back again, and logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.errors import Conflict, InvalidInput
from aegis.memory.models import NewEpisode
from tests.memory.audit.test_audit import finding, run_sql
from tests.memory.audit.test_repairs import found, logged, repaired

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory import Memory

pytestmark = pytest.mark.servers("18", "16")


async def an_open_decision(memory: Memory, db: Database, place: str = "default") -> int:
    made = await memory.decisions.record(
        "Where to meet?",
        alternatives=["park", "office"],
        chosen_option="park",
        reasoning="sun",
        namespace=place,
    )
    await run_sql(
        db,
        "UPDATE decision_outcomes SET created_at = now() - interval '200 days' WHERE id = %(id)s",
        id=made.id,
    )
    return made.id


async def decided(db: Database) -> list[Any]:
    return await run_sql(db, "SELECT to_jsonb(d) FROM decision_outcomes d ORDER BY d.id")


async def test_an_open_decision_is_asked_about_again(memory: Memory, db: Database) -> None:
    row = await an_open_decision(memory, db)
    assert [d.id for d in await memory.decisions.due()] == [row]
    before = await decided(db)
    done = await repaired(memory, "decisions_open")
    assert (done.way, done.examples[0].excerpt) == (
        "remind",
        "Where to meet? → due again in 14 days",
    )
    assert await memory.decisions.due() == []
    await run_sql(db, "UPDATE decision_outcomes SET review_at = review_at - interval '15 days'")
    assert [d.id for d in await memory.decisions.due()] == [row]
    assert await memory.audit.restore(kind="decisions_open") == 1
    assert await decided(db) == before
    assert [row for row in await logged(db) if row[1] == "decisions_open"] == [
        ("memory.repair", "decisions_open", 1),
        ("memory.quarantine_restore", "decisions_open", 1),
    ]


async def test_a_decision_of_which_nobody_knows_is_closed_and_may_still_get_its_outcome(
    memory: Memory, db: Database
) -> None:
    row = await an_open_decision(memory, db)
    before = await decided(db)
    await repaired(memory, "decisions_open", way="close")
    closed = await memory.decisions.get(row)
    assert closed.outcome_status == "pending"
    assert closed.resolved_at is not None
    assert await memory.decisions.due() == []
    # It says nothing of how often its option succeeded.
    (option,) = (await memory.decisions.advise("Where shall we meet?")).options
    assert option.resolved == 0
    (entry,) = await memory.audit.quarantined()
    await memory.audit.restore([entry.id])
    assert await decided(db) == before

    await memory.audit.repair("decisions_open", way="close", dry_run=False)
    (entry,) = await memory.audit.quarantined()
    await memory.decisions.resolve(row, "success")
    with pytest.raises(Conflict, match="has an outcome"):
        await memory.audit.restore([entry.id])
    assert (await memory.decisions.get(row)).outcome_status == "success"


async def test_what_a_repair_of_decisions_put_aside_goes_with_an_erased_decision(
    memory: Memory, db: Database
) -> None:
    await an_open_decision(memory, db)
    await run_sql(db, "UPDATE decision_outcomes SET reasoning = 'Zebulon said so'")
    await memory.audit.repair("decisions_open", dry_run=False)
    await memory.erasures.run("Zebulon", rewrite=False)
    assert await decided(db) == []
    assert await memory.audit.quarantined() == []


async def test_skew_is_repaired_where_the_planner_believes_something_else(
    memory: Memory, db: Database
) -> None:
    await memory.record_many(
        [
            NewEpisode(event_type="note", summary=f"Room {n} of the old mill is booked by {n * 7}.")
            for n in range(60)
        ]
    )
    for place in ("a", "b"):
        await memory.record("note", "Paper is collected every Tuesday.", namespace=place)
    done = await repaired(memory, "namespaces_skew")
    assert done.examples[0].excerpt == "60 of 62 episodes; believed: nothing"
    assert ("memory.repair", "namespaces_skew", 1) in await logged(db)
    # What the planner believes is true, and stays true for a while.
    (row,) = await run_sql(
        db, "EXPLAIN (FORMAT JSON) SELECT FROM episodic_memory WHERE namespace = 'default'"
    )
    assert 50 <= row[0][0]["Plan"]["Plan Rows"] <= 70


async def test_skew_stays_told_where_the_login_may_not_analyze(
    memory: Memory, db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aegis.memory.audit import skew

    for n in range(30):
        await memory.record("note", f"Room {n} of the old mill is booked by {n * 7}.")
    for place in ("a", "b"):
        await memory.record("note", "Paper is collected every Tuesday.", namespace=place)
    original = skew.statistics.analyze_episodes

    async def as_somebody(conn: Any) -> None:
        await conn.execute("SET LOCAL ROLE somebody")
        await original(conn)
        await conn.execute("RESET ROLE")

    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS somebody")
        admin.execute("CREATE ROLE somebody")
    monkeypatch.setattr(skew.statistics, "analyze_episodes", as_somebody)
    done = await memory.audit.repair("namespaces_skew", dry_run=False)
    assert (done.rows, done.held) == (0, 1)
    assert "namespaces_skew" in await found(memory)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("DROP ROLE somebody")


async def test_a_namespace_is_repaired_alone(memory: Memory, db: Database) -> None:
    for place in ("default", "other"):
        await an_open_decision(memory, db, place)
        await memory.facts.record("Ann", "lives in Rome", namespace=place)
    await run_sql(db, "UPDATE semantic_memory SET updated_at = now() - interval '2 years'")
    for kind in ("decisions_open", "facts_stale"):
        assert (await memory.audit.repair(kind, namespace="other", dry_run=False)).rows == 1
        assert finding(await memory.audit.run(), kind).examples[0].namespace == "default"


async def test_ways_that_a_check_does_not_have_are_refused(memory: Memory) -> None:
    with pytest.raises(InvalidInput, match="use one of remind, close"):
        await memory.audit.repair("decisions_open", way="forget")
    with pytest.raises(InvalidInput, match="has one way"):
        await memory.audit.repair("facts_stale", way="remind")
