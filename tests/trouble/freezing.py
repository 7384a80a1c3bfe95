"""A server whose processes are all stopped, as when its machine is."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from aegis.db.postmaster import processes_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.cluster import Handle

__all__ = [
    "DUMPING",
    "MIGRATING",
    "RESTORING",
    "VACUUMING",
    "databases",
    "free",
    "frozen",
    "middle",
    "run_sql",
]

#: What the server's processes do while a piece of work is in its middle.
DUMPING = "application_name = 'aegis-backup' AND query LIKE 'COPY public.big%' AND state = 'active'"
RESTORING = (
    "application_name = 'aegis-restore' AND query LIKE 'COPY public.big%' AND state = 'active'"
)
MIGRATING = "application_name = 'aegis-migrate' AND backend_xid IS NOT NULL"
VACUUMING = "query LIKE 'VACUUM%\"big\"%' AND state = 'active'"


@contextmanager
def frozen(server: Handle) -> Generator[None]:
    """Stop every process of the server, the first one first, and let them go on at the end."""
    pids: list[int] = []
    try:
        # It may have started another one in the meantime.
        while left := [pid for pid in processes_of(server.data) if pid not in pids]:
            main = int((server.data / "postmaster.pid").read_text().split()[0])
            for pid in sorted(left, key=lambda pid: pid != main):
                # One that was about to end may have ended; nobody is there to bury it.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                pids.append(pid)
        assert wait_until(lambda: all(_state(pid) in {"T", "Z", None} for pid in pids), 30)
        assert len(pids) > 3
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


async def middle(server: Handle, doing: str) -> None:
    """Wait until the server does something, or fail: the fault has to meet it."""

    def there() -> bool:
        query = f"SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {doing}"
        row = conn.execute(query.encode()).fetchone()
        return row is not None and row[0] > 0

    with psycopg.connect(server.dsn, autocommit=True) as conn:
        assert await asyncio.to_thread(wait_until, there, 120)


def run_sql(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(statement.encode())


def free(server: Handle) -> bool:
    """Return whether nobody holds an advisory lock, and nobody is connected but who asks."""
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        row = conn.execute(
            """
            SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
                   (
                       SELECT count(*) FROM pg_stat_activity
                       WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
                   )
            """
        ).fetchone()
    return row == (0, 0)


def databases(server: Handle) -> set[str]:
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        return {name for (name,) in conn.execute("SELECT datname::text FROM pg_database")}
