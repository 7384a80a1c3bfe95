"""A throw-away PostgreSQL with the schema of this checkout, for one benchmark.

Durable as a user's would be (on a disk, fsync and synchronous commits on), on the binaries that
Aegis ships with; gone at the end.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.config import load_settings
from aegis.db import Database

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

__all__ = ["migrated_database", "server"]

#: Tests keep their servers in memory where they can; a commit has to reach a disk here.
_DISK = Path("/var/tmp")

_DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "1GB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "4GB",
}


@contextmanager
def server() -> Generator[str]:
    """Start a server of its own and yield the DSN of an empty database."""
    from tests.cluster import throwaway_cluster, wheel_bin_dir

    with throwaway_cluster(wheel_bin_dir(), settings=_DURABLE, place=_DISK) as dsn:
        yield dsn


@asynccontextmanager
async def migrated_database() -> AsyncGenerator[Database]:
    """Yield a `Database` at the newest revision, on a server of its own."""
    from aegis.db import migrate

    settings = load_settings({})
    with server() as dsn:
        await asyncio.to_thread(migrate.upgrade, dsn)
        async with await Database.open(dsn, settings) as db:
            yield db
