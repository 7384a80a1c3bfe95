"""Checks run one after the other, on one connection that cannot write.

A check that takes too long is cancelled by the server, one that fails says why; neither stops the
others. A connection that a check lost is replaced for the next one.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg

from aegis.db.translate import translate
from aegis.errors import AegisError
from aegis.ops.health.judging import could_not, judge, summarize
from aegis.ops.health.models import Ask, CouldNotCheck

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
    from datetime import datetime

    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.ops.health.models import Check, Limits, Report, Result

__all__ = ["nothing_answers", "run_checks"]


async def run_checks(
    db: Database,
    checks: Sequence[Check],
    *,
    settings: Settings,
    limits: Mapping[str, Limits | None],
    muted: Collection[str],
    now: datetime,
) -> Report:
    """Run `checks`, less those that are left out, and return what they came to."""
    started = time.perf_counter()
    results: list[Result] = []
    memo: dict[str, Any] = {}
    waiting = [
        (check, mine)
        for check in checks
        if (mine := limits[check.id]) is not None and check.id not in muted
    ]
    while waiting:
        before = len(waiting)
        try:
            async with _careful(db, settings) as conn:
                while waiting and not (conn.broken or conn.closed):
                    check, mine = waiting.pop(0)
                    ask = Ask(
                        settings=settings, limits=mine, now=now, memo=memo, pooling=db.pooling
                    )
                    results.append(await _run(conn, check, ask, muted))
        except AegisError as error:
            # A check may have lost its connection; where none is to be had, nobody waits again.
            if len(waiting) == before:
                results += [could_not(check, mine, error.message) for check, mine in waiting]
                if error.code == "db_unreachable":
                    results = [_as_silence(result, error) for result in results]
                break
    return summarize(results, now=now, elapsed_ms=_since(started))


@asynccontextmanager
async def _careful(db: Database, settings: Settings) -> AsyncGenerator[Connection]:
    """Lend a connection that cannot write, and whose statements end soon.

    Through a pooler by transactions each check is one that is so (`_one_by_one`).
    """
    timeout = settings.health_timeout_ms
    if db.pooling == "transaction":
        # The session is others', too: what is set there would make their transactions read-only.
        async with db.connection() as conn:
            yield conn
        return
    async with db.connection() as conn:
        await conn.execute(
            """
            SELECT set_config('statement_timeout', %(timeout)s, false),
                   set_config('lock_timeout', %(wait)s, false),
                   set_config('default_transaction_read_only', 'on', false),
                   set_config('jit', 'off', false)
            """,
            {"timeout": str(timeout), "wait": str(max(1, timeout // 4))},
        )
        try:
            yield conn
        finally:
            if not (conn.broken or conn.closed):
                await conn.execute(
                    "RESET statement_timeout; RESET lock_timeout; "
                    "RESET default_transaction_read_only; RESET jit"
                )


@asynccontextmanager
async def _one_by_one(conn: Connection, ask: Ask) -> AsyncGenerator[None]:
    """Make what a check does one transaction where the session is not ours."""
    if ask.pooling != "transaction":
        yield
        return
    timeout = ask.settings.health_timeout_ms
    async with conn.transaction():
        await conn.execute(
            """
            SELECT set_config('statement_timeout', %(timeout)s, true),
                   set_config('lock_timeout', %(wait)s, true),
                   set_config('transaction_read_only', 'on', true),
                   set_config('jit', 'off', true)
            """,
            {"timeout": str(timeout), "wait": str(max(1, timeout // 4))},
        )
        yield


def nothing_answers(
    error: AegisError,
    checks: Sequence[Check],
    *,
    limits: Mapping[str, Limits | None],
    now: datetime,
) -> Report:
    """Return the report of a database that cannot be reached: critical, all else unknown."""
    results = [
        _as_silence(could_not(check, mine, "the database does not answer"), error)
        for check in checks
        if (mine := limits[check.id]) is not None
    ]
    return summarize(results, now=now, elapsed_ms=0.0)


def _as_silence(result: Result, error: AegisError) -> Result:
    """Let what asks whether the database answers at all say that it does not."""
    if result.id != "latency":
        return result
    return replace(result, state="critical", observed=f"{error.message} [{error.code}]")


async def _run(conn: Connection, check: Check, ask: Ask, muted: Collection[str]) -> Result:
    begun = time.perf_counter()
    timeout = ask.settings.health_timeout_ms
    try:
        async with _one_by_one(conn, ask):
            seen = await check.run(conn, ask)
    except CouldNotCheck as error:
        return could_not(check, ask.limits, str(error), elapsed_ms=_since(begun))
    except pg.QueryCanceled:
        why = f"it took longer than {timeout} ms (AEGIS_HEALTH_TIMEOUT_MS)"
        return could_not(check, ask.limits, why, elapsed_ms=_since(begun))
    except pg.LockNotAvailable:
        why = "what it looks at is locked; see the check `blocked`"
        return could_not(check, ask.limits, why, elapsed_ms=_since(begun))
    except pg.InsufficientPrivilege as error:
        why = f"{error.diag.message_primary}; GRANT pg_monitor to the role, or run it as its owner"
        return could_not(check, ask.limits, why, elapsed_ms=_since(begun))
    except (psycopg.Error, AegisError) as error:
        meant = error if isinstance(error, AegisError) else translate(error)
        return could_not(check, ask.limits, meant.message, elapsed_ms=_since(begun))
    return judge(check, ask.limits, seen, muted=muted, elapsed_ms=_since(begun))


def _since(begun: float) -> float:
    return round(1_000 * (time.perf_counter() - begun), 1)
