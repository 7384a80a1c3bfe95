"""What `/metrics` says: checks, counters, sizes, the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aegis.errors import AegisError
from aegis.ops.health.exposition import Family, render
from aegis.ops.health.looking import rows
from aegis.ops.health.models import STATES
from aegis.ops.stats import counters

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection, Database
    from aegis.ops.health.models import Report
    from aegis.ops.health.service import Health
    from aegis.ops.stats.models import Counters

__all__ = ["expose", "families_of_report"]

#: Tables that are told by name; more would be more series than anybody looks at.
_TABLES: Final = 20
_TIMEOUT_MS: Final = 2_000


async def expose(db: Database, health: Health, *, now: datetime) -> str:
    """Return the exposition; a database that does not answer is `aegis_up 0`."""
    found = [*_pool(db)]
    try:
        report = await health.recent()
        async with db.transaction() as conn:
            await conn.execute(
                "SELECT set_config('statement_timeout', %(ms)s, true)", {"ms": str(_TIMEOUT_MS)}
            )
            found += await _database(conn)
    except AegisError:
        return render([_one("aegis_up", "Whether the database answers.", 0), *found])
    found = [_one("aegis_up", "Whether the database answers.", 1), *found]
    return render([*found, *families_of_report(report, now=now)])


def families_of_report(report: Report, *, now: datetime) -> list[Family]:
    """Return what checks found, by check."""
    states = [
        ({"check": r.id, "group": r.group}, float(STATES.index(r.state))) for r in report.results
    ]
    values = [({"check": r.id}, float(r.value)) for r in report.results if r.value is not None]
    findings = [({"check": r.id}, float(len(r.findings) + r.hidden)) for r in report.results]
    counts = [({"state": s}, float(getattr(report, s))) for s in STATES]
    age = (now - report.checked_at).total_seconds()
    return [
        Family(
            name="aegis_check_state",
            help="State of a check: 0 ok, 1 could not check, 2 warning, 3 critical.",
            samples=states,
        ),
        Family(name="aegis_check_value", help="The worst figure that a check saw.", samples=values),
        Family(name="aegis_check_findings", help="Findings of a check.", samples=findings),
        Family(name="aegis_checks", help="Checks by state.", samples=counts),
        _one("aegis_checks_age_seconds", "Age of these results.", max(0.0, age)),
        _one("aegis_checks_duration_seconds", "How long they took.", report.elapsed_ms / 1_000),
    ]


def _pool(db: Database) -> list[Family]:
    figures = db.figures()
    return [
        _one("aegis_pool_connections", "Connections in the pool.", figures.size),
        _one("aegis_pool_available", "Free connections in the pool.", figures.available),
        _one("aegis_pool_waiting", "Callers that wait for a connection.", figures.waiting),
        _one(
            "aegis_pool_timeouts_total",
            "Callers that waited in vain.",
            figures.timeouts,
            counter=True,
        ),
    ]


async def _database(conn: Connection) -> list[Family]:
    read = await counters.now_counters(conn, statements_reset_at=None)
    states = await rows(
        conn,
        """
        SELECT coalesce(state, 'none'), count(*)
        FROM pg_stat_activity
        WHERE backend_type = 'client backend'
        GROUP BY 1
        """,
    )
    ((most,),) = await rows(conn, "SELECT current_setting('max_connections')::int")
    sizes = await rows(
        conn,
        """
        SELECT n.nspname, c.relname, pg_total_relation_size(c.oid), greatest(c.reltuples, 0)
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        -- Pages are in the catalog, sizes in the file system: those of a few are asked for.
        ORDER BY c.relpages DESC, c.oid
        LIMIT %(limit)s
        """,
        {"limit": _TABLES},
    )
    runs = await rows(
        conn, "SELECT task, state, count(*) FROM maintenance_runs GROUP BY 1, 2 ORDER BY 1, 2"
    )
    named = [({"schema": s, "table": t}, size, count) for s, t, size, count in sizes]
    return [
        *_counters(read),
        Family(
            name="aegis_connections",
            help="Connections by state.",
            samples=[({"state": state}, float(count)) for state, count in states],
        ),
        _one("aegis_connections_max", "Connections that the server takes.", most),
        Family(
            name="aegis_table_size_bytes",
            help="Size of the largest tables, indexes and TOAST included.",
            samples=[(labels, float(size)) for labels, size, _ in named if size is not None],
        ),
        Family(
            name="aegis_table_rows",
            help="Rows of these tables, as estimated.",
            samples=[(labels, float(count)) for labels, _, count in named],
        ),
        Family(
            name="aegis_maintenance_runs",
            help="Maintenance that is remembered, by task and how it ended.",
            samples=[({"task": t, "state": s}, float(n)) for t, s, n in runs],
        ),
    ]


def _counters(read: Counters) -> list[Family]:
    def count(name: str, text: str) -> Family:
        value: Any = getattr(read, name)
        return _one(f"aegis_{name}_total", f"{text}, since the reset.", value, counter=True)

    return [
        _one("aegis_database_size_bytes", "Size of the database.", read.database_bytes),
        _one(
            "aegis_server_start_time_seconds",
            "When the server was started, since the epoch.",
            read.server_started_at.timestamp(),
        ),
        count("heap_hit", "Blocks of tables found in shared buffers"),
        count("heap_read", "Blocks of tables read"),
        count("index_hit", "Blocks of indexes found in shared buffers"),
        count("index_read", "Blocks of indexes read"),
        count("commits", "Transactions committed"),
        count("rollbacks", "Transactions rolled back"),
        count("deadlocks", "Deadlocks"),
        count("temp_bytes", "Bytes written to temporary files"),
        count("checksum_failures", "Pages with a wrong checksum"),
    ]


def _one(name: str, text: str, value: float, *, counter: bool = False) -> Family:
    kind = "counter" if counter else "gauge"
    return Family(name=name, help=text, kind=kind, samples=[({}, float(value))])
