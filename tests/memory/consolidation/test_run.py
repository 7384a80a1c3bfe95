"""Consolidation on a real database: what is proposed, once, and what becomes of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.errors import Conflict, NotFound
from aegis.memory import Memory
from aegis.memory.models import NewEpisode

if TYPE_CHECKING:
    from aegis.db import Database
    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
DISK = (
    "The disk of db1 filled up during the nightly backup.",
    "During the nightly backup the disk of db1 filled up again.",
    "db1: disk filled up during the nightly backup",
)
OTHERS = (
    "Moved the billing service to the new cluster without downtime.",
    "Ann asked for the quarterly figures by Friday.",
    "The login page loads in half the time since images are cached.",
)


def episodes(texts: Any, event_type: str = "error", first: datetime = START) -> list[NewEpisode]:
    return [
        NewEpisode(
            event_type=event_type,
            summary=text,
            timestamp=first + timedelta(days=n),
            session_id=f"s{n}",
            source_id=f"{event_type}:{first.isoformat()}:{n}",
        )
        for n, text in enumerate(texts)
    ]


@pytest.fixture
async def filled(memory: Memory) -> Memory:
    await memory.record_many(episodes(DISK))
    await memory.record_many(episodes(OTHERS, "note"))
    return memory


async def rows(db: Database, query: str) -> list[Any]:
    async with db.transaction() as conn:
        return await (await conn.execute(query.encode())).fetchall()


async def state_of_facts(db: Database) -> list[Any]:
    return await rows(db, "SELECT to_jsonb(f) FROM semantic_memory f ORDER BY id") + await rows(
        db, "SELECT to_jsonb(s) - 'id' FROM fact_sources s ORDER BY id"
    )


async def test_like_episodes_become_one_proposal_with_its_sources(filled: Memory) -> None:
    done = await filled.consolidation.run()
    assert (done.episodes, len(done.proposed), done.grown) == (6, 1, [])
    (proposal,) = await filled.consolidation.proposals()
    assert (proposal.kind, proposal.state, proposal.seen) == ("fact", "proposed", 3)
    assert proposal.sources == [1, 2, 3]
    assert "seen 3 times from 2026-01-05 to 2026-01-07" in proposal.content
    assert proposal.content.rpartition(" (")[0] in DISK
    assert 0 < proposal.score < 0.95


async def test_a_rerun_over_the_same_evidence_proposes_nothing(filled: Memory) -> None:
    await filled.consolidation.run()
    before = await filled.consolidation.proposals(state=None)
    again = await filled.consolidation.run()
    assert (again.episodes, again.proposed, again.grown) == (0, [], [])
    everything = await filled.consolidation.run(since=START - timedelta(days=1))
    assert (everything.episodes, everything.proposed, everything.grown) == (6, [], [])
    assert await filled.consolidation.proposals(state=None) == before


async def test_a_dry_run_writes_nothing(filled: Memory, db: Database) -> None:
    done = await filled.consolidation.run(dry_run=True)
    assert [d.sources for d in done.drafts] == [(1, 2, 3)]
    assert await rows(db, "SELECT 1 FROM memory_proposals") == []
    assert await rows(db, "SELECT 1 FROM memory_consolidation") == []


async def test_fresh_memories_are_found_while_a_run_goes_on_and_after_it(
    filled: Memory, db: Database
) -> None:
    before = await rows(db, "SELECT to_jsonb(e) FROM episodic_memory e ORDER BY id")
    seen: list[list[int]] = []

    class Watching:
        async def complete(self, system: str, user: str, *, json_schema: Any) -> str:
            fresh = await filled.record("error", "The disk of db1 is full, right now.")
            hits = await filled.recall("disk of db1 full right now")
            seen.append([fresh.id, *(hit.episode.id for hit in hits)])
            return "no JSON"

    await filled.consolidation.run(model=Watching())
    assert len(seen) == 1
    assert seen[0][0] == seen[0][1]
    assert {1, 2, 3} < set(seen[0])
    hits = await filled.recall("disk of db1 filled up")
    assert {1, 2, 3, seen[0][0]} <= {hit.episode.id for hit in hits}
    after = await rows(db, "SELECT to_jsonb(e) FROM episodic_memory e ORDER BY id LIMIT 6")
    assert after == before


async def test_accepting_makes_a_fact_and_undo_takes_exactly_that_back(
    filled: Memory, db: Database
) -> None:
    await filled.consolidation.run()
    (proposal,) = await filled.consolidation.proposals()
    old = await filled.facts.record(proposal.concept, proposal.content.replace("3", "2"))
    before = await state_of_facts(db)
    accepted = await filled.consolidation.accept(proposal.id, actor="me")
    assert (accepted.state, accepted.decided_by) == ("accepted", "me")
    assert accepted.fact_id is not None
    fact = await filled.facts.get(accepted.fact_id)
    assert (fact.source, fact.category) == ("consolidation", "fact")
    assert (await filled.facts.get(old.id)).superseded_by == fact.id
    said = await filled.facts.sources(fact.id)
    assert [s.content for s in said] == list(DISK)
    assert [s.source_id for s in said] == ["episode:1", "episode:2", "episode:3"]
    with pytest.raises(Conflict, match="accepted already"):
        await filled.consolidation.accept(proposal.id)

    undone = await filled.consolidation.undo(proposal.id)
    assert (undone.state, undone.fact_id) == ("undone", None)
    assert await state_of_facts(db) == before
    with pytest.raises(Conflict, match="only an accepted one"):
        await filled.consolidation.undo(proposal.id)
    again = await filled.consolidation.accept(proposal.id)
    assert again.state == "accepted"


async def test_accepting_what_is_known_makes_that_surer_and_undo_takes_it_back(
    filled: Memory, db: Database
) -> None:
    await filled.consolidation.run()
    (proposal,) = await filled.consolidation.proposals()
    known = await filled.facts.record(
        proposal.concept, proposal.content, source="ops", confidence=0.5
    )
    before = await state_of_facts(db)
    accepted = await filled.consolidation.accept(proposal.id)
    assert accepted.fact_id == known.id
    assert (await filled.facts.get(known.id)).confidence > 0.5
    await filled.consolidation.undo(proposal.id)
    assert await state_of_facts(db) == before


async def test_a_fact_that_changed_since_is_not_taken_back(filled: Memory) -> None:
    await filled.consolidation.run()
    (proposal,) = await filled.consolidation.proposals()
    accepted = await filled.consolidation.accept(proposal.id)
    assert accepted.fact_id is not None
    await filled.facts.update(accepted.fact_id, category="ours")
    with pytest.raises(Conflict, match="was updated after"):
        await filled.consolidation.undo(proposal.id)
    assert (await filled.facts.get(accepted.fact_id)).category == "ours"
    await filled.facts.undo(accepted.fact_id)
    assert (await filled.consolidation.undo(proposal.id)).state == "undone"


async def test_more_evidence_makes_a_waiting_proposal_grow(filled: Memory) -> None:
    await filled.consolidation.run()
    await filled.record_many(episodes(DISK[:1], first=START + timedelta(days=30)))
    done = await filled.consolidation.run()
    (proposal,) = await filled.consolidation.proposals(state=None)
    assert (done.proposed, done.grown) == ([], [proposal.id])
    assert proposal.seen == 4
    assert "seen 4 times from 2026-01-05 to 2026-02-04" in proposal.content


async def test_what_was_rejected_comes_back_only_with_twice_the_evidence(filled: Memory) -> None:
    await filled.consolidation.run()
    (first,) = await filled.consolidation.proposals()
    await filled.consolidation.reject(first.id, actor="me")
    for month in (1, 2):
        more = episodes(DISK[:1], first=START + timedelta(days=30 * month))
        await filled.record_many(more)
        assert (await filled.consolidation.run()).proposed == []
    await filled.record_many(episodes(DISK[:1], first=START + timedelta(days=90)))
    done = await filled.consolidation.run()
    (again,) = await filled.consolidation.proposals()
    assert done.proposed == [again.id]
    assert (again.seen, again.concept) == (6, first.concept)


async def test_a_mark_does_not_skip_what_commits_late(
    memory: Memory, db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis.memory.consolidation.run._PATIENCE_S", 0.2)
    insert = "INSERT INTO episodic_memory (event_type, summary, timestamp) VALUES ('error', %s, %s)"
    with psycopg.connect(dsn) as late:
        late.execute(insert, (DISK[0], START))
        await memory.record_many(episodes(DISK[1:], first=START + timedelta(days=1)))
        done = await memory.consolidation.run()
        assert (done.episodes, done.proposed, done.done_to) == (2, [], 0)
        assert "writing" in done.notes[0]
        late.commit()
    done = await memory.consolidation.run()
    assert (done.episodes, len(done.proposed), done.notes) == (3, 1, [])
    assert done.done_to == 3


async def test_a_writer_who_ends_is_waited_for(memory: Memory, dsn: str) -> None:
    with psycopg.connect(dsn) as late:
        late.execute(
            "INSERT INTO episodic_memory (event_type, summary) VALUES ('error', 'the late one')"
        )
        running = asyncio.create_task(memory.consolidation.run())
        await asyncio.sleep(0)
        while not await _waits(dsn):
            await asyncio.sleep(0.01)
        late.commit()
    done = await running
    assert (done.episodes, done.done_to, done.notes) == (1, 1, [])


async def _waits(dsn: str) -> bool:
    """Return whether a run holds its lock."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
        return bool(row and row[0])


async def test_a_killed_run_goes_on_where_it_was(
    memory: Memory, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis.memory.consolidation.run._SLICE", 2)
    await memory.record_many(episodes([*DISK, *OTHERS]))

    class Killed(Exception):
        pass

    def stop(seen: int) -> None:
        if seen == 4:
            raise Killed

    with pytest.raises(Killed):
        await memory.consolidation.run(on_progress=stop)
    assert await rows(db, "SELECT done_to, finished_at FROM memory_consolidation") == [(4, None)]
    done = await memory.consolidation.run()
    assert done.episodes == 2
    (proposal,) = await memory.consolidation.proposals()
    assert (proposal.sources, proposal.seen) == ([1, 2, 3], 3)


async def test_two_runs_at_once_exclude_each_other(filled: Memory) -> None:
    class Nested:
        async def complete(self, system: str, user: str, *, json_schema: Any) -> str:
            with pytest.raises(Conflict, match="under way"):
                await filled.consolidation.run()
            # Another namespace is another matter.
            await filled.consolidation.run(namespace="other")
            return "{}"

    done = await filled.consolidation.run(model=Nested())
    assert len(done.proposed) == 1


async def test_junk_is_not_consolidated(memory: Memory) -> None:
    beats = [f"Heartbeat {n}: all systems operational" for n in range(20)]
    await memory.record_many(episodes(beats, "heartbeat"))
    await memory.record_many(episodes(["ok"] * 5, "note"))
    await memory.record_many(episodes(["As an AI language model I cannot do that."] * 5, "chat"))
    first = await memory.record("learning", "Always run the database migrations before deploying.")
    block = await memory.context("migrations before deploying")
    for n in range(5):
        await memory.record("learning", f"{block.text} (loop {n})")
    await memory.record("learning", first.summary)
    done = await memory.consolidation.run()
    assert (done.proposed, done.episodes) == ([], 31)


async def test_preferences_patterns_and_remedies_are_told_apart(memory: Memory) -> None:
    await memory.record_many(
        episodes(
            [
                "Ann prefers short answers without any introduction.",
                "Ann prefers short answers, without an introduction.",
            ],
            "preference",
        )
    )
    files = ["rounding was wrong", "a test is missing", "too slow for large orders", "unused code"]
    await memory.record_many(
        episodes([f"Review of billing/prices.py: {text}" for text in files], "review")
    )
    failed = "The import worker crashed with out of memory on large files"
    fixed = "Fixed by raising the memory limit of the import worker to 4 GB"
    trouble: list[NewEpisode] = []
    for n in range(2):
        at = START + timedelta(days=40 + n)
        for kind, text, minutes in (("error", failed, 0), ("fix", fixed, 30)):
            trouble.append(
                NewEpisode(
                    event_type=kind,
                    summary=f"{text}.",
                    timestamp=at + timedelta(minutes=minutes),
                    session_id=f"trouble{n}",
                    source_id=f"{kind}{n}",
                )
            )
    await memory.record_many(trouble)
    await memory.consolidation.run()
    found = {p.kind: p for p in await memory.consolidation.proposals()}
    assert set(found) == {"preference", "pattern", "remedy"}
    assert "Ann prefers short answers" in found["preference"].content
    assert found["pattern"].concept == "review billing/prices.py"
    assert found["pattern"].seen == 4
    assert failed in found["remedy"].content
    assert f"helped 2 of 2 times: {fixed}" in found["remedy"].content
    assert len(found["remedy"].sources) == 4


async def test_a_pattern_that_was_not_counted_to_its_end_says_so(memory: Memory) -> None:
    # Not by the clock, which a machine would go by.
    times = [START + timedelta(hours=n * n) for n in range(70)]
    verbs = ("slow", "empty", "late", "wrong", "locked", "stale", "huge")
    await memory.record_many(
        [
            NewEpisode(
                event_type="review",
                summary=f"reports.csv was {verbs[n % 7]}, {verbs[n % 5]} and {n} rows long.",
                timestamp=at,
                source_id=f"r{n}",
            )
            for n, at in enumerate(times)
        ]
    )
    await memory.consolidation.run()
    patterns = [p for p in await memory.consolidation.proposals() if p.kind == "pattern"]
    assert [p.concept for p in patterns] == ["review reports.csv"]
    assert "(seen at least 60 times from" in patterns[0].content


async def test_values_that_differ_are_not_counted_as_one(memory: Memory) -> None:
    texts = ["dark mode", "light mode", "high contrast", "green letters"]
    await memory.record_many(
        episodes([f"Ann prefers {text} in the editor." for text in texts], "preference")
    )
    await memory.record_many(
        episodes([f"The disk of db{n} filled up during the backup." for n in range(4)])
    )
    assert (await memory.consolidation.run()).proposed == []


async def test_without_vectors_words_alone_find_what_is_alike(plain_memory: Memory) -> None:
    await plain_memory.record_many(episodes(DISK))
    done = await plain_memory.consolidation.run()
    assert len(done.proposed) == 1


async def test_namespaces_never_meet(memory: Memory) -> None:
    for n, text in enumerate(DISK):
        await memory.record("error", text, namespace=f"n{n}")
    for n in range(3):
        assert (await memory.consolidation.run(namespace=f"n{n}")).proposed == []
    await memory.record_many(episodes(DISK))
    await memory.consolidation.run()
    (proposal,) = await memory.consolidation.proposals()
    with pytest.raises(NotFound):
        await memory.consolidation.accept(proposal.id, namespace="n0")


async def test_only_a_score_that_is_set_accepts_by_itself(
    dsn: str, db: Database, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    for accept_from, accepted in ((0.0, 0), (0.95, 0), (0.1, 1)):
        monkeypatch.setattr(
            db, "settings", replace(db.settings, consolidate_accept_from=accept_from)
        )
        memory = Memory(db, embedder, namespace=f"from {accept_from}")
        await memory.record_many(episodes(DISK))
        done = await memory.consolidation.run()
        assert (len(done.proposed), len(done.accepted)) == (1, accepted)
        assert len(await memory.facts.list()) == accepted
