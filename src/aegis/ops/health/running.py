"""Checks run one after the other, each in a transaction of its own that is rolled back.

A check that takes too long is cancelled by the server, one that fails says why; neither stops the
others. A connection that a check lost is replaced for the next one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors as pg

from aegis.db.translate import translate
from aegis.errors import AegisError
from aegis.ops.health.judging import could_not, judge, summarize
from aegis.ops.health.models import Ask, CouldNotCheck

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
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
    for check in checks:
        mine = limits[check.id]
        if mine is None or check.id in muted:
            continue
        begun = time.perf_counter()
        ask = Ask(settings=settings, limits=mine, now=now)
        try:
            async with db.connection() as conn:
                result = await _run(conn, check, ask, muted)
        except AegisError as error:
            result = could_not(check, mine, error.message, elapsed_ms=_since(begun))
        results.append(result)
    return summarize(results, now=now, elapsed_ms=_since(started))


def nothing_answers(
    error: AegisError,
    checks: Sequence[Check],
    *,
    limits: Mapping[str, Limits | None],
    now: datetime,
) -> Report:
    """Return the report of a database that cannot be reached: critical, all else unknown."""
    from dataclasses import replace

    results: list[Result] = []
    for check in checks:
        mine = limits[check.id]
        if mine is None:
            continue
        result = could_not(check, mine, "the database does not answer")
        if check.id == "latency":
            result = replace(result, state="critical", observed=f"{error.message} [{error.code}]")
        results.append(result)
    return summarize(results, now=now, elapsed_ms=0.0)


async def _run(conn: Connection, check: Check, ask: Ask, muted: Collection[str]) -> Result:
    begun = time.perf_counter()
    timeout = ask.settings.health_timeout_ms
    try:
        async with conn.transaction(force_rollback=True):
            await conn.execute("SET TRANSACTION READ ONLY")
            await conn.execute(
                """
                SELECT set_config('statement_timeout', %(timeout)s, true),
                       set_config('lock_timeout', %(wait)s, true),
                       set_config('jit', 'off', true)
                """,
                {"timeout": str(timeout), "wait": str(max(1, timeout // 4))},
            )
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
