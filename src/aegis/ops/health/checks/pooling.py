"""What lies between Aegis and its server, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from aegis.db.opening import connect_once, identity
from aegis.db.translate import translate
from aegis.errors import AegisError
from aegis.ops.health.looking import check, value
from aegis.ops.health.models import Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]

_DIRECT = "AEGIS_DIRECT_DATABASE_URL"


@check(
    "pooler",
    "settings",
    "A pooler before the server",
    means="One that changes the server's process with each transaction (PgBouncer's mode "
    "`transaction`) keeps no locks, notifications or settings of a session. Without a way past it "
    "workers look by the clock, and upgrades, backups, maintenance, consolidation, building "
    "indexes and a change of the model are refused. One that logs everybody in as one user shows "
    "each tenant the rows of all.",
    advice="Set AEGIS_DIRECT_DATABASE_URL to the server itself; give the pooler no `user=` of its "
    "own, and a `connect_query` with limits (docs/howto/pgbouncer.md).",
    fine="none, or with a way past it",
)
async def pooler(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say what a pooler takes away, whom it logs in, and whether the way past it is one."""
    seen: list[Seen] = []
    if ask.pooling == "none":
        return seen
    user = await value(conn, "SELECT session_user::text")
    if user != conn.info.user:
        seen.append(
            Seen(
                object="user",
                observed=f"logs {conn.info.user} in as {user}, as it may everybody else",
                state="critical",
            )
        )
    if ask.pooling == "session":
        return seen
    direct = ask.settings.direct_database_url
    if direct is None:
        seen.append(Seen(observed=f"by transactions, and {_DIRECT} is not set"))
    else:
        seen += await _astray(conn, ask, direct)
    return seen + await _unlimited(ask)


async def _astray(conn: Connection, ask: Ask, direct: str) -> list[Seen]:
    """Return a finding where the way past the pooler leads elsewhere, or nowhere."""
    wanted = await identity(conn)
    try:
        past = await connect_once(direct, ask.settings)
        async with past:
            found = await identity(past)
    except (psycopg.Error, AegisError) as error:
        meant = error if isinstance(error, AegisError) else translate(error, dsn=direct)
        return [Seen(object=_DIRECT, observed=meant.message, state="critical")]
    if found != wanted:
        return [Seen(object=_DIRECT, observed="leads to another database", state="critical")]
    return []


async def _unlimited(ask: Ask) -> list[Seen]:
    """Return a finding where statements outside of transactions may take for ever.

    Inside of them our own limits hold, so that a client of its own has to look.
    """
    dsn = ask.settings.database_url
    if dsn is None or not ask.settings.statement_timeout_ms:
        return []
    beside = await connect_once(dsn, ask.settings)
    async with beside:
        row: Any = await (
            await beside.execute("SELECT current_setting('statement_timeout')")
        ).fetchone()
    if row[0] != "0":
        return []
    return [
        Seen(
            object="statement_timeout",
            observed="0 on the server: statements that are transactions by themselves have no end",
            fix="connect_query='SET statement_timeout = 30000; SET lock_timeout = 5000'",
        )
    ]


CHECKS = (pooler,)
