"""What an operator wants to know of a database at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db.extensions import list_extensions
from aegis.db.query import fetch_one
from aegis.db.revision import HEAD, schema_state
from aegis.db.server import check_server

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db.database import Connection
    from aegis.db.extensions import ExtensionState
    from aegis.db.revision import SchemaStatus
    from aegis.db.server import ServerReport

__all__ = ["DatabaseFigures", "Overview", "overview"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFigures:
    """The database that a connection is to."""

    name: str
    #: On disk, indexes included.
    size_bytes: int
    #: Clients connected to the server, this one included, and how many it lets in.
    connections: int
    max_connections: int
    #: When the server was started.
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A server, its database, the schema and the optional extensions."""

    server: ServerReport
    database: DatabaseFigures
    schema: SchemaStatus
    #: The revision that this code works with.
    schema_head: str
    extensions: tuple[ExtensionState, ...]


async def overview(conn: Connection) -> Overview:
    """Look at everything once.

    Raises:
        OpsError, Unavailable: Aegis cannot work on this server.
    """
    server = await check_server(conn)
    database = await fetch_one(
        conn,
        DatabaseFigures,
        """
        SELECT
            current_database()::text AS name,
            pg_database_size(current_database()) AS size_bytes,
            (
                SELECT count(*)
                FROM pg_stat_activity
                WHERE backend_type = 'client backend'
            ) AS connections,
            current_setting('max_connections')::int AS max_connections,
            pg_postmaster_start_time() AS started_at
        """,
        missing="The server did not describe its database.",
    )
    return Overview(
        server=server,
        database=database,
        schema=await schema_state(conn),
        schema_head=HEAD,
        extensions=tuple(await list_extensions(conn)),
    )
