"""VACUUM and ANALYZE: ages, dead rows, statistics, and what keeps them from their work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.health.looking import check, rows
from aegis.ops.health.models import Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]

#: Where ids of transactions and of groups of row locks end.
_ALL_IDS = 2_147_483_648


@check(
    "xid-age",
    "vacuum",
    "Transaction ids left",
    means="At 3 million left the database takes no writes until it is vacuumed.",
    advice="VACUUM (FREEZE) the oldest tables; find what holds the horizon (`xmin-horizon`).",
    limits=Limits(warning=1_500, critical=500),
    unit="million",
    below=True,
)
async def xid_age(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how many transactions are left until the oldest database and tables wrap around."""
    del ask
    found = await rows(
        conn,
        """
        SELECT 'database ' || datname, age(datfrozenxid), NULL
        FROM pg_database
        UNION ALL
        (
            SELECT
                c.oid::regclass::text,
                greatest(age(c.relfrozenxid), coalesce(age(t.relfrozenxid), 0)) AS age,
                format('VACUUM (FREEZE) %s;', c.oid::regclass)
            FROM pg_class c
            LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
            WHERE c.relkind IN ('r', 'm')
              AND c.relpersistence <> 't'
            ORDER BY age DESC
            LIMIT 20
        )
        ORDER BY 2 DESC
        """,
    )
    return [
        Seen(
            object=name,
            observed=f"{(_ALL_IDS - age) / 1e6:,.0f} million left (age {age:,})",
            value=(_ALL_IDS - age) / 1e6,
            fix=fix,
        )
        for name, age, fix in found
    ]


@check(
    "multixact-age",
    "vacuum",
    "Ids of row lock groups left",
    means="They run out as transaction ids do, with the same end.",
    advice="VACUUM (FREEZE) the oldest tables.",
    limits=Limits(warning=1_500, critical=500),
    unit="million",
    below=True,
)
async def multixact_age(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how many multixact ids are left."""
    del ask
    found = await rows(
        conn,
        """
        SELECT 'database ' || datname, mxid_age(datminmxid), NULL
        FROM pg_database
        UNION ALL
        (
            SELECT
                c.oid::regclass::text,
                mxid_age(c.relminmxid) AS age,
                format('VACUUM (FREEZE) %s;', c.oid::regclass)
            FROM pg_class c
            WHERE c.relkind IN ('r', 'm', 't')
              AND c.relpersistence <> 't'
            ORDER BY age DESC
            LIMIT 20
        )
        ORDER BY 2 DESC
        """,
    )
    return [
        Seen(
            object=name,
            observed=f"{(_ALL_IDS - age) / 1e6:,.0f} million left (age {age:,})",
            value=(_ALL_IDS - age) / 1e6,
            fix=fix,
        )
        for name, age, fix in found
    ]


@check(
    "freeze-overdue",
    "vacuum",
    "Tables that autovacuum should have frozen",
    means="An anti-wraparound vacuum is due or does not come to its end; it does not give way to "
    "other work.",
    advice="`aegis maintenance run` freezes them at a quiet hour.",
    limits=Limits(warning=99, critical=125),
    unit="% of autovacuum_freeze_max_age",
)
async def freeze_overdue(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Compare the age of tables with the limit that holds for each."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            c.oid::regclass::text,
            100.0 * age(c.relfrozenxid) / coalesce(
                (
                    SELECT option_value::bigint
                    FROM pg_options_to_table(c.reloptions)
                    WHERE option_name = 'autovacuum_freeze_max_age'
                ),
                current_setting('autovacuum_freeze_max_age')::bigint
            ) AS share,
            format('VACUUM (FREEZE) %s;', c.oid::regclass)
        FROM pg_class c
        WHERE c.relkind IN ('r', 'm', 't')
          AND c.relpersistence <> 't'
        ORDER BY 2 DESC
        LIMIT 20
        """,
    )
    return [
        Seen(object=name, observed=f"{share:.0f} %", value=float(share), fix=fix)
        for name, share, fix in found
    ]


@check(
    "xmin-horizon",
    "vacuum",
    "What keeps dead rows alive",
    means="VACUUM removes nothing that this could still see, in any table.",
    advice="End the session, drop the slot, or finish the prepared transaction.",
    limits=Limits(warning=1_000_000, critical=50_000_000),
    unit="transactions",
)
async def xmin_horizon(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how far sessions, slots and prepared transactions hold the horizon back."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            'pid ' || pid,
            age(backend_xmin) AS held,
            format('SELECT pg_terminate_backend(%s);', pid)
        FROM pg_stat_activity
        WHERE backend_xmin IS NOT NULL
          AND pid <> pg_backend_pid()
        UNION ALL
        SELECT
            'slot ' || slot_name,
            greatest(age(xmin), age(catalog_xmin)),
            format('SELECT pg_drop_replication_slot(%L);', slot_name)
        FROM pg_replication_slots
        WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
        UNION ALL
        SELECT 'prepared ' || gid, age(transaction), format('ROLLBACK PREPARED %L;', gid)
        FROM pg_prepared_xacts
        ORDER BY held DESC
        LIMIT 20
        """,
    )
    return [
        Seen(object=name, observed=f"{held:,} transactions behind", value=held, fix=fix)
        for name, held, fix in found
    ]


@check(
    "dead-rows",
    "vacuum",
    "Tables full of dead rows",
    means="Reads go over rows that are gone; of vectors, recall suffers, too.",
    advice="`aegis maintenance run` vacuums them; see `xmin-horizon` if that does not help.",
    limits=Limits(warning=20, critical=50, least=10_000),
    unit="%",
    least_of="dead rows",
)
async def dead_rows(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say which share of the rows of tables is dead."""
    found = await rows(
        conn,
        """
        SELECT
            relid::regclass::text,
            100.0 * n_dead_tup / (n_live_tup + n_dead_tup),
            n_dead_tup,
            format('VACUUM (ANALYZE) %%s;', relid::regclass)
        FROM pg_stat_user_tables
        WHERE n_dead_tup >= %(least)s
          AND n_dead_tup > 0
        ORDER BY 2 DESC
        LIMIT 50
        """,
        {"least": ask.limits.least},
    )
    return [
        Seen(object=name, observed=f"{share:.0f} % dead ({n:,} rows)", value=float(share), fix=fix)
        for name, share, n, fix in found
    ]


@check(
    "hnsw-dead-rows",
    "vacuum",
    "Vector indexes over dead rows",
    means="A search walks over vectors that are gone, and returns fewer and worse ones.",
    advice="`aegis maintenance run` rebuilds the index, then vacuums the table, in this order.",
    limits=Limits(warning=10, critical=30, least=1_000),
    unit="%",
    least_of="dead rows",
)
async def hnsw_dead_rows(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say which share of the rows below HNSW and IVFFlat indexes is dead."""
    found = await rows(
        conn,
        """
        SELECT
            s.relid::regclass::text,
            100.0 * s.n_dead_tup / (s.n_live_tup + s.n_dead_tup),
            s.n_dead_tup
        FROM pg_stat_user_tables s
        WHERE s.n_dead_tup >= %(least)s
          AND s.n_dead_tup > 0
          AND EXISTS (
              SELECT
              FROM pg_index i
              JOIN pg_class c ON c.oid = i.indexrelid
              JOIN pg_am a ON a.oid = c.relam
              WHERE i.indrelid = s.relid
                AND a.amname IN ('hnsw', 'ivfflat')
          )
        ORDER BY 2 DESC
        """,
        {"least": ask.limits.least},
    )
    return [
        Seen(
            object=name,
            observed=f"{share:.0f} % dead ({n:,} rows)",
            value=float(share),
            fix="aegis maintenance run --now",
        )
        for name, share, n in found
    ]


@check(
    "stale-statistics",
    "vacuum",
    "Tables with stale statistics",
    means="The planner guesses from what the table was; a plan may be wrong by orders.",
    advice="ANALYZE them; after a bulk load do it at once.",
    limits=Limits(warning=50, least=10_000),
    unit="% of rows changed",
    least_of="rows",
)
async def stale_statistics(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say which share of rows changed since the table was analyzed; all of one that never was."""
    found = await rows(
        conn,
        """
        SELECT
            relid::regclass::text,
            CASE
                WHEN last_analyze IS NULL AND last_autoanalyze IS NULL THEN 100.0
                ELSE 100.0 * n_mod_since_analyze / greatest(n_live_tup, 1)
            END,
            greatest(last_analyze, last_autoanalyze),
            format('ANALYZE %%s;', relid::regclass)
        FROM pg_stat_user_tables
        WHERE n_live_tup >= %(least)s
          AND n_mod_since_analyze > 0
        ORDER BY 2 DESC
        LIMIT 50
        """,
        {"least": ask.limits.least},
    )
    return [
        Seen(
            object=name,
            observed="never analyzed" if at is None else f"{share:.0f} % changed since {at:%F %R}",
            value=float(share),
            fix=fix,
        )
        for name, share, at, fix in found
    ]


@check(
    "autovacuum-off",
    "vacuum",
    "Autovacuum is off",
    means="Nothing removes dead rows, and ids run out, until a person thinks of it.",
    advice="Switch it on again.",
)
async def autovacuum_off(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Look at the server's switch, and at that of each table."""
    del ask
    found = await rows(
        conn,
        """
        SELECT c.oid::regclass::text,
               format('ALTER TABLE %s RESET (autovacuum_enabled);', c.oid::regclass)
        FROM pg_class c
        CROSS JOIN LATERAL pg_options_to_table(c.reloptions) o
        WHERE c.relkind IN ('r', 'm')
          AND o.option_name = 'autovacuum_enabled'
          AND NOT o.option_value::boolean
        ORDER BY 1
        """,
    )
    seen = [Seen(object=name, observed="off for this table", fix=fix) for name, fix in found]
    for name in ("autovacuum", "track_counts"):
        ((setting,),) = await rows(conn, "SELECT current_setting(%(name)s)", {"name": name})
        if setting == "off":
            fix = f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();"
            seen.append(Seen(object=name, observed=f"{name} is off", state="critical", fix=fix))
    return seen


CHECKS = (
    xid_age,
    multixact_age,
    freeze_overdue,
    xmin_horizon,
    dead_rows,
    hnsw_dead_rows,
    stale_statistics,
    autovacuum_off,
)
