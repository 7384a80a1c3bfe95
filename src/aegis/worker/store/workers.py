"""SQL of workers: they register, say that they live, and stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all
from aegis.worker.models import WorkerRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = ["list_workers", "register", "see", "stop"]


async def register(
    conn: Connection, worker_id: str, *, host: str, pid: int, kinds: Sequence[str], concurrency: int
) -> None:
    """Add a worker, or say again that it is there; forget those not seen for a week."""
    await execute(
        conn,
        """
        WITH forgotten AS (
            DELETE FROM workers WHERE seen_at < now() - INTERVAL '7 days'
        )
        INSERT INTO workers (id, host, pid, kinds, concurrency)
        VALUES (%(id)s, %(host)s, %(pid)s, %(kinds)s, %(concurrency)s)
        ON CONFLICT (id) DO UPDATE SET seen_at = now()
        """,
        {
            "id": worker_id,
            "host": host,
            "pid": pid,
            "kinds": list(kinds),
            "concurrency": concurrency,
        },
    )


async def see(conn: Connection, worker_id: str, *, running: int, done: int) -> bool:
    """Note that a worker lives; False where its row is gone."""
    return bool(
        await execute(
            conn,
            """
            UPDATE workers
            SET seen_at = now(),
                running = %(running)s,
                done = %(done)s
            WHERE id = %(id)s
            """,
            {"id": worker_id, "running": running, "done": done},
        )
    )


async def stop(conn: Connection, worker_id: str, *, done: int) -> None:
    """Note that a worker stopped in order."""
    await execute(
        conn,
        """
        UPDATE workers
        SET seen_at = now(),
            stopped_at = now(),
            running = 0,
            done = %(done)s
        WHERE id = %(id)s
        """,
        {"id": worker_id, "done": done},
    )


async def list_workers(conn: Connection, *, alive_s: float, all_of_them: bool) -> list[WorkerRow]:
    """Return workers, the newest first; those that are not alive only if asked for."""
    return await fetch_all(
        conn,
        WorkerRow,
        """
        SELECT w.id::text,
               w.host,
               w.pid,
               w.kinds,
               w.concurrency,
               w.running,
               w.done,
               w.started_at,
               w.seen_at,
               w.stopped_at,
               life.alive
        FROM workers w
        CROSS JOIN LATERAL (
            SELECT w.stopped_at IS NULL
                   AND w.seen_at > now() - make_interval(secs => %(alive_s)s) AS alive
        ) life
        WHERE life.alive OR %(all)s
        ORDER BY w.started_at DESC
        """,
        {"alive_s": alive_s, "all": all_of_them},
    )
