"""Plans of statements that were slow when they ran: auto_explain writes them into the server's log.

Turned on for this database's new connections alone. Values bound to parameters are not logged;
what stands in a statement's text is, as with `log_min_duration_statement`.
https://www.postgresql.org/docs/current/auto-explain.html
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
from psycopg import sql

from aegis.db import fetch_value
from aegis.errors import InvalidInput, Unavailable
from aegis.ops.stats.models import SlowPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.db import Connection

__all__ = ["parse", "record", "recorded", "turn_off"]

_MODULE: Final = "auto_explain"
_DURATION: Final = re.compile(r"duration: (?P<ms>\d+(?:\.\d+)?) ms  plan:$")
#: Of the end of the log; a plan is some kilobytes.
_READ_BYTES: Final = 16 << 20
_LEAST_MS, _MOST_MS = 1, 3_600_000


async def record(conn: Connection, *, slower_than_ms: int, analyze: bool) -> None:
    """Have this database's new connections log the plan of each statement that takes so long.

    `analyze` adds what each step really took in rows and blocks, not in time: reading the clock
    at every row would slow every statement.

    Raises:
        InvalidInput: the milliseconds are out of range.
        Unavailable: `auto_explain_refused`, this role may not, or the server has no such module.
    """
    if not _LEAST_MS <= slower_than_ms <= _MOST_MS:
        raise InvalidInput(
            f"slower_than_ms is {slower_than_ms}; it is {_LEAST_MS} to {_MOST_MS:,} ms."
        )
    kept = [name for name in await _preloaded(conn) if name != _MODULE]
    settings = {
        "auto_explain.log_min_duration": f"{slower_than_ms}ms",
        "auto_explain.log_format": "json",
        "auto_explain.log_analyze": "on" if analyze else "off",
        "auto_explain.log_buffers": "on" if analyze else "off",
        "auto_explain.log_timing": "off",
        "auto_explain.log_parameter_max_length": "0",
        "session_preload_libraries": ", ".join([*kept, _MODULE]),
    }
    try:
        # Its settings are known, and checked, once the module is there.
        await conn.execute("LOAD 'auto_explain'")
        for name, value in settings.items():
            await _set(conn, name, sql.SQL("SET {} TO {}"), value)
    except psycopg.Error as error:
        raise _refused(error) from error


async def turn_off(conn: Connection) -> None:
    """Undo `record`; connections that are open keep what they have (`Unavailable`)."""
    kept = [name for name in await _preloaded(conn) if name != _MODULE]
    ours = [name for name in await _database_settings(conn) if name.startswith(f"{_MODULE}.")]
    try:
        await conn.execute("LOAD 'auto_explain'")
        for name in ours:
            await _set(conn, name, sql.SQL("RESET {}"))
        if kept:
            name = "session_preload_libraries"
            await _set(conn, name, sql.SQL("SET {} TO {}"), ", ".join(kept))
        else:
            await _set(conn, "session_preload_libraries", sql.SQL("RESET {}"))
    except psycopg.Error as error:
        raise _refused(error) from error


async def recorded(conn: Connection, *, limit: int) -> list[SlowPlan]:
    """Return the plans in the end of the server's log, the slowest first, one a statement.

    Raises:
        Unavailable: `server_log_unreadable`, this role may not read it, or it is kept elsewhere.
    """
    try:
        async with conn.transaction():
            path = await fetch_value(conn, "SELECT pg_current_logfile('stderr')")
            if path is None:
                raise Unavailable(
                    "The server writes no log file that can be read here: set logging_collector "
                    "= on and log_destination = 'stderr', or look where its log goes.",
                    code="server_log_unreadable",
                )
            text = await fetch_value(
                conn,
                """
                SELECT convert_from(part, 'UTF8')
                FROM pg_stat_file(%(path)s) AS file,
                     pg_read_binary_file(
                         %(path)s, greatest(file.size - %(most)s, 0), %(most)s
                     ) AS whole,
                     -- A cut may fall into the middle of a character: lines begin whole.
                     substring(whole FROM position('\\x0a'::bytea IN whole) + 1) AS part
                """,
                {"path": path, "most": _READ_BYTES},
            )
    except psycopg.Error as error:
        reason = (error.diag.message_primary or str(error)).strip()
        raise Unavailable(
            f"The server's log cannot be read: {reason}. Grant pg_monitor and EXECUTE on "
            "pg_read_binary_file and pg_stat_file, or ask as a superuser.",
            code="server_log_unreadable",
        ) from error
    return parse(text or "", limit=limit)


def parse(log: str, *, limit: int) -> list[SlowPlan]:
    """Return the plans in a log, the slowest first; of a statement's plans the slowest is kept."""
    slowest: dict[str, tuple[float, Any]] = {}
    times: dict[str, int] = {}
    for milliseconds, entry in _entries(log):
        text = str(entry.get("Query Text", ""))
        times[text] = times.get(text, 0) + 1
        if text not in slowest or milliseconds > slowest[text][0]:
            slowest[text] = (milliseconds, entry.get("Plan"))
    found = [
        SlowPlan(query=text, milliseconds=most, times=times[text], plan=list(_lines(plan)))
        for text, (most, plan) in slowest.items()
    ]
    return sorted(found, key=lambda one: -one.milliseconds)[:limit]


def _entries(log: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield milliseconds and JSON of each plan; what is cut off or is none is passed over."""
    lines = iter(log.splitlines())
    line = next(lines, None)
    while line is not None:
        begins = None if line.startswith("\t") else _DURATION.search(line)
        line = next(lines, None)
        if begins is None:
            continue
        body: list[str] = []
        # The server begins every further line of a message with a tab: a statement cannot
        # pretend to be a line of the log.
        while line is not None and line.startswith("\t"):
            body.append(line[1:])
            line = next(lines, None)
        try:
            entry = json.loads("\n".join(body))
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield float(begins["ms"]), cast("dict[str, Any]", entry)


def _lines(plan: Any, depth: int = 0) -> Iterator[str]:
    """Write a plan of EXPLAIN's JSON form as people read it."""
    if not isinstance(plan, dict) or depth > 100:
        return
    node = cast("dict[str, Any]", plan)
    words = [str(node.get("Node Type", "?"))]
    for key, before in (("Index Name", "using"), ("Relation Name", "on"), ("CTE Name", "on")):
        if node.get(key):
            words.append(f"{before} {node[key]}")
    figures = f"cost {node.get('Total Cost', 0):,.0f}, rows {node.get('Plan Rows', 0):,}"
    if "Actual Rows" in node:
        figures += f", really {node['Actual Rows']:,} in {node.get('Actual Loops', 1):,} loops"
    yield f"{'  ' * depth}{' '.join(words)}  ({figures})"
    for key in ("Index Cond", "Filter", "Join Filter", "Hash Cond"):
        if node.get(key):
            yield f"{'  ' * depth}    {key}: {node[key]}"
    if node.get("Sort Key"):
        yield f"{'  ' * depth}    Sort Key: {', '.join(map(str, node['Sort Key']))}"
    for part in node.get("Plans", ()):
        yield from _lines(part, depth + 1)


async def _preloaded(conn: Connection) -> list[str]:
    settings = await _database_settings(conn)
    text = settings.get("session_preload_libraries", "")
    return [name.strip().strip('"') for name in text.split(",") if name.strip()]


async def _database_settings(conn: Connection) -> dict[str, str]:
    """Return what ALTER DATABASE … SET said for every role of this database."""
    cursor = await conn.execute(
        """
        SELECT split_part(one, '=', 1), substr(one, position('=' IN one) + 1)
        FROM pg_db_role_setting s
        JOIN pg_database d ON d.oid = s.setdatabase,
        unnest(s.setconfig) AS one
        WHERE d.datname = current_database()
          AND s.setrole = 0
        """
    )
    return dict(await cursor.fetchall())


async def _set(conn: Connection, name: str, what: sql.SQL, value: str | None = None) -> None:
    database = sql.Identifier(conn.info.dbname)
    # A list of libraries is one value here: quoted whole, it would be one name.
    shown = [] if value is None else [sql.SQL(", ").join(map(sql.Literal, value.split(", ")))]
    change = what.format(sql.Identifier(*name.split(".")), *shown)
    await conn.execute(sql.SQL("ALTER DATABASE {} ").format(database) + change)


def _refused(error: psycopg.Error) -> Unavailable:
    reason = (error.diag.message_primary or str(error)).strip()
    return Unavailable(
        f"auto_explain cannot be set up: {reason}. It takes a superuser, and the module on the "
        "server.",
        code="auto_explain_refused",
    )
