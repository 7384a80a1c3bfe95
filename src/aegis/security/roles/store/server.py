"""SQL that asks the server how it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict

from aegis.db import fetch_one
from aegis.db.translate import translated

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["Encryption", "database_of", "read_encryption"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How connections to the server are encrypted."""

    ssl: bool
    #: `ssl_min_protocol_version`; empty where the user may not read it.
    oldest: str
    listen_addresses: str

    @property
    def listens_beyond(self) -> bool:
        """Whether other machines can reach it."""
        near = {"", "localhost", "127.0.0.1", "::1"}
        return any(part.strip() not in near for part in self.listen_addresses.split(","))


async def read_encryption(conn: Connection) -> Encryption:
    """Return it."""
    return await fetch_one(
        conn,
        Encryption,
        """
        SELECT
            current_setting('ssl')::boolean AS ssl,
            coalesce(
                -- Not there for whoever may not read it.
                (SELECT setting FROM pg_settings WHERE name = 'ssl_min_protocol_version'), ''
            ) AS oldest,
            current_setting('listen_addresses') AS listen_addresses
        """,
        missing="The server did not say how it is reached.",
    )


def database_of(dsn: str) -> str:
    """Return the database that an address names (`aegis` where it names none)."""
    with translated(dsn=dsn):
        return str(conninfo_to_dict(dsn).get("dbname") or "aegis")
