"""What expires, what fades, and what does neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from aegis.db import Database
from aegis.errors import InvalidInput, NotFound
from aegis.memory import Memory, NewEpisode, NewFact
from aegis.memory.retention import forgetting
from tests.memory.retention.conftest import age
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")

NOW = datetime.now(UTC)
PAST = NOW - timedelta(days=1)
FUTURE = NOW + timedelta(days=1)


async def test_what_expired_is_found_by_no_mode_and_no_list(memory: Memory) -> None:
    kept = await memory.record("note", "the red fox sleeps", expires_at=FUTURE)
    gone = await memory.record("note", "the red fox hunts", expires_at=PAST)
    for mode in ("hybrid", "vector", "text", "time"):
        hits = await memory.recall("red fox", mode=mode)  # pyright: ignore[reportArgumentType]
        assert [hit.episode.id for hit in hits] == [kept.id]
    assert [e.id for e in await memory.list()] == [kept.id]
    assert await memory.count() == 1
    assert (await memory.context("red fox")).ids == [kept.id]
    # By its id it can still be given a longer life.
    await memory.update(gone.id, expires_at=FUTURE)
    assert len(await memory.recall("red fox")) == 2


async def test_facts_expire_too(plain_memory: Memory) -> None:
    facts = plain_memory.facts
    await facts.record("tea", "no sugar", ttl="1d")
    gone = await facts.record("coffee", "no sugar", expires_at=PAST)
    assert [hit.fact.concept for hit in await facts.recall("sugar")] == ["tea"]
    assert [fact.concept for fact in await facts.list()] == ["tea"]
    report = await plain_memory.retention.sweep()
    assert report.deleted == 1
    with pytest.raises(NotFound):
        await facts.history(gone.id)


async def test_sweep_deletes_archives_and_leaves_what_is_needed(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    other = Memory(db, None, namespace="b")
    await memory.retention.set_policy("1d", event_type="log", action="archive")
    ids = (
        await memory.record_many(
            [
                NewEpisode(event_type=kind, summary=f"{kind} {n}", expires_at=PAST)
                for kind in ("log", "note")
                for n in range(3)
            ]
        )
    ).ids
    held = await memory.record("note", "held", expires_at=PAST)
    await memory.retention.hold(held.id, "a dispute")
    why = await memory.record("note", "evidence", expires_at=PAST)
    await memory.decisions.record(
        "t", alternatives=["x"], chosen_option="x", reasoning="r", episodes=[why.id]
    )
    await other.record("note", "elsewhere", expires_at=PAST)
    plan = await memory.retention.plan()
    assert (plan.expired, plan.blocked) == ({"episode": 8}, 2)
    report = await memory.retention.sweep()
    assert (report.deleted, report.archived) == (3, 3)
    left = await rows(db, "SELECT id FROM episodic_memory WHERE expires_at < now() ORDER BY id")
    assert [row[0] for row in left][:2] == [held.id, why.id]
    assert (await memory.archives.list())[0].reason == "expired"
    assert [a.id for a in await memory.archives.list(memory_id=ids[0])] == [report.archives[0].id]
    assert (await memory.retention.sweep(everywhere=True)).deleted == 1


async def test_more_than_a_batch_is_swept(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    await memory.record_many(
        [NewEpisode(event_type="x", summary=f"s{n}", expires_at=PAST) for n in range(1_203)]
    )
    assert (await memory.retention.sweep()).deleted == 1_203


async def test_policy_sets_the_end_of_new_ones_and_of_old_ones_if_asked(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    old = await memory.record("log", "old")
    policy, applied = await memory.retention.set_policy("30d", event_type="log")
    assert (policy.ttl_s, applied) == (30 * 86_400, 0)
    new = await memory.record("log", "new")
    (many,) = (await memory.record_many([NewEpisode(event_type="log", summary="many")])).ids
    other = await memory.record("note", "other")
    ends = {e.id: e.expires_at for e in await memory.list()}
    assert ends[old.id] is None
    assert ends[other.id] is None
    assert ends[new.id] == pytest.approx(new.created_at + timedelta(days=30), abs=timedelta(1))
    assert ends[many] is not None
    _, applied = await memory.retention.set_policy("30d", event_type="log", apply=True)
    assert applied == 1
    assert (await memory.get(old.id)).expires_at == old.created_at + timedelta(days=30)
    await memory.retention.remove_policy(event_type="log")
    assert await memory.retention.policies() == []
    with pytest.raises(NotFound):
        await memory.retention.remove_policy(event_type="log")


async def test_recall_counts_what_it_returned_and_writes_later(
    memory: Memory, db: Database
) -> None:
    ids = [(await memory.record("note", f"blue whale {word}")).id for word in ("sings", "dives")]
    await memory.recall("blue whale sings", k=1)
    await memory.recall("blue whale sings", k=1)
    await memory.context("blue whale dives", k=2)
    await memory.recall("blue whale", count=False)
    assert await rows(db, "SELECT count(*) FROM memory_usage") == [(0,)]
    before = await rows(db, "SELECT id, xmin::text, ctid::text FROM episodic_memory ORDER BY 1")
    await memory.usage.flush()
    counts = dict(await rows(db, "SELECT episode_id, recall_count FROM memory_usage"))
    assert counts[ids[0]] >= 2
    # The wide row is not written again, so that no index is.
    after = await rows(db, "SELECT id, xmin::text, ctid::text FROM episodic_memory ORDER BY 1")
    assert after == before


async def test_counting_what_was_deleted_meanwhile_does_no_harm(
    plain_memory: Memory, db: Database
) -> None:
    kept, gone = [await plain_memory.record("note", f"n{n} word") for n in range(2)]
    await plain_memory.recall("word", mode="text")
    await plain_memory.delete(gone.id)
    await plain_memory.usage.flush()
    assert await rows(db, "SELECT episode_id FROM memory_usage") == [(kept.id,)]


async def test_decay_takes_what_faded_and_nothing_that_is_needed(db: Database) -> None:
    memory = Memory(db, None, namespace="a")

    async def old(summary: str, importance: str = "low", **fields: object) -> int:
        episode = await memory.record("note", summary, importance=importance, **fields)  # pyright: ignore
        await age(db, [episode.id], 180)
        return episode.id

    faded = await old("faded")
    important = await old("important", "high")
    critical = await old("critical", "critical")
    held = await old("held")
    await memory.retention.hold(held, "why")
    used = await old("used")
    await rows(db, "INSERT INTO memory_usage VALUES (%s, 1, now())", used)
    linked = await old("linked")
    await memory.update(important, related_memories=[linked])
    evidence = await old("evidence")
    decision = await memory.decisions.record(
        "t", alternatives=["x"], chosen_option="x", reasoning="r", episodes=[evidence]
    )
    source = await old("source", source_id="doc:1")
    await memory.facts.record_as_given(NewFact(concept="c", content="d", source_id="doc:1"))
    fresh = (await memory.record("note", "fresh", importance="low")).id
    plan = await memory.retention.plan()
    assert [f.id for f in plan.sample] == [faded]
    assert plan.by_importance == {"low": 1}
    assert plan.protected == {"critical": 1, "held": 1, "decisions": 2}
    assert (await memory.retention.run()).archived == 1
    there = {e.id for e in await memory.list(limit=100)}
    own = decision.episode_id
    assert there == {important, critical, held, used, linked, evidence, source, fresh, own}
    assert (await memory.retention.run()).archives == []


async def test_a_limit_is_kept(db: Database) -> None:
    memory = Memory(db, None, namespace="a")
    found = await memory.record_many(
        [NewEpisode(event_type="x", summary=f"s{n}", importance="low") for n in range(7)]
    )
    await age(db, found.ids, 500)
    assert (await memory.retention.run(limit=3)).archived == 3
    assert (await memory.retention.plan()).faded == 4


async def test_half_lives_are_settings(dsn: str, settings: Settings) -> None:
    slow = replace(settings, forget_half_life_low_days=10_000.0)
    async with await Database.open(dsn, slow, min_size=1) as db:
        memory = Memory(db, None, namespace="a")
        episode = await memory.record("note", "x", importance="low")
        await age(db, [episode.id], 500)
        assert (await memory.retention.plan()).faded == 0


async def test_rows_of_the_seed_without_times_stay(db: Database) -> None:
    memory = Memory(db, None, namespace="default")
    await rows(
        db,
        "INSERT INTO episodic_memory (event_type, summary, timestamp, created_at, importance) "
        "VALUES ('a', 'b', NULL, NULL, 'low'), ('a', 'b', '-infinity', '-infinity', 'low')",
    )
    assert (await memory.retention.plan()).faded == 0


async def test_values_are_checked(plain_memory: Memory) -> None:
    retention = plain_memory.retention
    with pytest.raises(InvalidInput, match="action"):
        await retention.set_policy("1d", action="burn")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="importance"):
        await retention.set_policy("1d", importance="")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="ttl"):
        await plain_memory.record("a", "b", ttl="soon")
    with pytest.raises(InvalidInput, match="both given"):
        await plain_memory.record("a", "b", ttl="1d", expires_at=FUTURE)
    with pytest.raises(NotFound):
        await retention.hold(99, "why")
    with pytest.raises(NotFound):
        await retention.release(99)


async def test_few_left_are_all_returned_from_a_large_namespace(
    large_db: Database, embedder: Embedder
) -> None:
    memory = Memory(large_db, embedder, namespace="default")
    await rows(
        large_db,
        "UPDATE episodic_memory SET expires_at = now() "
        "WHERE namespace = 'default' AND mod(id, 200) > 0",
    )
    left = await memory.count()
    hits = await memory.recall("common word1", k=10)
    assert left == 30
    assert len(hits) == 10
    assert all(hit.episode.expires_at is None for hit in hits)


async def test_what_fades_is_found_page_by_page_and_archived_by_the_page(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(db, None, namespace="a")
    other = Memory(db, None, namespace="b")
    faded: list[int] = []
    for n in range(12):
        # Ids of the other namespace, and what has not faded, lie between.
        await other.record("note", f"elsewhere {n}")
        made = await memory.record("note", f"memory {n}", importance="low")
        if n % 3:
            faded.append(made.id)
    await age(db, faded, 1_000)
    monkeypatch.setattr(forgetting, "_PAGE", 3)
    assert (await memory.retention.plan()).faded == 8
    report = await memory.retention.run()
    assert report.archived == 8
    assert [archive.rows for archive in report.archives] == [3, 3, 2]
    left = await rows(db, "SELECT id FROM episodic_memory WHERE namespace = 'a' ORDER BY id")
    assert len(left) == 4
    assert not {row[0] for row in left} & {*faded}


async def test_sources_of_facts_stay_by_either_key(db: Database, plain_memory: Memory) -> None:
    by_id = await plain_memory.record("note", "by its id", importance="low")
    by_key = await plain_memory.record("note", "by its key", importance="low", source_id="mail:1")
    free = await plain_memory.record("note", "of nothing", importance="low", source_id="mail:2")
    await plain_memory.facts.record("tea", "green", source_id=f"episode:{by_id.id}")
    await plain_memory.facts.record("cake", "none", source_id="mail:1")
    await age(db, [by_id.id, by_key.id, free.id], 1_000)
    assert [f.id for f in (await plain_memory.retention.plan()).sample] == [free.id]
