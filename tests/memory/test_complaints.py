"""What users of other memories complain of, and what no test of one part alone shows.

Junk, contradictions, slow second stages and holes while memories are put in order are tested where
each is done: `audit/`, `test_echoes`, `test_fact_learning`, `reranking/`, `consolidation/`.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest

import aegis
from aegis.config import load_settings
from aegis.db import Database
from aegis.memory import Memory
from aegis.memory.models import NewEpisode
from aegis.wire.plain import plain
from tests.memory.change.conftest import WordEmbedder
from tests.memory.conftest import LARGE
from tests.memory.endpoint import Endpoint, Reply, serving
from tests.memory.filling import indexed_afterwards

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.config import Settings
    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")


@pytest.fixture
def language_model() -> Iterator[Endpoint]:
    """A language model that is configured, and notes whoever asks it."""
    answer = Reply(body=json.dumps({"choices": [{"message": {"content": "{}"}}]}).encode())
    with serving(Endpoint(url="", answer=lambda _: answer)) as running:
        yield running


class Calls(WordEmbedder):
    """An embedder that counts how often it is asked, not only for what."""

    def __init__(self) -> None:
        super().__init__("words/64", 64)
        self.calls = 0

    async def embed(self, texts: Any) -> Any:
        self.calls += 1
        return await super().embed(texts)


async def test_recording_asks_no_language_model_and_the_embedder_once_for_many(
    dsn: str, tmp_path: Path, language_model: Endpoint
) -> None:
    settings = replace(
        load_settings({}, data_dir=tmp_path),
        llm_url=language_model.url,
        llm_model="m",
        embedder="none",
    )
    embedder: Any = Calls()
    async with aegis.connect(dsn, settings=settings) as client:
        memory = Memory(client.db, embedder, namespace="default")
        await memory.record_many(
            NewEpisode(event_type="note", summary=f"Room {n} of the mill has {n * 7} chairs.")
            for n in range(300)
        )
        assert await memory.count() == 300
        assert len(embedder.asked) == 300
        assert embedder.calls <= 5
        embedder.calls = 0
        await memory.record("note", "The mill is painted green.")
        await memory.facts.record("mill", "has 300 rooms", source="chat")
        await memory.decisions.record(
            "Paint?", alternatives=["green", "red"], chosen_option="green", reasoning="calm"
        )
        assert embedder.calls == 3
        await memory.recall("chairs of room 7")
        await memory.audit.run()
        assert embedder.calls == 4
    assert language_model.asked == []


async def test_everything_that_is_known_stands_in_the_one_database(
    dsn: str, tmp_path: Path, embedder: Embedder
) -> None:
    async def told(folder: str) -> list[Any]:
        settings = load_settings({}, data_dir=tmp_path / folder)
        async with aegis.connect(dsn, settings=settings) as client:
            memory = client.memory
            hits = await memory.recall("where does Anna live", k=5)
            return [
                # A score has the age of a memory in it.
                [(hit.episode.id, round(hit.score, 3), hit.why) for hit in hits],
                plain(await memory.facts.list()),
                plain(await memory.facts.history(1)),
                plain(await memory.facts.sources(1)),
                plain((await memory.decisions.advise("Where shall we meet?")).options),
                plain(await memory.graph.neighbours("email:ops@example.com")),
                plain(await memory.audit.quarantined()),
                plain(await memory.items.get(["people"], "anna")),
                plain(await memory.consolidation.proposals()),
            ]

    first = load_settings({}, data_dir=tmp_path / "one")
    async with aegis.connect(dsn, settings=first) as client:
        memory = client.memory
        await memory.record("note", "Anna lives in Rome; mail ops@example.com.")
        for text in ("ok", "The disk of db1 filled up.", "The disk of db1 filled up again."):
            await memory.record("error", text)
        await memory.record("error", "The disk of db1, once more, filled up.")
        await memory.facts.record("Anna", "lives in Rome", source="chat", confidence=0.5)
        await memory.facts.record("Anna", "lives in Rome", source="mail", confidence=0.5)
        await memory.facts.record("Anna", "lives in Oslo")
        made = await memory.decisions.record(
            "Where to meet?", alternatives=["park"], chosen_option="park", reasoning="sun"
        )
        await memory.decisions.resolve(made.id, "success")
        await memory.items.put(["people"], "anna", {"likes": "tea"})
        await memory.graph.build()
        await memory.consolidation.run()
        await memory.audit.repair("junk_empty", dry_run=False)
    there = await told("one")
    # Another machine: nothing of the first one's folder is there.
    assert await told("two") == there
    assert all(there)


async def test_a_tenant_beside_a_large_one_costs_what_its_own_rows_cost(
    large_db: Database, embedder: Embedder, settings: Settings
) -> None:
    async with large_db.transaction() as conn:
        dsn = conn.info.dsn
    one = replace(settings, pool_min_size=1, pool_max_size=1)
    counted = b"""
        SELECT (seq_tup_read + idx_tup_fetch)::int
        FROM pg_stat_user_tables
        WHERE relname = 'episodic_memory'
    """
    async with await Database.open(dsn, one) as db:
        memory = Memory(db, embedder, namespace="small")
        seen: list[int] = []
        for _ in range(2):
            async with db.transaction() as conn:
                await conn.execute("SELECT pg_stat_force_next_flush()")
            async with db.transaction() as conn:
                row = await (await conn.execute(counted)).fetchone()
                assert row is not None
                seen.append(row[0])
            if len(seen) == 1:
                for mode in ("hybrid", "text", "vector", "time"):
                    vector = np.ones(384).tolist()
                    hits = await memory.recall("common word3", mode=mode, vector=vector, k=10)
                    assert len(hits) == 10
                await memory.recall("rare7", k=10, event_types=["note"])
                await memory.list(limit=20)
                await memory.count()
    # Seven questions of a namespace of 40, in a table of some thousands.
    assert seen[1] - seen[0] < LARGE / 2


async def test_of_many_namespaces_in_one_graph_each_gives_as_many_as_are_asked_for(
    db: Database, dsn: str, embedder: Embedder
) -> None:
    rng = np.random.default_rng(3)
    sizes = (20, 25, 40, 80, 150, 300, 600, 1_200, 2_100, 2_500)
    rows = [(n, i) for n, size in enumerate(sizes) for i in range(size)]
    random.Random(4).shuffle(rows)
    memory = Memory(db, embedder, namespace="default")
    vectors = rng.standard_normal((len(rows), 384))
    with (
        psycopg.connect(dsn, autocommit=True) as conn,
        indexed_afterwards(conn, "idx_episodic_embedding_minilm"),
    ):
        await memory.record_many(
            NewEpisode(
                event_type="note",
                summary=f"common word{i % 7} rare{i}",
                namespace=f"tenant{n}",
                embedding=vector.tolist(),
                embedding_model=embedder.model,
            )
            for (n, i), vector in zip(rows, vectors, strict=True)
        )
    for n in range(len(sizes)):
        for question in rng.standard_normal((5, 384)):
            for mode in ("vector", "hybrid", "text"):
                hits = await memory.recall(
                    "common word3",
                    vector=question.tolist(),
                    mode=mode,
                    k=20,
                    namespace=f"tenant{n}",
                )
                assert len({hit.episode.id for hit in hits}) == 20
                assert {hit.episode.namespace for hit in hits} == {f"tenant{n}"}


async def test_one_word_that_a_memory_holds_finds_it_among_many_that_none_does(
    memory: Memory, plain_memory: Memory
) -> None:
    for n in range(60):
        await memory.record("note", f"Yesterday we spoke about the plans of team {n} at length.")
    # By its words alone: it has no vector, and shares no other word.
    found = await plain_memory.record("note", "Zyzzogeton hides beneath bark.")
    question = "Tell me, please, what the visitor from overseas reported regarding zyzzogeton today"
    (hit, *_) = await memory.recall(question, k=5)
    assert hit.episode.id == found.id
    assert "words" in [part.arm for part in hit.parts if part.rank == 1]
    # And by meaning alone, where no word is shared.
    meant = await memory.record("note", "The storage ran out of space.")
    (hit, *_) = await memory.recall("Is the disk full?", k=5)
    assert hit.episode.id == meant.id
    assert "words" not in [part.arm for part in hit.parts]
