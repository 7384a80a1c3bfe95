"""How fast episodes come in: one by one and in bulk, with and without vectors.

The floor is PostgreSQL itself: a COPY of the very same rows, rendered beforehand, into the same
table with the same indexes. The ceiling with vectors is the embedder alone on the same texts. Both
are measured in turns with what they are compared with, so that a busy machine slows both.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING

from aegis.config import load_settings
from aegis.memory import Memory, NewEpisode
from aegis.memory.bulk import BATCH_SIZE
from aegis.memory.embedding import open_embedder
from benchmarks.corpus import Corpus
from benchmarks.database import migrated_database
from benchmarks.report import progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator

    from aegis.db import Database
    from aegis.memory.embedding import Embedder

__all__ = ["add_arguments", "run"]

_COLUMNS = """
    id, timestamp, event_type, summary, details, context, importance, embedding, tags,
    related_memories, decision, metadata, namespace, session_id, source_id, embedding_model,
    created_at, updated_at
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--rows", type=int, default=20_000, help="episodes recorded in bulk")
    parser.add_argument("--embed-rows", type=int, default=2_000, help="of them, with vectors")
    parser.add_argument("--single-rows", type=int, default=500, help="episodes one by one")
    parser.add_argument("--rounds", type=int, default=3, help="times that everything is measured")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, float]:
    embedder = open_embedder(load_settings({}))
    assert embedder is not None
    await embedder.warm()
    episodes = _episodes(args.rows)
    few = episodes[: min(args.rows, args.embed_rows)]
    rounds: dict[str, list[float]] = {}

    def note(**figures: float) -> None:
        for name, value in figures.items():
            rounds.setdefault(name, []).append(value)

    async with migrated_database() as db:
        plain, full = (Memory(db, e, namespace="bench") for e in (None, embedder))
        for _ in progress(range(args.rounds), "Recording"):
            note(**await _bulk_against_copy(db, plain, episodes))
            note(**await _embedded_against_embedder(db, full, embedder, few))
            singly = episodes[: args.single_rows]
            note(single_per_s=await _one_by_one(db, plain, singly))
            note(single_embedded_per_s=await _one_by_one(db, full, singly))
    await embedder.aclose()
    return {name: median(values) for name, values in rounds.items()}


def _episodes(rows: int) -> list[NewEpisode]:
    return [
        NewEpisode(
            event_type="message",
            summary=text,
            details={"number": number, "author": "bench"},
            tags=["bench", f"t{number % 50}"],
            session_id=session,
            source_id=f"bench:{number}",
        )
        for number, (session, text, _) in enumerate(Corpus(rows=rows, dimensions=8).episodes())
    ]


async def _bulk_against_copy(
    db: Database, memory: Memory, episodes: list[NewEpisode]
) -> dict[str, float]:
    async with _emptied(db):
        started = time.perf_counter()
        await memory.record_many(episodes)
        bulk_s = time.perf_counter() - started
        rendered = await _copy_out(db)
    async with _emptied(db):
        copy_s = await _copy_in(db, rendered)
    return {
        "bulk_per_s": len(episodes) / bulk_s,
        "copy_per_s": len(episodes) / copy_s,
        "bulk_vs_copy_ratio": copy_s / bulk_s,
    }


async def _embedded_against_embedder(
    db: Database, memory: Memory, embedder: Embedder, episodes: list[NewEpisode]
) -> dict[str, float]:
    texts = [episode.summary for episode in episodes]
    started = time.perf_counter()
    for at in range(0, len(texts), BATCH_SIZE):
        await embedder.embed(texts[at : at + BATCH_SIZE])
    embed_s = time.perf_counter() - started
    async with _emptied(db):
        started = time.perf_counter()
        await memory.record_many(episodes)
        bulk_s = time.perf_counter() - started
    return {
        "embedder_per_s": len(texts) / embed_s,
        "bulk_embedded_per_s": len(texts) / bulk_s,
        "bulk_embedded_vs_embedder_ratio": embed_s / bulk_s,
    }


async def _one_by_one(db: Database, memory: Memory, episodes: list[NewEpisode]) -> float:
    async with _emptied(db):
        started = time.perf_counter()
        for episode in episodes:
            await memory.record(
                episode.event_type,
                episode.summary,
                details=episode.details,
                tags=episode.tags,
                session_id=episode.session_id,
                source_id=episode.source_id,
            )
        return len(episodes) / (time.perf_counter() - started)


@asynccontextmanager
async def _emptied(db: Database) -> AsyncGenerator[None, None]:
    """Begin with no episodes and no work left over from what was measured before."""
    async with db.connection() as conn:
        await conn.execute("TRUNCATE episodic_memory CASCADE")
        await conn.execute("CHECKPOINT")
    yield


async def _copy_out(db: Database) -> list[bytes]:
    async with (
        db.transaction() as conn,
        conn.cursor() as cursor,
        cursor.copy(
            "COPY (SELECT" + _COLUMNS + "FROM episodic_memory ORDER BY id) TO STDOUT"
        ) as copy,
    ):
        return [bytes(block) async for block in copy]


async def _copy_in(db: Database, rendered: list[bytes]) -> float:
    # In blocks: a call for each row would be Python's time, not PostgreSQL's.
    blocks = [
        b"".join(rendered[at : at + BATCH_SIZE]) for at in range(0, len(rendered), BATCH_SIZE)
    ]
    started = time.perf_counter()
    async with (
        db.transaction() as conn,
        conn.cursor() as cursor,
        cursor.copy("COPY episodic_memory (" + _COLUMNS + ") FROM STDIN") as copy,
    ):
        for block in blocks:
            await copy.write(block)
    return time.perf_counter() - started
