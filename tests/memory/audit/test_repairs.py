"""Repairs of facts: what each does, taken back again, and logged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from aegis.memory import Memory
from aegis.memory.audit import fact_repairs
from aegis.memory.models import NewFact
from aegis.security.audit.service import AuditLog
from tests.memory.audit.test_audit import NOW, everything, finding, run_sql

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory.audit.report import Repaired
    from aegis.memory.models import Fact

pytestmark = pytest.mark.servers("18", "16")

KINDS = ("orphans_facts", "facts_stale", "facts_expired", "decisions_open", "namespaces_skew")


async def found(memory: Memory) -> set[str]:
    return {f.id for f in (await memory.audit.run()).findings}


async def logged(db: Database) -> list[tuple[str, Any, Any]]:
    rows = await AuditLog(db, db.settings).list(limit=1_000)
    return [(row.action, row.object_id, row.details.get("rows")) for row in reversed(rows)]


async def proposed(memory: Memory, db: Database, content: str, episodes: list[Any]) -> int:
    """Record a fact that consolidation made of episodes of these ids."""
    fact = await memory.facts.record_as_given(
        NewFact(
            concept="Ann",
            content=content,
            source="consolidation",
            confidence=0.8,
            metadata={"episodes": episodes, "seen": 3},
        )
    )
    assert db
    return fact.id


async def repaired(memory: Memory, kind: str, **how: Any) -> Repaired:
    """Look first, and see that nothing changed; then repair, and find nothing of the kind."""
    dry = await memory.audit.repair(kind, **how)
    assert (dry.dry_run, dry.undo) == (True, None)
    assert finding(await memory.audit.run(), kind).count == dry.rows
    done = await memory.audit.repair(kind, dry_run=False, actor="me", **how)
    assert (done.rows, done.held, done.way) == (dry.rows, 0, dry.way)
    assert done.examples == dry.examples
    assert kind not in await found(memory)
    assert (await memory.audit.repair(kind, dry_run=False, **how)).rows == 0
    return done


async def test_a_healthy_memory_is_left_as_it_is(memory: Memory, db: Database) -> None:
    said = await memory.record("note", "Ann lives in Rome and likes it there.")
    await memory.facts.record("Ann", "lives in Paris")
    await memory.facts.record("Ann", "lives in Rome")
    await proposed(memory, db, "has a house in Rome", [said.id])
    await memory.decisions.record(
        "Where?", alternatives=["here"], chosen_option="here", reasoning="near"
    )
    before = await everything(db)
    for kind in KINDS:
        done = await memory.audit.repair(kind, dry_run=False)
        assert (done.rows, done.held, done.undo, done.examples) == (0, 0, None, [])
    assert await everything(db) == before
    assert await logged(db) == []


async def test_a_fact_whose_episodes_are_gone_rests_on_another_that_says_it(
    memory: Memory, db: Database
) -> None:
    other = await memory.record("chat", "She wrote: Ann  LIVES in Rome, near the river.")
    await memory.record("chat", "In Rome everybody lives well, Ann says.")
    await memory.record("chat", "Ann lives in Rome.", namespace="other")
    fact = await proposed(memory, db, "lives in Rome", [98, 99, "x"])
    before = await everything(db)
    done = await repaired(memory, "orphans_facts")
    assert done.examples[0].excerpt == f"Ann: lives in Rome → rests on episodes {other.id}"
    mended = await memory.facts.get(fact)
    assert mended.confidence == 0.8
    assert mended.metadata is not None
    assert mended.metadata["episodes"] == [other.id]
    assert mended.metadata["seen"] == 3
    assert mended.metadata["repaired"]["orphans_facts"]["episodes"] == [98, 99, "x"]
    assert [(s.action, s.actor) for s in await memory.facts.history(fact)] == [("updated", "me")]
    await memory.facts.undo(fact)
    assert await everything(db) == before


async def test_a_fact_that_nothing_bears_out_is_trusted_less(memory: Memory, db: Database) -> None:
    fact = await proposed(memory, db, "lives in Rome", [98])
    await repaired(memory, "orphans_facts")
    mended = await memory.facts.get(fact)
    assert mended.confidence == pytest.approx(0.4)
    assert mended.metadata is not None
    assert "episodes" not in mended.metadata
    was = mended.metadata["repaired"]["orphans_facts"]
    assert (was["episodes"], was["confidence"]) == ([98], 0.8)


async def test_a_successor_that_was_deleted_is_replaced_by_what_followed_it(
    memory: Memory, db: Database
) -> None:
    facts = [
        await memory.facts.record("Ann", f"lives in {place}") for place in ("Rome", "Oslo", "Bonn")
    ]
    rome, oslo, bonn = (fact.id for fact in facts)
    await memory.facts.delete(oslo)
    before = await everything(db)
    done = await repaired(memory, "orphans_facts")
    assert done.examples[0].excerpt == f"Ann: lives in Rome → followed by fact {bonn}"
    assert (await memory.facts.get(rome)).superseded_by == bonn
    await memory.facts.undo(rome)
    assert await everything(db) == before


async def test_a_successor_without_a_history_is_found_by_where_it_begins(
    memory: Memory, db: Database
) -> None:
    end = NOW.replace(microsecond=0)
    old = await memory.facts.record_as_given(
        NewFact(concept="Ann", content="lives in Rome", valid_to=end)
    )
    for content in ("likes tea", "lives in Oslo"):
        await memory.facts.record_as_given(
            NewFact(concept=" ann ", content=content, valid_from=end)
        )
    await run_sql(db, "UPDATE semantic_memory SET superseded_by = 4711 WHERE id = 1")
    await repaired(memory, "orphans_facts")
    follower = await memory.facts.get((await memory.facts.get(old.id)).superseded_by or 0)
    assert follower.content == "lives in Oslo"


async def test_a_successor_of_which_nothing_is_known_is_named_no_more(
    memory: Memory, db: Database
) -> None:
    await run_sql(
        db,
        "INSERT INTO semantic_memory (concept, content, superseded_by, valid_to, metadata) "
        "VALUES ('old', 'was', 4711, now(), '[1]'), ('odd', 'is', 4712, NULL, 'null')",
    )
    before = await everything(db)
    await repaired(memory, "orphans_facts")
    mended = [await memory.facts.get(row) for row in (1, 2)]
    assert [fact.superseded_by for fact in mended] == [None, None]
    metadata = [dict(fact.metadata or {}) for fact in mended]
    assert [m.pop("repaired")["orphans_facts"]["superseded_by"] for m in metadata] == [4711, 4712]
    assert metadata == [{"value": [1]}, {"value": None}]
    for row in (1, 2):
        await memory.facts.undo(row)
    assert await everything(db) == before


async def test_what_nothing_confirmed_for_a_year_is_trusted_less_each_year(
    memory: Memory, db: Database
) -> None:
    fact = await memory.facts.record("Ann", "lives in Rome", confidence=0.5, tags=["t"])
    for n in (1, 2):
        await run_sql(db, "UPDATE semantic_memory SET updated_at = now() - interval '2 years'")
        before = await everything(db)
        await repaired(memory, "facts_stale")
        mended = await memory.facts.get(fact.id)
        assert mended.confidence == pytest.approx(0.5 * 0.8**n)
    await memory.facts.undo(fact.id)
    assert await everything(db) == before
    hit = (await memory.facts.recall("where does Ann live"))[0]
    assert hit.fact.content == "lives in Rome"


async def test_an_end_is_followed_by_what_contradicts_it_or_noted(
    memory: Memory, db: Database
) -> None:
    end = NOW.replace(microsecond=0)
    rows: list[Fact] = [
        await memory.facts.record_as_given(
            NewFact(concept=c, content=said, valid_from=begins, valid_to=ends)
        )
        for c, said, begins, ends in (
            ("Ann", "lives in Rome", None, end),
            ("ANN", "lives in Oslo", end, None),
            ("Ann", "likes tea", end, None),
            ("Bob", "lives in Rome", None, end),
        )
    ]
    before = await everything(db)
    done = await repaired(memory, "facts_expired")
    assert [e.excerpt.partition(" → ")[2] for e in done.examples] == [
        f"followed by fact {rows[1].id}",
        "noted: nothing follows",
    ]
    assert (await memory.facts.get(rows[0].id)).superseded_by == rows[1].id
    # What held then is still told of then.
    then = await memory.facts.list(valid_at=end.replace(year=end.year - 1))
    assert {fact.content for fact in then} == {"lives in Rome"}
    # Another end is news.
    await run_sql(
        db, "UPDATE semantic_memory SET valid_to = valid_to - interval '1 day' WHERE id = 4"
    )
    assert finding(await memory.audit.run(), "facts_expired").count == 1
    await run_sql(
        db, "UPDATE semantic_memory SET valid_to = valid_to + interval '1 day' WHERE id = 4"
    )
    for row in (1, 4):
        await memory.facts.undo(row)
    assert await everything(db) == before


async def test_what_ended_may_be_archived_and_comes_back(memory: Memory, db: Database) -> None:
    end = NOW.replace(microsecond=0)
    for place in ("default", "other"):
        await memory.facts.record_as_given(
            NewFact(concept="Bob", content="lives in Rome", valid_to=end), namespace=place
        )
    await memory.facts.update(1, tags=["kept"])
    before = [await everything(db), await memory.facts.history(1)]
    done = await repaired_by_archive(memory)
    assert (done.rows, done.held) == (2, 0)
    assert await memory.facts.list(valid_at=end.replace(year=end.year - 1)) == []
    for place in ("default", "other"):
        (archive,) = await memory.archives.list(namespace=place)
        await memory.archives.restore(archive.id, namespace=place)
    assert [await everything(db), await memory.facts.history(1)] == before


async def repaired_by_archive(memory: Memory) -> Repaired:
    dry = await memory.audit.repair("facts_expired", way="archive")
    assert (dry.rows, dry.way) == (2, "archive")
    done = await memory.audit.repair("facts_expired", way="archive", dry_run=False)
    assert "facts_expired" not in await found(memory)
    return done


async def test_what_another_fact_names_as_its_successor_is_not_archived(
    memory: Memory, db: Database
) -> None:
    await memory.facts.record("Ann", "lives in Rome")
    await memory.facts.record("Ann", "lives in Oslo")
    await run_sql(db, "UPDATE semantic_memory SET valid_to = now() WHERE superseded_by IS NULL")
    done = await memory.audit.repair("facts_expired", way="archive", dry_run=False)
    assert (done.rows, done.held) == (0, 1)
    assert "orphans_facts" not in await found(memory)


async def test_more_than_a_batch_is_repaired_and_each_batch_is_logged(
    memory: Memory, db: Database
) -> None:
    await run_sql(
        db,
        "INSERT INTO semantic_memory (concept, content, updated_at) "
        "SELECT 'c' || i / 3, 'says ' || i, now() - interval '2 years' "
        "FROM generate_series(1, 230) i",
    )
    done = await repaired(memory, "facts_stale")
    assert done.rows == 230
    rows = [row for row in await logged(db) if row[1] == "facts_stale"]
    assert [row[2] for row in rows] == [100, 100, 30]
    assert (await AuditLog(db, db.settings).verify()).problems == 0


async def test_two_repairs_at_once_change_each_fact_once(memory: Memory, db: Database) -> None:
    await run_sql(
        db,
        "INSERT INTO semantic_memory (concept, content, updated_at, confidence) "
        "SELECT 'c' || i %% 40, 'says ' || i, now() - interval '2 years', 1 "
        "FROM generate_series(1, 150) i",
    )
    done = await asyncio.gather(
        *(memory.audit.repair("facts_stale", dry_run=False) for _ in range(3))
    )
    assert sum(d.rows for d in done) == 150
    assert await run_sql(db, "SELECT DISTINCT confidence FROM semantic_memory") == [(0.8,)]
    assert await run_sql(db, "SELECT count(*) FROM fact_history") == [(150,)]


async def test_a_repair_that_fails_half_way_leaves_whole_batches(
    memory: Memory, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_sql(
        db,
        "INSERT INTO semantic_memory (concept, content, updated_at, confidence) "
        "SELECT 'c' || i, 'says ' || i, now() - interval '2 years', 1 "
        "FROM generate_series(1, 150) i",
    )
    original = fact_repairs.repairs.change_facts
    calls: list[int] = []

    async def fails_later(*args: Any, **kwargs: Any) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return await original(*args, **kwargs)

    monkeypatch.setattr(fact_repairs.repairs, "change_facts", fails_later)
    with pytest.raises(RuntimeError, match="killed"):
        await memory.audit.repair("facts_stale", dry_run=False)
    counts = "SELECT count(*) FILTER (WHERE confidence < 1), (SELECT count(*) FROM fact_history)"
    assert await run_sql(db, counts + " FROM semantic_memory") == [(100, 100)]
    assert (await memory.audit.repair("facts_stale", dry_run=False)).rows == 50


FACTS = strategies.lists(
    strategies.fixed_dictionaries(
        {
            "concept": strategies.sampled_from(["Ann", "ann ", "Bob"]),
            "content": strategies.sampled_from(["lives in Rome", "lives in Oslo", "likes tea"]),
            "source": strategies.sampled_from(["consolidation", "mail", None]),
            "metadata": strategies.sampled_from(
                [
                    None,
                    "null",
                    "[]",
                    "7",
                    '{"repaired": 1, "episodes": [1]}',
                    '{"episodes": []}',
                    '{"episodes": [1, 99]}',
                    '{"episodes": ["1", 1e99, 0, null]}',
                ]
            ),
            "confidence": strategies.sampled_from([None, 0.0, 0.5, 1.0]),
            "superseded_by": strategies.sampled_from([None, 1, 2, 3, 4711]),
            "valid_to": strategies.sampled_from([None, -400, -1, 1]),
            "valid_from": strategies.sampled_from([None, -500, -400, -1]),
            "updated_at": strategies.sampled_from([None, -800, -1]),
        }
    ),
    max_size=6,
)


@given(FACTS)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_after_a_repair_nothing_of_its_kind_is_left_and_undoing_leaves_what_was(
    plain_memory: Memory, db: Database, rows: list[dict[str, Any]]
) -> None:
    await run_sql(
        db, "TRUNCATE semantic_memory, fact_history, memory_quarantine RESTART IDENTITY CASCADE"
    )
    if not await run_sql(db, "SELECT FROM episodic_memory WHERE id = 1"):
        await plain_memory.record("note", "Ann said that she lives in Rome.")
    for row in rows:
        if row["valid_to"] is not None and (row["valid_from"] or -999) > row["valid_to"]:
            row["valid_from"] = None
        await run_sql(
            db,
            """
            INSERT INTO semantic_memory (
                concept, content, source, metadata, confidence, superseded_by,
                valid_from, valid_to, updated_at
            )
            VALUES (
                %(concept)s, %(content)s, %(source)s, %(metadata)s::jsonb, %(confidence)s,
                %(superseded_by)s,
                date_trunc('day', now()) + make_interval(days => %(valid_from)s::int),
                date_trunc('day', now()) + make_interval(days => %(valid_to)s::int),
                now() + make_interval(days => %(updated_at)s::int)
            )
            """,
            **row,
        )
    before = await everything(db)
    steps: list[int] = []
    for kind in ("orphans_facts", "facts_stale", "facts_expired"):
        done = await plain_memory.audit.repair(kind, dry_run=False)
        assert done.held == 0
        assert (await plain_memory.audit.repair(kind)).rows == 0
        assert kind not in await found(plain_memory)
    steps = [
        row[0] for row in await run_sql(db, "SELECT fact_id FROM fact_history ORDER BY id DESC")
    ]
    for fact in steps:
        await plain_memory.facts.undo(fact)
    assert await everything(db) == before
