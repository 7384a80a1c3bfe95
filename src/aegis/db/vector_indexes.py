"""Building HNSW graphs of vectors: the memory that one needs, and who helps."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aegis.db.cluster_config import memory_bytes
from aegis.db.query import fetch_value

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.db.database import Connection

__all__ = ["LINKS", "Graph", "room_for_build"]

#: Links of a vector in a graph of which nothing else is said; its `m`.
LINKS: Final = 16
#: Where PostgreSQL's processes keep what they share.
_SHARED: Final = "/dev/shm"  # noqa: S108  nothing is written there


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph that is to be built."""

    vectors: int
    dimensions: int
    m: int

    @property
    def bytes(self) -> int:
        """Return what it takes in memory: half-precision numbers, links of 16 bytes, the rest.

        At the bottom, where all vectors are, each has twice `m` links.
        """
        return self.vectors * (2 * self.dimensions + 2 * self.m * 16 + 256)


@asynccontextmanager
async def room_for_build(conn: Connection, graph: Graph) -> AsyncGenerator[None]:
    """Let a build on `conn` have the memory its graph needs, and leave a processor to others.

    A graph that does not fit into `maintenance_work_mem` is finished on the disk, many times
    slower: up to a quarter of this machine's memory is lent for it. PostgreSQL builds with three
    processes, on two processors as on fifty: beside such a build single writes took half as long
    again as beside one with one process. Of a server on another machine nothing is known.
    """
    if not _is_here(conn.info.host):
        yield
        return
    present = await fetch_value(
        conn, "SELECT pg_size_bytes(current_setting('maintenance_work_mem'))"
    )
    lent = max(present, min(graph.bytes, memory_bytes() // 4))
    await fetch_value(
        conn,
        """
        SELECT set_config('maintenance_work_mem', %(memory)s, false)
               || set_config(
                   'max_parallel_maintenance_workers',
                   least(
                       current_setting('max_parallel_maintenance_workers')::int, %(workers)s
                   )::text,
                   false
               )
        """,
        {"memory": f"{lent // 1024}kB", "workers": _helpers(lent)},
    )
    try:
        yield
    finally:
        if not conn.closed:
            await conn.execute("RESET max_parallel_maintenance_workers")
            await conn.execute("RESET maintenance_work_mem")


def _helpers(lent_bytes: int) -> int:
    """Return how many processes may help: they share all that memory, which containers ration."""
    try:
        shared = os.statvfs(_SHARED)
    except OSError:
        room = lent_bytes
    else:
        room = shared.f_bavail * shared.f_frsize
    return max(0, (os.cpu_count() or 1) - 2) if room >= lent_bytes else 0


def _is_here(host: str) -> bool:
    return host.startswith("/") or host in ("127.0.0.1", "::1", "localhost")
