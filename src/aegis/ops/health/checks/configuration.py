"""Settings of the server: durable, fitting the machine, in force; extensions up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.db.cluster_config import memory_bytes
from aegis.ops.health.looking import check, rows, size, value
from aegis.ops.health.models import CouldNotCheck, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]

_MB: Final = 1 << 20


@check(
    "durability",
    "settings",
    "Settings that keep what was committed",
    means="After a crash committed rows are gone, or the database is unusable.",
    advice="Switch them on again.",
    fine="on",
)
async def durability(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Look at fsync, full_page_writes and synchronous_commit."""
    del ask
    found = await rows(
        conn,
        """
        SELECT name, setting
        FROM pg_settings
        WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
          AND setting = 'off'
        ORDER BY name
        """,
    )
    return [
        Seen(
            object=name,
            observed=f"is {setting}",
            # The last one loses the newest transactions, the others the database.
            state="warning" if name == "synchronous_commit" else "critical",
            fix=f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();",
        )
        for name, setting in found
    ]


@check(
    "memory-settings",
    "settings",
    "Memory settings that fit the machine",
    means="Too small wastes the machine; too large ends in the kernel killing the server.",
    advice="A quarter of the memory for shared_buffers at most where other work runs there, too; "
    "work_mem so that all connections fit.",
    fine="fit",
)
async def memory_settings(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Compare shared_buffers, work_mem and others with this machine's memory."""
    del ask
    ((here, shared, work, cache, maintenance, most),) = await rows(
        conn,
        """
        SELECT
            coalesce(inet_server_addr() << inet '127.0.0.0/8' OR inet_server_addr() = '::1', true),
            pg_size_bytes(current_setting('shared_buffers')),
            pg_size_bytes(current_setting('work_mem')),
            pg_size_bytes(current_setting('effective_cache_size')),
            pg_size_bytes(current_setting('maintenance_work_mem')),
            current_setting('max_connections')::int
        """,
    )
    if not here:
        raise CouldNotCheck("the server is another machine, whose memory is not known here")
    return judge_memory(
        memory_bytes(),
        shared=shared,
        work=work,
        cache=cache,
        maintenance=maintenance,
        connections=most,
    )


def judge_memory(
    total: int, *, shared: int, work: int, cache: int, maintenance: int, connections: int
) -> list[Seen]:
    """Return what of these settings does not fit a machine with `total` bytes of memory."""
    seen: list[Seen] = []

    def note(name: str, text: str, better: int, *, critical: bool = False) -> None:
        seen.append(
            Seen(
                object=name,
                observed=text,
                state="critical" if critical else "warning",
                fix=f"ALTER SYSTEM SET {name} = '{max(1, better // _MB)}MB';",
            )
        )

    if shared > total * 0.6:
        text = f"{size(shared)} of {size(total)} memory"
        note("shared_buffers", text, total // 4, critical=shared > total * 0.9)
    elif shared < min(total // 32, 64 * _MB):
        note("shared_buffers", f"{size(shared)} of {size(total)} memory", total // 8)
    if work * connections > total * 2:
        text = f"{size(work)} for each of {connections} connections are more than the memory"
        note("work_mem", text, total // (2 * connections))
    if cache < shared:
        text = f"{size(cache)}, less than shared_buffers: indexes look dearer than they are"
        note("effective_cache_size", text, total // 2)
    if maintenance > total // 2:
        note("maintenance_work_mem", f"{size(maintenance)} of {size(total)}", total // 8)
    return seen


@check(
    "pending-restart",
    "settings",
    "Settings that wait for a restart",
    means="What the file says is not what holds; the next restart changes it.",
    advice="Restart the server at a quiet hour.",
)
async def pending_restart(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List them."""
    del ask
    found = await rows(
        conn, "SELECT name, setting FROM pg_settings WHERE pending_restart ORDER BY name"
    )
    return [Seen(object=name, observed=f"still {setting}") for name, setting in found]


@check(
    "settings-errors",
    "settings",
    "Lines of configuration files that cannot be read",
    means="They do not hold, and the server may not start again.",
    advice="Correct the line, then SELECT pg_reload_conf();",
)
async def settings_errors(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List them."""
    del ask
    found = await rows(
        conn,
        """
        SELECT f.sourcefile || ':' || f.sourceline, coalesce(f.name, ''), f.error
        FROM pg_file_settings f
        LEFT JOIN pg_settings s ON lower(s.name) = lower(f.name)
        WHERE f.error IS NOT NULL
          -- What only a restart can apply is told by `pending-restart`.
          AND NOT (f.error = 'setting could not be applied' AND s.context IS NOT DISTINCT FROM
                   'postmaster')
        ORDER BY 1
        """,
    )
    return [Seen(object=place, observed=f"{name}: {error}") for place, name, error in found]


@check(
    "slow-log",
    "settings",
    "Logging of slow statements",
    means="What was slow last night is not known; the specification logs what takes a second.",
    advice="Set log_min_duration_statement.",
    fine="on",
)
async def slow_log(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Look at log_min_duration_statement and auto_explain."""
    del ask
    setting = await value(conn, "SELECT current_setting('log_min_duration_statement')")
    explained = await value(conn, "SELECT current_setting('auto_explain.log_min_duration', true)")
    if setting != "-1":
        return [Seen(observed=f"from {setting}", state="ok")]
    if explained not in (None, "", "-1"):
        return [Seen(observed=f"by auto_explain from {explained}", state="ok")]
    name = await value(conn, "SELECT quote_ident(current_database())")
    return [
        Seen(
            observed="log_min_duration_statement is -1",
            fix=f"ALTER DATABASE {name} SET log_min_duration_statement = 1000;",
        )
    ]


@check(
    "statements-missing",
    "settings",
    "Statistics of statements",
    means="Which statements are slow, and which became slower, is not known.",
    advice="Add pg_stat_statements to shared_preload_libraries, restart, and create it.",
    fine="there",
)
async def statements_missing(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say whether pg_stat_statements is installed and loaded."""
    del ask
    from aegis.ops.stats.statements import find_schema

    if await find_schema(conn) is not None:
        return []
    ((available, installed),) = await rows(
        conn,
        """
        SELECT
            EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'),
            EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')
        """,
    )
    if installed:
        return [Seen(observed="created, but not in shared_preload_libraries")]
    if not available:
        return [Seen(observed="this server does not have it")]
    return [Seen(observed="not created", fix="CREATE EXTENSION pg_stat_statements;")]


@check(
    "extensions-outdated",
    "settings",
    "Extensions that are older than their files",
    means="The server's files were upgraded, what is in the database was not.",
    advice="Update it; read its release notes first.",
    fine="up to date",
)
async def extensions_outdated(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List extensions whose installed version is not the default one."""
    del ask
    found = await rows(
        conn,
        """
        SELECT name, installed_version, default_version,
               format('ALTER EXTENSION %I UPDATE;', name)
        FROM pg_available_extensions
        WHERE installed_version IS NOT NULL
          AND installed_version <> default_version
        ORDER BY name
        """,
    )
    return [Seen(object=n, observed=f"{a}, {b} is there", fix=fix) for n, a, b, fix in found]


CHECKS = (
    durability,
    memory_settings,
    pending_restart,
    settings_errors,
    slow_log,
    statements_missing,
    extensions_outdated,
)
