"""What a change of the embedding model costs at N episodes, with the embedder out of the way.

Vectors of both models are known beforehand, so that only the database's part shows: making the
second vectors, the switch, rows that change places, and recall before, during and after. Beside it,
in the same run, what nobody can ask questions during: one plain `UPDATE … SET embedding` of a copy
of the table, and `CREATE INDEX CONCURRENTLY` on it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg import sql

from aegis.memory.change.work import Pauses
from aegis.memory.service import Memory
from benchmarks.corpus import Corpus
from benchmarks.database import migrated_database
from benchmarks.loading import copy_episodes
from benchmarks.report import timed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from aegis.db import Database
    from aegis.memory.embedding import Vectors

__all__ = ["add_arguments", "run"]

#: Every client here reads the state before each call, so that rows may move at once.
_AT_ONCE = Pauses(move_s=0.0, settle_s=0.0, leave_s=0.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--questions", type=int, default=200)


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    corpus = Corpus(rows=args.rows, dimensions=args.dimensions)
    return asyncio.run(_measure(corpus, args.questions))


class _Known:
    """An embedder that knows the vector of every text that it is asked for."""

    provider = "custom"

    def __init__(self, model: str, vectors: dict[str, Vectors], turn: int) -> None:
        self.model = model
        self._vectors = vectors
        self._turn = turn
        #: For the sentence that a change tries an embedder with.
        self._any = next(iter(vectors.values()))
        self.dimensions = len(self._any)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        # Another model's space: the same distances, no vector like its own.
        return np.stack([np.roll(self._vectors.get(t, self._any), self._turn) for t in texts])

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


async def _measure(corpus: Corpus, count: int) -> dict[str, float]:
    asked = [(text, vector.tolist()) for text, vector in corpus.questions(count)]
    vectors = {text: vector for _, text, vector in corpus.episodes()}
    vectors |= {text: np.asarray(vector, dtype=np.float32) for text, vector in asked}
    old, new = _Known("made-up-old", vectors, 0), _Known("made-up-new", vectors, 7)
    figures: dict[str, float] = {"rows": corpus.rows}
    async with migrated_database() as db:
        await _load(db, corpus, old.model)
        memory = Memory(db, old, namespace="default", next_embedder=new)
        assert memory.embedder is not None
        memory.embedder._fresh_s = 0.0  # pyright: ignore
        memory.models._pauses = _AT_ONCE  # pyright: ignore[reportPrivateUsage]
        await memory.vectors.reindex()

        async def hybrid(text: str, _vector: list[float]) -> object:
            return await memory.recall(text)

        async def nearest(text: str, _vector: list[float]) -> object:
            return await memory.recall(text, mode="vector")

        async def recall(name: str) -> None:
            for text, vector in asked[:10]:
                await hybrid(text, vector)
            figures.update(await timed(f"hybrid.{name}", hybrid, asked))
            figures.update(await timed(f"vector.{name}", nearest, asked))

        await recall("before")
        await memory.models.begin()
        figures["fill_rows_per_s"] = await _rate(memory.models.fill(), corpus.rows)
        started = time.perf_counter()
        await memory.models.switch(samples=20)
        figures["switch_s"] = time.perf_counter() - started
        await recall("switched")
        half = corpus.rows // 2
        moving = await _seconds(memory.models.work(limit=half))
        await recall("half_moved")
        moving += await _seconds(memory.models.work())
        figures["move_rows_per_s"] = corpus.rows / moving
        await recall("moved")
        figures |= await _plain(db, corpus)
    for arm in ("hybrid", "vector"):
        before = figures[f"{arm}.before.p50_ms"]
        for name in ("switched", "half_moved", "moved"):
            figures[f"{arm}.{name}_ratio"] = figures[f"{arm}.{name}.p50_ms"] / before
    figures["move_ratio"] = figures["move_rows_per_s"] / figures["plain_rows_per_s"]
    return figures


async def _rate(work: Any, rows: int) -> float:
    return rows / await _seconds(work)


async def _seconds(work: Any) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _load(db: Database, corpus: Corpus, model: str) -> None:
    async with db.connection() as conn:
        await conn.execute("SET statement_timeout = 0")
        await copy_episodes(conn, corpus, model, lambda _: "default")
        await conn.execute("VACUUM (ANALYZE) episodic_memory")
        await conn.execute("RESET statement_timeout")


async def _plain(db: Database, corpus: Corpus) -> dict[str, float]:
    """Update a copy of the table that has the same indexes but those of vectors; then build one."""
    async with db.connection() as conn:
        await conn.execute("SET statement_timeout = 0")
        await conn.execute("CREATE TABLE plain (LIKE episodic_memory INCLUDING ALL)")
        cursor = await conn.execute(
            """
            SELECT x.indexrelid::regclass::text
            FROM pg_index x
            JOIN pg_class c ON c.oid = x.indexrelid
            JOIN pg_am a ON a.oid = c.relam
            WHERE x.indrelid = 'plain'::regclass
              AND a.amname = 'hnsw'
            """
        )
        for (name,) in await cursor.fetchall():
            await conn.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
        await conn.execute(_COPY_ROWS)
        await conn.execute("VACUUM (ANALYZE) plain")
        updating = await _seconds(conn.execute(_PLAIN_UPDATE))
        building = await _seconds(
            conn.execute(
                sql.SQL(
                    "CREATE INDEX CONCURRENTLY ON plain USING hnsw "
                    "((embedding::halfvec({})) halfvec_cosine_ops) WITH (m = 16, "
                    "ef_construction = 64) WHERE embedding_model = 'made-up-plain'"
                ).format(sql.Literal(corpus.dimensions))
            )
        )
    return {
        "plain_update_s": updating,
        "plain_build_s": building,
        "plain_rows_per_s": corpus.rows / (updating + building),
    }


#: Every column but those that are computed.
_COPY_ROWS = """
INSERT INTO plain (id, timestamp, event_type, summary, namespace, session_id, embedding,
                   embedding_model)
SELECT e.id, e.timestamp, e.event_type, e.summary, e.namespace, e.session_id, e.embedding,
       e.embedding_model
FROM episodic_memory e
"""

_PLAIN_UPDATE = """
UPDATE plain p
SET embedding = v.embedding,
    embedding_model = 'made-up-plain'
FROM episodic_vectors v
WHERE v.id = p.id
"""
