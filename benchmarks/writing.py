"""One episode after another, each embedded, while another process builds the vector index.

The build is `aegis memory reindex`, as an operator would run it; it is started again until enough
writes fell into its time. The same writes without a build are measured before.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from aegis.config import ENV_PREFIX, load_settings
from aegis.errors import OpsError
from aegis.memory.embedding import open_embedder
from aegis.memory.service import Memory
from benchmarks.corpus import Corpus
from benchmarks.loading import MINILM
from benchmarks.report import progress, spread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from aegis.db import Database
    from benchmarks.loading import KnownModel

__all__ = ["beside_a_build"]

_NAMESPACE = "writer"
#: Seconds between looks whether a build has begun.
_LOOK_S = 0.02


async def beside_a_build(db: Database, known: KnownModel, writes: int) -> dict[str, float]:
    """Return how long single writes take without and beside a build.

    Nothing where the vectors in the table are not those of the built-in model: the index that is
    built would have none of them.
    """
    if writes == 0 or known.model != MINILM:
        return {}
    embedder = open_embedder(load_settings({}))
    assert embedder is not None
    await embedder.warm()
    memory = Memory(db, embedder, namespace=_NAMESPACE)
    texts = [text for _, text, _ in Corpus(rows=2 * writes, dimensions=8, seed=11).episodes()]
    alone = [await _write(memory, text) for text in progress(texts[:writes], "Writing")]
    beside = await _during_builds(db, memory, texts[writes:])
    await embedder.aclose()
    await _require_vectors(db, len(texts))
    return {
        **spread("write_alone", alone),
        **spread("write_beside_build", beside),
        "write_beside_build.max_ms": max(beside),
    }


async def _write(memory: Memory, text: str) -> float:
    started = time.perf_counter()
    await memory.record("message", text)
    return (time.perf_counter() - started) * 1000


async def _during_builds(db: Database, memory: Memory, texts: Sequence[str]) -> list[float]:
    taken: list[float] = []
    left = iter(progress(texts, "Writing beside a build"))
    while len(taken) < len(texts):
        async with _building(db) as process:
            while process.returncode is None and len(taken) < len(texts):
                if await _under_way(db):
                    taken.append(await _write(memory, next(left)))
                else:
                    await asyncio.sleep(_LOOK_S)
    next(left, None)
    return taken


@asynccontextmanager
async def _building(db: Database) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Lend the process that builds the index; it is ended with the block.

    Raises:
        OpsError: the build failed.
    """
    async with db.connection() as conn:
        info = conn.info
        url = make_conninfo(host=info.host, port=info.port, user=info.user, dbname=info.dbname)
    env = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aegis.cli", "memory", "reindex", "--json"),
        env=env | {"AEGIS_DATABASE_URL": url},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    killed = False
    try:
        yield process
    finally:
        # Enough was measured, or something went wrong; a build takes long on a large table.
        if process.returncode is None:
            killed = True
            process.kill()
        _, errors = await process.communicate()
    if process.returncode and not killed:
        last = (errors.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise OpsError(f"`aegis memory reindex` failed: {last}")


async def _under_way(db: Database) -> bool:
    """Return whether the index of episodes is being built right now."""
    async with db.transaction() as conn:
        cursor = await conn.execute(
            """
            SELECT 1
            FROM pg_stat_progress_create_index
            WHERE relid = 'episodic_memory'::regclass
            """
        )
        return await cursor.fetchone() is not None


async def _require_vectors(db: Database, writes: int) -> None:
    """Raise when a write was measured that had no vector: it would look too fast."""
    async with db.transaction() as conn:
        cursor = await conn.execute(
            """
            SELECT count(*)
            FROM episodic_memory
            WHERE namespace = %(namespace)s
              AND embedding IS NOT NULL
            """,
            {"namespace": _NAMESPACE},
        )
        row = await cursor.fetchone()
    if row is None or row[0] != writes:
        raise OpsError(f"{writes} episodes were written, but {row and row[0]} have a vector.")
