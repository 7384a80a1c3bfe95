"""One step: its statement, how long it may wait, and what is left when it fails.

Nothing here blocks writers. VACUUM, ANALYZE and REINDEX CONCURRENTLY take a lock that writers do
not mind, and wait for it no longer than the lock time-out. REINDEX CONCURRENTLY then waits for old
transactions, where a lock time-out would leave an invalid index behind: it gets none, is not begun
while a transaction on its table is old, and is cancelled when the window closes. What a failed one
leaves is dropped at once, or by the next run. VACUUM FULL does lock its table, and is only done
when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors as pg
from psycopg import sql

from aegis.db.opening import server_pid
from aegis.db.translate import translate
from aegis.db.vector_indexes import room_for_build
from aegis.errors import Unavailable
from aegis.ops.health.looking import rows
from aegis.ops.maintenance import finding, history

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.ops.maintenance.models import Progress, RunState, Step, Task

__all__ = ["command_of", "do_step"]

_POLL_S: Final = 1.0
_COMMANDS: Final[dict[Task, sql.SQL]] = {
    "drop-index": sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}"),
    "reindex": sql.SQL("REINDEX INDEX CONCURRENTLY {}"),
    "vacuum": sql.SQL("VACUUM (ANALYZE) {}"),
    "freeze": sql.SQL("VACUUM (FREEZE, ANALYZE) {}"),
    "analyze": sql.SQL("ANALYZE {}"),
    "vacuum-full": sql.SQL("VACUUM (FULL, ANALYZE) {}"),
}
#: What waits for old transactions, and must not be ended by a lock time-out.
_CONCURRENT: Final = ("drop-index", "reindex")


def command_of(step: Step) -> sql.Composed:
    """Return the statement of a step."""
    return _COMMANDS[step.task].format(sql.Identifier(step.schema, step.name))


async def do_step(
    db: Database,
    conn: Connection,
    step: Step,
    *,
    settings: Settings,
    left_s: float,
    tell: Callable[[Progress], None] | None = None,
) -> tuple[RunState, int]:
    """Take one step on `conn`, which is in autocommit mode; return its end and the bytes freed.

    It is cancelled after `left_s`. How it ended is written down; a failure is not raised, unless
    the connection is lost.
    """
    command = command_of(step)
    before = await history.relation_size(conn, step.schema, step.name)
    run_id = await history.begin(conn, step, command.as_string(conn), before_bytes=before)
    why = await _why_not(conn, step)
    if why is not None:
        await history.end(conn, run_id, "deferred", after_bytes=before, error=why)
        return "deferred", 0
    state: RunState = "done"
    error: str | None = None
    try:
        await _run(db, conn, step, command, settings=settings, left_s=left_s, tell=tell)
    except (pg.LockNotAvailable, pg.QueryCanceled) as failure:
        state, error = "deferred", _reason(failure, settings)
    except psycopg.OperationalError:
        # The connection is gone: the next run finds the row, and marks it as interrupted.
        if conn.broken or conn.closed:
            raise
        state, error = "failed", "the server could not go on"
    except psycopg.Error as failure:
        state, error = "failed", translate(failure).message
    finally:
        if not (conn.broken or conn.closed):
            await conn.execute("RESET lock_timeout")
            await conn.execute("RESET statement_timeout")
    if state != "done" and step.task == "reindex":
        await _sweep(conn, step, settings)
    after = await history.relation_size(conn, step.schema, step.name)
    await history.end(conn, run_id, state, after_bytes=after, error=error)
    return state, max(0, (before or 0) - (after or 0)) if state == "done" else 0


async def _run(
    db: Database,
    conn: Connection,
    step: Step,
    command: sql.Composed,
    *,
    settings: Settings,
    left_s: float,
    tell: Callable[[Progress], None] | None,
) -> None:
    wait = 0 if step.task in _CONCURRENT else settings.maintenance_lock_timeout_ms
    await conn.execute(
        """
        SELECT set_config('lock_timeout', %(wait)s, false),
               set_config('statement_timeout', %(left)s, false)
        """,
        {"wait": str(wait), "left": str(max(1, int(left_s * 1_000)))},
    )
    graph = await finding.find_graph(conn, step.schema, step.name)
    room = contextlib.nullcontext() if graph is None else room_for_build(conn, graph)
    watching = (
        None
        if tell is None
        else asyncio.ensure_future(_watch(db, step, await server_pid(conn), tell))
    )
    try:
        async with room:
            await conn.execute(command)
    finally:
        if watching is not None:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


async def _watch(db: Database, step: Step, pid: int, tell: Callable[[Progress], None]) -> None:
    """Tell how far the process is, once a second, until cancelled."""
    while True:
        await asyncio.sleep(_POLL_S)
        found = None
        # Who only looks does not decide that the server is gone.
        with contextlib.suppress(Unavailable):
            async with db.transaction() as conn:
                found = await history.find_progress(conn, step, pid)
        if found is not None:
            tell(found)


async def _why_not(conn: Connection, step: Step) -> str | None:
    """Return why a step is not begun now, None where nothing is in its way."""
    if step.task not in _CONCURRENT:
        return None
    waiting = await finding.old_transactions(conn, step.schema, step.name)
    if waiting:
        pids = ", ".join(map(str, waiting))
        return f"a transaction on its table is older than a minute (pid {pids})"
    return await _no_room(conn, step) if step.task == "reindex" else None


async def _no_room(conn: Connection, step: Step) -> str | None:
    """Return that the disk has no room for a second copy, where that can be known."""
    import shutil
    from pathlib import Path

    ((folder,),) = await rows(conn, "SELECT current_setting('data_directory')")
    try:
        free = shutil.disk_usage(Path(folder)).free
    except OSError:
        # Another machine's disk.
        return None
    needed = int(step.size_bytes * 1.2)
    if free >= needed:
        return None
    return f"the disk has {free >> 20:,} MB, a second copy needs {needed >> 20:,} MB"


async def _sweep(conn: Connection, step: Step, settings: Settings) -> None:
    """Drop what a REINDEX CONCURRENTLY of this index left, if it can be done at once."""
    found = await rows(
        conn,
        """
        SELECT x.relname
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_index o ON o.indrelid = i.indrelid AND NOT o.indisvalid
        JOIN pg_class x ON x.oid = o.indexrelid
        WHERE n.nspname = %(schema)s
          AND c.relname = %(name)s
          AND x.relname ~ '_cc(new|old)[0-9]*$'
          -- PostgreSQL shortens the name to make room for the ending.
          AND starts_with(c.relname, left(regexp_replace(x.relname, '_cc(new|old)[0-9]*$', ''), 50))
        """,
        {"schema": step.schema, "name": step.name},
    )
    for (name,) in found:
        try:
            await conn.execute(
                "SELECT set_config('statement_timeout', %(ms)s, false)",
                {"ms": str(settings.maintenance_lock_timeout_ms)},
            )
            await conn.execute(_COMMANDS["drop-index"].format(sql.Identifier(step.schema, name)))
        except psycopg.Error:
            # Somebody still uses the table: the next run finds it, and drops it first of all.
            continue
        finally:
            if not (conn.broken or conn.closed):
                await conn.execute("RESET statement_timeout")


def _reason(failure: psycopg.Error, settings: Settings) -> str:
    if isinstance(failure, pg.LockNotAvailable):
        return f"no lock within {settings.maintenance_lock_timeout_ms} ms"
    return "cancelled: the window closed, or somebody cancelled it"
