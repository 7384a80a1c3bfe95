"""Thousands of tiny namespaces in one table: does each find all it has, and at what time?

A filter that is applied after an index search starves the small: the nearest of the whole table are
somebody else's. The same tiny namespaces are asked while they are few and once they are many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.memory.service import Memory
from benchmarks.corpus import Corpus
from benchmarks.loading import copy_episodes
from benchmarks.report import timed

if TYPE_CHECKING:
    from aegis.db import Database
    from benchmarks.loading import KnownModel

__all__ = ["beside_many"]

#: Episodes of a tiny namespace: fewer than the ten that are asked for.
_EACH = 2


async def beside_many(
    db: Database, embedder: KnownModel, namespaces: int, count: int
) -> dict[str, float]:
    """Return how fast tiny namespaces answer, and the share of their episodes that come back."""
    few = min(count, namespaces)
    if few == 0:
        return {}
    await _add(db, embedder, Corpus(rows=few * _EACH, dimensions=embedder.dimensions, seed=9), "t")
    # Questions about somebody else's episodes: what is near by meaning is in another namespace.
    foreign = Corpus(rows=max(1_000, few), dimensions=embedder.dimensions, seed=8).questions(few)
    asked = [(text, vector.tolist()) for text, vector in foreign]
    figures = await _ask(db, embedder, "tiny_namespace.few", asked)
    rest = Corpus(rows=(namespaces - few) * _EACH, dimensions=embedder.dimensions, seed=10)
    await _add(db, embedder, rest, "u")
    figures |= await _ask(db, embedder, "tiny_namespace.many", asked)
    growth = figures["tiny_namespace.many.p50_ms"] / figures["tiny_namespace.few.p50_ms"]
    return figures | {"tiny_namespaces": namespaces, "tiny_namespace_growth_ratio": growth}


async def _add(db: Database, embedder: KnownModel, corpus: Corpus, prefix: str) -> None:
    if corpus.rows == 0:
        return
    async with db.connection() as conn:
        await conn.execute("SET statement_timeout = 0")
        await copy_episodes(
            conn, corpus, embedder.model, lambda number: f"{prefix}{number // _EACH}"
        )
        await conn.execute("VACUUM (ANALYZE) episodic_memory")
        await conn.execute("RESET statement_timeout")


async def _ask(
    db: Database, embedder: KnownModel, name: str, asked: list[tuple[str, list[float]]]
) -> dict[str, float]:
    """Ask each tiny namespace one question; shares are those of the worst one, not the mean."""
    memory = Memory(db, embedder, namespace="default")
    shares: list[float] = []

    async def hybrid(text: str, vector: list[float]) -> None:
        hits = await memory.recall(text, vector=vector, namespace=f"t{len(shares)}")
        shares.append(len(hits) / _EACH)

    near: list[float] = []

    async def nearest(_text: str, vector: list[float]) -> None:
        namespace = f"t{len(near)}"
        hits = await memory.recall(mode="vector", vector=vector, namespace=namespace)
        # What only fills up was not found by its vector.
        near.append(sum(any(part.arm == "vector" for part in hit.parts) for hit in hits) / _EACH)

    figures = await timed(name, hybrid, asked)
    await timed(f"{name}.vector", nearest, asked)
    return figures | {f"{name}.found_share": min(shares), f"{name}.vector_share": min(near)}
