"""Indexes and constraints: invalid, unused, doubled, missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.ops.health.looking import check, rows, size, value
from aegis.ops.health.models import CouldNotCheck, Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]

#: Days that counters must have been kept for, before "never used" says anything.
_STATS_DAYS: Final = 7


@check(
    "invalid-indexes",
    "indexes",
    "Invalid indexes",
    means="A build was interrupted: writes pay for the index, reads do not use it, and a unique "
    "one may not hold.",
    advice="`aegis maintenance run` drops what REINDEX left behind and rebuilds the others.",
)
async def invalid_indexes(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List indexes that are not valid and not being built."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            i.indexrelid::regclass::text,
            i.indrelid::regclass::text,
            c.relkind,
            c.relname ~ '_cc(new|old)[0-9]*$'
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_class t ON t.oid = i.indrelid
        WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
          AND c.relpersistence <> 't'
          AND t.relnamespace <> 'pg_toast'::regnamespace
          AND NOT EXISTS (
              SELECT
              FROM pg_stat_progress_create_index p
              WHERE p.index_relid = i.indexrelid
                 OR (p.relid = i.indrelid AND c.relname ~ '_cc(new|old)[0-9]*$')
          )
        ORDER BY 1
        """,
    )
    seen: list[Seen] = []
    for name, table, kind, leftover in found:
        if kind == "I":
            fix, why = None, "some partition lacks it; attach an index of each"
        elif leftover:
            fix, why = f"DROP INDEX CONCURRENTLY {name};", "left behind by REINDEX CONCURRENTLY"
        else:
            fix, why = f"REINDEX INDEX CONCURRENTLY {name};", "its build did not end"
        seen.append(Seen(object=name, observed=f"on {table}, {why}", fix=fix))
    return seen


@check(
    "invalid-constraints",
    "indexes",
    "Constraints that were never validated",
    means="Rows that were there before may break them; the planner does not rely on them.",
    advice="Validate them; that reads the table once and lets writers go on.",
)
async def invalid_constraints(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List constraints that are enforced but not validated."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            conrelid::regclass::text,
            conname,
            format('ALTER TABLE %s VALIDATE CONSTRAINT %I;', conrelid::regclass, conname)
        FROM pg_constraint
        WHERE NOT convalidated
          AND conrelid <> 0
          AND conparentid = 0
        ORDER BY 1, 2
        """,
    )
    return [Seen(object=f"{t}.{n}", observed="not validated", fix=fix) for t, n, fix in found]


@check(
    "unused-indexes",
    "indexes",
    "Indexes that are never read",
    means="Every write pays for them, and they take room in the cache.",
    advice="Drop them, after a look at replicas: their scans are counted there.",
    least_of="MB",
    limits=Limits(least=10),
)
async def unused_indexes(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List indexes without a scan since the counters began, if that is long enough ago."""
    found = await rows(
        conn,
        """
        SELECT
            s.indexrelid::regclass::text,
            s.relid::regclass::text,
            pg_relation_size(s.indexrelid)
        FROM pg_stat_user_indexes s
        JOIN pg_index i ON i.indexrelid = s.indexrelid
        JOIN pg_class c ON c.oid = s.indexrelid
        WHERE s.idx_scan = 0
          AND NOT i.indisunique
          AND i.indisvalid
          AND NOT i.indisreplident
          -- What belongs to a partitioned index cannot go alone.
          AND NOT c.relispartition
          AND c.relpages * 8192.0 >= %(least)s * 1048576 * 0.5
          AND pg_relation_size(s.indexrelid) >= %(least)s * 1048576
        ORDER BY 3 DESC
        """,
        {"least": ask.limits.least},
    )
    if not found:
        return []
    days = await value(
        conn,
        """
        SELECT extract(epoch FROM clock_timestamp() - greatest(
            coalesce(stats_reset, pg_postmaster_start_time()),
            '-infinity'::timestamptz
        ))::float8 / 86400
        FROM pg_stat_database
        WHERE datname = current_database()
        """,
    )
    if days < _STATS_DAYS:
        raise CouldNotCheck(
            f"counters are {days:.1f} days old; after {_STATS_DAYS} days without a scan "
            f"{len(found)} index(es) would be called unused"
        )
    return [
        Seen(
            object=name,
            observed=f"{size(count)} on {table}, no scan in {days:.0f} days",
            fix=f"DROP INDEX CONCURRENTLY {name};",
        )
        for name, table, count in found
    ]


@check(
    "duplicate-indexes",
    "indexes",
    "Indexes that another one covers",
    means="The longer index serves the same searches; this one only costs.",
    advice="Drop the one that is covered.",
)
async def duplicate_indexes(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List plain indexes whose columns another index of the same kind begins with."""
    del ask
    found = await rows(
        conn,
        """
        WITH plain AS MATERIALIZED (
            SELECT
                i.indexrelid,
                i.indrelid,
                c.relam,
                i.indisunique,
                i.indnkeyatts,
                i.indnatts,
                coalesce(pg_get_expr(i.indpred, i.indrelid), '') AS predicate,
                coalesce(pg_get_expr(i.indexprs, i.indrelid), '') AS expressions,
                array_to_string(i.indkey, ' ') || ' ' AS columns,
                array_to_string(i.indclass, ' ') || ' ' AS classes,
                array_to_string(i.indcollation, ' ') || ' ' AS collations,
                array_to_string(i.indoption, ' ') || ' ' AS options
            FROM pg_index i
            JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indisvalid
              AND c.relkind = 'i'
              AND NOT c.relispartition
              AND i.indrelid >= 16384
        )
        SELECT DISTINCT ON (1)
            a.indexrelid::regclass::text,
            b.indexrelid::regclass::text
        FROM plain a
        JOIN plain b
            ON b.indrelid = a.indrelid
           AND b.indexrelid <> a.indexrelid
           AND b.relam = a.relam
           AND b.predicate = a.predicate
           AND b.expressions = a.expressions
           AND starts_with(b.columns, a.columns)
           AND starts_with(b.classes, a.classes)
           AND starts_with(b.collations, a.collations)
           AND starts_with(b.options, a.options)
           -- Only a B-tree serves a search by its first columns alone.
           AND (b.columns = a.columns OR a.relam = (SELECT oid FROM pg_am WHERE amname = 'btree'))
           AND (a.expressions = '' OR b.columns = a.columns)
        WHERE NOT a.indisunique
          AND a.indnkeyatts = a.indnatts
          -- Of two alike, the newer one goes.
          AND (b.columns <> a.columns OR b.indisunique OR b.indexrelid < a.indexrelid)
        ORDER BY 1, 2
        """,
    )
    return [
        Seen(object=a, observed=f"covered by {b}", fix=f"DROP INDEX CONCURRENTLY {a};")
        for a, b in found
    ]


@check(
    "missing-indexes",
    "indexes",
    "Tables that are mostly read as a whole",
    means="An index seems to be missing: reads cost as much as the table is long.",
    advice="Look at the statements on the table (`aegis db stats statements`), and at "
    "`aegis db stats advice`.",
    limits=Limits(warning=95, least=10_000),
    unit="%",
    least_of="rows",
    below=True,
)
async def missing_indexes(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say which share of the scans of large tables went by an index."""
    found = await rows(
        conn,
        """
        SELECT
            relid::regclass::text,
            100.0 * coalesce(idx_scan, 0) / (coalesce(idx_scan, 0) + seq_scan),
            n_live_tup,
            seq_scan
        FROM pg_stat_user_tables
        WHERE n_live_tup >= %(least)s
          -- A few whole reads are maintenance, exports and backups.
          AND seq_scan >= 50
        ORDER BY 2
        """,
        {"least": ask.limits.least},
    )
    return [
        Seen(
            object=table,
            observed=f"{share:.0f} % of scans by an index ({count:,} rows read whole {scans:,} "
            "times)",
            value=float(share),
        )
        for table, share, count, scans in found
    ]


@check(
    "unindexed-foreign-keys",
    "indexes",
    "Foreign keys without an index",
    means="Each deletion of the row that is pointed to reads the whole table.",
    advice="Create the index.",
    limits=Limits(least=10_000),
    least_of="rows",
)
async def unindexed_foreign_keys(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List foreign keys of large tables whose columns no index begins with."""
    found = await rows(
        conn,
        """
        SELECT
            c.conrelid::regclass::text,
            c.conname,
            t.reltuples::bigint,
            format(
                'CREATE INDEX CONCURRENTLY ON %%s (%%s);',
                c.conrelid::regclass,
                (
                    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place)
                    FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
                    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
                )
            )
        FROM pg_constraint c
        JOIN pg_class t ON t.oid = c.conrelid
        WHERE c.contype = 'f'
          AND c.conparentid = 0
          AND t.reltuples >= %(least)s
          AND NOT EXISTS (
              SELECT
              FROM pg_index i
              WHERE i.indrelid = c.conrelid
                AND i.indisvalid
                AND i.indpred IS NULL
                AND (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(c.conkey)]
                    @> c.conkey
          )
        ORDER BY 3 DESC
        """,
        {"least": ask.limits.least},
    )
    return [
        Seen(object=f"{t}.{n}", observed=f"no index ({count:,} rows)", fix=fix)
        for t, n, count, fix in found
    ]


@check(
    "disabled-triggers",
    "indexes",
    "Triggers that are switched off",
    means="What they enforce is not enforced, foreign keys included.",
    advice="Switch them on again, and look at what was written meanwhile.",
)
async def disabled_triggers(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List triggers that do not fire."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            tgrelid::regclass::text,
            tgname,
            format('ALTER TABLE %s ENABLE TRIGGER %I;', tgrelid::regclass, tgname)
        FROM pg_trigger
        WHERE tgenabled = 'D'
        ORDER BY 1, 2
        """,
    )
    return [Seen(object=f"{t}.{n}", observed="switched off", fix=fix) for t, n, fix in found]


CHECKS = (
    invalid_indexes,
    invalid_constraints,
    unused_indexes,
    duplicate_indexes,
    missing_indexes,
    unindexed_foreign_keys,
    disabled_triggers,
)
