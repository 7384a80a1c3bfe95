"""Extensions that Aegis uses where they are and does without where they are not.

pgvector is not one of them: nothing works without it (`server.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg
from psycopg.sql import SQL, Identifier

from aegis.db.query import fetch_all, fetch_value

if TYPE_CHECKING:
    from aegis.db.database import Connection

__all__ = ["OPTIONAL", "Extension", "ExtensionState", "ensure_extensions", "list_extensions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """An extension that is used where it is present."""

    name: str
    #: What Aegis does with it.
    purpose: str
    #: What is missing without it.
    absence: str


OPTIONAL = (
    Extension(
        name="pg_stat_statements",
        purpose="counts and times every kind of statement",
        absence="no list of slow queries and no index advice from them",
    ),
    Extension(
        name="pg_trgm",
        purpose="finds words that are spelt almost alike",
        absence="a misspelt word in a text search finds nothing",
    ),
    Extension(
        name="uuid-ossp",
        purpose="uuid_generate_v4(), the default of every id in the original schema",
        absence="nothing: a function of the same name stands in",
    ),
    Extension(
        name="pgcrypto",
        purpose="digests and encryption inside SQL",
        absence="SQL of your own that calls digest() or crypt() fails; Aegis itself does not",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionState:
    """One optional extension as this database has it."""

    extension: Extension
    #: Version in this database; None if it was not created here.
    installed: str | None
    #: Version that the server could create; None if its files are not there.
    available: str | None
    #: Why it is of no use as it is, and what to do; None if it works, or is merely absent.
    problem: str | None = None

    @property
    def usable(self) -> bool:
        """Tell whether it works in this database."""
        return self.installed is not None and self.problem is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    name: str
    installed: str | None
    available: str | None


async def list_extensions(conn: Connection) -> list[ExtensionState]:
    """List the optional extensions, in the order of `OPTIONAL`."""
    rows = await fetch_all(
        conn,
        _Row,
        """
        SELECT
            wanted.name,
            (
                SELECT extversion
                FROM pg_extension
                WHERE extname = wanted.name
            ) AS installed,
            (
                SELECT default_version
                FROM pg_available_extensions AS offered
                WHERE offered.name = wanted.name
            ) AS available
        FROM unnest(%(names)s::text[]) AS wanted (name)
        """,
        {"names": [extension.name for extension in OPTIONAL]},
    )
    found = {row.name: row for row in rows}
    states = [
        ExtensionState(
            extension=extension,
            installed=found[extension.name].installed,
            available=found[extension.name].available,
        )
        for extension in OPTIONAL
    ]
    return [await _with_problem(conn, state) for state in states]


async def ensure_extensions(conn: Connection) -> list[ExtensionState]:
    """Create every optional extension that can be created; a failure is reported, not raised."""
    failures: dict[str, str] = {}
    for state in await list_extensions(conn):
        if state.installed is None and state.available is not None:
            failure = await _create(conn, state.extension.name)
            if failure is not None:
                failures[state.extension.name] = failure
    return [
        replace(state, problem=failures[state.extension.name])
        if state.installed is None and state.extension.name in failures
        else state
        for state in await list_extensions(conn)
    ]


async def _create(conn: Connection, name: str) -> str | None:
    # A transaction within the caller's: what fails here must not end the caller's.
    try:
        async with conn.transaction():
            await conn.execute(SQL("CREATE EXTENSION IF NOT EXISTS {}").format(Identifier(name)))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        return f"it could not be created: {error.diag.message_primary or error}"
    return None


async def _with_problem(conn: Connection, state: ExtensionState) -> ExtensionState:
    if state.extension.name != "pg_stat_statements" or state.installed is None:
        return state
    # Its parameters exist only where the library was loaded at the server's start.
    loaded = await fetch_value(
        conn, "SELECT count(*) FROM pg_settings WHERE name = 'pg_stat_statements.max'"
    )
    if loaded:
        return state
    return replace(
        state,
        problem="it is not loaded: add it to shared_preload_libraries and restart the server",
    )
