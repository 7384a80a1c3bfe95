"""What runs by night at N episodes of a namespace: consolidation, audit, what would be forgotten.

Consolidation is run over everything once, and then over a night's worth of new episodes: the second
has to cost what is new, not what is there. Beside it, in the same run, one pass that reads every
episode with its vector and words, which is the least that looking at all of them takes.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aegis.memory.service import Memory
from benchmarks.corpus import Corpus
from benchmarks.database import migrated_database
from benchmarks.loading import KnownModel, copy_episodes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable

    from aegis.db import Database

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--new", type=int, default=500, help="episodes of the night after")
    parser.add_argument("--dimensions", type=int, default=384)


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args.rows, args.new, args.dimensions))


async def _measure(rows: int, new: int, dimensions: int) -> dict[str, float]:
    embedder = KnownModel(dimensions)
    figures: dict[str, float] = {"rows": rows, "new": new}
    async with migrated_database() as db:
        memory = Memory(db, embedder, namespace="default")
        await _add(db, embedder, Corpus(rows=rows, dimensions=dimensions))
        figures["one_pass_s"] = await _seconds(_one_pass(db))
        figures["consolidate_all_s"] = await _seconds(memory.consolidation.run())
        await _add(db, embedder, Corpus(rows=new, dimensions=dimensions, seed=12))
        figures["consolidate_new_s"] = await _seconds(memory.consolidation.run())
        figures["audit_s"] = await _seconds(memory.audit.run())
        figures["forgetting_plan_s"] = await _seconds(memory.retention.plan())
    each = figures["consolidate_all_s"] / rows
    figures["consolidate_ms_per_episode"] = each * 1000
    figures["new_over_all_per_episode_ratio"] = figures["consolidate_new_s"] / new / each
    figures["audit_over_one_pass_ratio"] = figures["audit_s"] / figures["one_pass_s"]
    return figures


async def _seconds(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _add(db: Database, embedder: KnownModel, corpus: Corpus) -> None:
    async with db.connection() as conn:
        await conn.execute("SET statement_timeout = 0")
        await copy_episodes(conn, corpus, embedder.model, lambda _: "default")
        await conn.execute("VACUUM (ANALYZE) episodic_memory")
        await conn.execute("RESET statement_timeout")


async def _one_pass(db: Database) -> Any:
    async with db.transaction() as conn:
        cursor = await conn.execute(
            """
            SELECT sum(length(e.search)), sum(vector_dims(e.embedding)), sum(length(e.summary))
            FROM episodic_memory e
            WHERE e.namespace = 'default'
            """
        )
        return await cursor.fetchone()
