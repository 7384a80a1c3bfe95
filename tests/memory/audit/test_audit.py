"""The audit on a real database: what it finds, and repairs that can be taken back."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.memory import Memory
from aegis.memory.audit.report import CHECKS, REPAIRABLE
from aegis.memory.models import NewEpisode, NewFact
from tests.memory.audit.corpus import REAL, corpus, real_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database
    from aegis.memory.audit.report import AuditReport, Finding
    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")

NOW = datetime.now(UTC)


def finding(report: AuditReport, kind: str) -> Finding:
    found = [f for f in report.findings if f.id == kind]
    assert len(found) == 1, [f.id for f in report.findings]
    return found[0]


async def run_sql(db: Database, query: str, **params: Any) -> list[Any]:
    async with db.transaction() as conn:
        cursor = await conn.execute(query.encode(), params)
        return await cursor.fetchall() if cursor.description is not None else []


async def everything(db: Database) -> list[Any]:
    return [
        await run_sql(db, f"SELECT to_jsonb(t) FROM {table} t ORDER BY 1")
        for table in ("episodic_memory", "semantic_memory", "decision_episodes")
    ]


async def test_nearly_all_junk_of_a_store_full_of_it_is_found_and_hardly_anything_else(
    plain_memory: Memory,
) -> None:
    made = corpus()
    assert len(made.real) == REAL
    recorded = await plain_memory.record_many(made.episodes)
    real = {recorded.ids[place] for place in made.real}
    report = await plain_memory.audit.run()
    assert (report.episodes, report.looked_at, report.notes) == (10_134, 10_134, [])
    flagged: set[int] = set()
    kinds = [f.id for f in report.findings if f.id.startswith(("junk_", "duplicates_"))]
    for kind in kinds:
        done = await plain_memory.audit.repair(kind)
        assert done.dry_run
        assert done.rows == finding(report, kind).count
    assert await plain_memory.count() == 10_134

    # Before any repair no noise comes first: every answer has something real in it.
    chance = random.Random(1)
    texts = real_texts()
    asked = chance.sample(texts, 40)
    for text in asked:
        first = (await plain_memory.recall(_question(text), k=5))[0].episode
        assert any(kept in first.summary for kept in texts), first.summary

    for kind in kinds:
        await plain_memory.audit.repair(kind, dry_run=False)
    for after in range(0, 20_000, 1_000):
        page = await plain_memory.audit.quarantined(limit=1_000, after=after)
        flagged |= {entry.source_row_id for entry in page}
    junk = set(recorded.ids) - real
    assert len(flagged & junk) >= 0.95 * len(junk)
    assert len(flagged & real) <= 0.01 * len(real)
    # What is asked for now comes first, and as it was recorded.
    firsts = [(await plain_memory.recall(_question(t), k=5))[0].episode.summary for t in asked]
    assert sum(text == first for text, first in zip(asked, firsts, strict=True)) >= 38


def _question(text: str) -> str:
    return text.partition(", as the")[0]


async def test_an_empty_memory_has_nothing_to_find(memory: Memory) -> None:
    report = await memory.audit.run()
    assert (report.episodes, report.findings, report.notes) == (0, [], [])


async def test_a_healthy_memory_has_nothing_to_find(memory: Memory) -> None:
    for text in real_texts()[:30]:
        await memory.record("note", text)
    await memory.facts.record("Ann", "lives in Rome")
    await memory.facts.record("Ann", "likes tea")
    report = await memory.audit.run()
    assert report.findings == []


async def test_each_repair_is_dry_until_it_is_asked_for(memory: Memory, db: Database) -> None:
    await _spoil(memory, db)
    before = await everything(db)
    for kind in REPAIRABLE:
        done = await memory.audit.repair(kind)
        assert (done.dry_run, done.undo) == (True, None)
    assert await everything(db) == before


async def test_what_is_deleted_or_overwritten_comes_back_as_it_was(
    memory: Memory, db: Database
) -> None:
    await _spoil(memory, db)
    report = await memory.audit.run()
    found = {f.id for f in report.findings}
    # The rest is asked for below, or needs a large namespace.
    assert found >= set(CHECKS) - _ELSEWHERE, found
    kinds = [
        *(kind for kind in CHECKS if kind.startswith(("junk_", "duplicates_"))),
        *("orphans_related", "vectors_other_model", "namespaces_similar", "future_timestamps"),
    ]
    for kind in kinds:
        before = await everything(db)
        done = await memory.audit.repair(kind, dry_run=False)
        assert done.rows >= 1, kind
        assert await everything(db) != before
        again = await memory.audit.repair(kind)
        assert again.rows == done.held, kind
        assert await memory.audit.restore(kind=kind) == done.rows
        assert await everything(db) == before, kind
        assert await memory.audit.quarantined(kind=kind) == []


_ELSEWHERE = {"facts_stale", "terms_stale", "namespaces_skew", "vectors_dimensions"}


async def _spoil(memory: Memory, db: Database) -> None:
    """Record at least one of what every check finds."""
    said = "The staging cluster was moved to the new rack over the weekend."
    first = await memory.record("note", said)
    await memory.record("note", "The garden of the office has three apple trees and a bench.")
    await memory.decisions.record(
        "Where?",
        alternatives=["here"],
        chosen_option="here",
        reasoning="near",
        episodes=[first.id],
    )
    block = await memory.context("staging cluster rack")
    echo = await memory.record("note", block.text)
    await memory.record_many(
        [
            *(NewEpisode(event_type="ping", summary=f"ping {n}") for n in range(4)),
            NewEpisode(event_type="chat", summary="As an AI language model I cannot do that."),
            NewEpisode(event_type="tool", summary='{"rows": [' + "1, " * 100 + "1]}"),
            NewEpisode(event_type="note", summary="ok"),
            NewEpisode(event_type="note", summary=said, related_memories=[echo.id, 99_999]),
            NewEpisode(event_type="note", summary=f"{said[:-1]} again."),
            NewEpisode(
                event_type="note",
                summary="The fair opens its doors in spring.",
                timestamp=NOW + timedelta(days=30),
            ),
            NewEpisode(event_type="note", summary="Rooms are booked online.", namespace="Default"),
        ]
    )
    for content in ("lives in Rome", "lives in Paris"):
        await memory.facts.record_as_given(NewFact(concept="Ann", content=content))
    await memory.facts.record_as_given(
        NewFact(
            concept="fair",
            content="is open",
            valid_from=NOW - timedelta(days=9),
            valid_to=NOW - timedelta(days=2),
        )
    )
    await run_sql(
        db,
        "INSERT INTO semantic_memory (concept, content, superseded_by, valid_to) "
        "VALUES ('old', 'was', 4711, now())",
    )
    await run_sql(
        db,
        "INSERT INTO decision_outcomes (task_context, alternatives, chosen_option, reasoning, "
        "created_at) VALUES ('t', '[\"a\"]', 'a', 'r', now() - interval '200 days')",
    )
    await run_sql(
        db,
        "INSERT INTO episodic_memory (event_type, summary, embedding, embedding_model) VALUES "
        "('note', 'Glass is recycled on Mondays.', '[1,2,3]', 'other'), "
        "('note', 'Batteries go to the reception desk.', NULL, NULL)",
    )


async def test_a_row_that_a_decision_belongs_to_stays(memory: Memory) -> None:
    said = "The staging cluster was moved to the new rack over the weekend."
    await memory.record_many([NewEpisode(event_type="note", summary=said)] * 2)
    await memory.decisions.record(
        "Where?", alternatives=["here"], chosen_option="here", reasoning="near", episode_id=2
    )
    done = await memory.audit.repair("duplicates_exact", dry_run=False)
    assert (done.rows, done.held) == (0, 1)
    assert (await memory.get(2)).summary == said


async def test_links_of_decisions_come_back_with_their_episode(
    memory: Memory, db: Database
) -> None:
    said = "The staging cluster was moved to the new rack over the weekend."
    await memory.record_many([NewEpisode(event_type="note", summary=said)] * 2)
    decision = await memory.decisions.record(
        "Where?", alternatives=["here"], chosen_option="here", reasoning="near", episodes=[2]
    )
    await memory.audit.repair("duplicates_exact", dry_run=False)
    assert (await memory.decisions.get(decision.id)).episodes == []
    (entry,) = await memory.audit.quarantined()
    assert "embedding" not in entry.content
    await memory.audit.restore([entry.id])
    assert await memory.decisions.get(decision.id) == decision
    assert (await memory.get(2)).embedded


async def test_what_cannot_be_restored_stays_in_quarantine(memory: Memory) -> None:
    said = "The staging cluster was moved to the new rack over the weekend."
    keyed = [NewEpisode(event_type="note", summary=said, source_id=f"k{n}") for n in range(2)]
    await memory.record_many(keyed)
    await memory.audit.repair("duplicates_exact", dry_run=False)
    await memory.record("note", "Somebody else took the key meanwhile.", source_id="k1")
    (entry,) = await memory.audit.quarantined()
    with pytest.raises(Conflict, match="taken by another"):
        await memory.audit.restore([entry.id])
    assert await memory.audit.restore(kind="duplicates_exact") == 0
    assert await memory.audit.quarantined() == [entry]
    with pytest.raises(NotFound):
        await memory.audit.restore([entry.id + 1])
    with pytest.raises(NotFound):
        await memory.audit.restore([entry.id], namespace="other")
    with pytest.raises(InvalidInput, match="or one kind"):
        await memory.audit.restore()


async def test_a_summary_that_changed_after_it_was_judged_is_not_deleted(
    memory: Memory, db: Database
) -> None:
    from aegis.memory.store import quarantine

    await memory.record_many([NewEpisode(event_type="note", summary="ok")])
    async with db.transaction() as conn:
        gone = await quarantine.put_aside(
            conn, [1], ["another digest"], kind="junk_empty", reasons=["r"]
        )
    assert gone == 0
    assert (await memory.get(1)).summary == "ok"


async def test_the_newer_of_contradicting_facts_holds_and_the_step_can_be_undone(
    memory: Memory, db: Database
) -> None:
    old = await memory.facts.record_as_given(NewFact(concept="Ann", content="lives in Rome"))
    new = await memory.facts.record_as_given(NewFact(concept="Ann", content="lives in Paris"))
    before = await everything(db)
    report = await memory.audit.run()
    found = finding(report, "contradictions")
    assert (found.severity, found.count, found.examples[0].id) == ("error", 1, old.id)
    done = await memory.audit.repair("contradictions", dry_run=False, actor="me")
    assert (done.rows, done.held) == (1, 0)
    assert [f.id for f in await memory.facts.list()] == [new.id]
    ended = await memory.facts.get(old.id)
    assert ended.superseded_by == new.id
    assert (await memory.audit.repair("contradictions")).rows == 0
    await memory.facts.undo(old.id)
    assert await everything(db) == before


async def test_missing_vectors_are_filled_in(memory: Memory, db: Database) -> None:
    await run_sql(db, "INSERT INTO episodic_memory (event_type, summary) VALUES ('n', 'a b c d')")
    assert finding(await memory.audit.run(), "vectors_missing").count == 1
    done = await memory.audit.repair("vectors_missing", dry_run=False)
    assert (done.rows, done.undo) == (1, None)
    assert (await memory.audit.run()).findings == []


class Short:
    """An embedder whose endpoint once gave shorter vectors under the same name."""

    model, dimensions = "custom/4", 4

    async def embed(self, texts: Sequence[str]) -> Any:
        import numpy as np

        return np.full((len(texts), 4), 0.5, np.float32)


async def test_vectors_of_a_wrong_length_are_made_anew(db: Database) -> None:
    memory = Memory(db, cast("Embedder", Short()), namespace="default")
    await memory.record("note", "Paper is collected every Tuesday.")
    await run_sql(db, "UPDATE episodic_memory SET embedding = '[1,2,3]'")
    found = finding(await memory.audit.run(), "vectors_dimensions")
    assert (found.severity, found.count) == ("error", 1)
    before = await everything(db)
    assert (await memory.audit.repair("vectors_dimensions", dry_run=False)).rows == 1
    assert await memory.backfill() == 1
    assert (await memory.audit.run()).findings == []
    await memory.audit.restore(kind="vectors_dimensions")
    assert await everything(db) == before


async def test_without_an_embedder_vectors_are_nobodys_fault(plain_memory: Memory) -> None:
    await plain_memory.record("note", "Paper is collected every Tuesday.")
    assert (await plain_memory.audit.run()).findings == []
    with pytest.raises(InvalidInput, match="no embedder"):
        await plain_memory.audit.repair("vectors_missing")
    with pytest.raises(InvalidInput, match="use one of"):
        await plain_memory.audit.repair("facts_missing")


async def test_a_namespace_is_audited_alone(memory: Memory) -> None:
    for place in ("one", "two"):
        await memory.record("note", "ok", namespace=place)
    report = await memory.audit.run(namespace="two")
    assert (report.episodes, report.looked_at) == (1, 1)
    found = finding(report, "junk_empty")
    assert [e.namespace for e in found.examples] == ["two"]
    assert "--namespace two" in found.repair
    await memory.audit.repair("junk_empty", namespace="two", dry_run=False)
    assert await memory.count(namespace="one") == 1
    assert await memory.count(namespace="two") == 0


async def test_skew_and_stale_facts_are_told(memory: Memory, db: Database) -> None:
    await memory.record_many(
        [NewEpisode(event_type="note", summary=text) for text in real_texts()[:60]]
    )
    for place in ("a", "b"):
        await memory.record("note", "Paper is collected every Tuesday.", namespace=place)
    await memory.facts.record("paper", "is collected on Tuesdays")
    await run_sql(db, "UPDATE semantic_memory SET updated_at = now() - interval '2 years'")
    await run_sql(
        db, "INSERT INTO memory_namespaces VALUES ('default', 10, 5, now() - interval '99 days')"
    )
    report = await memory.audit.run()
    assert {f.id for f in report.findings} == {"namespaces_skew", "facts_stale", "terms_stale"}
    assert finding(report, "namespaces_skew").examples[0].namespace == "default"
    for kind in ("terms_stale", "facts_stale", "namespaces_skew"):
        assert (await memory.audit.repair(kind, dry_run=False)).rows == 1
    assert (await memory.audit.run()).findings == []


async def test_a_check_that_takes_too_long_is_left_out_and_named(
    memory: Memory, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.record("note", "ok")
    monkeypatch.setattr("aegis.memory.audit.run._LIMIT_MS", 200)
    with psycopg.connect(dsn) as other:
        other.execute("LOCK TABLE semantic_memory IN ACCESS EXCLUSIVE MODE")
        report = await memory.audit.run()
    assert any(note.startswith("contradictions was not finished") for note in report.notes)
    assert finding(report, "junk_empty").count == 1


async def test_a_large_table_is_sampled_and_says_so(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis.memory.audit.run.WINDOW", 40)
    texts = [text if n % 2 else "ok" for n, text in enumerate((real_texts() * 2)[:400])]
    await memory.record_many([NewEpisode(event_type="note", summary=text) for text in texts])
    report = await memory.audit.run()
    assert report.looked_at == 120
    found = finding(report, "junk_empty")
    assert (found.sampled, found.note) == (True, "120 of 400 texts were read.")
    assert 180 <= found.count <= 220
