"""Poolers in front of a server, such as PgBouncer: whether there is one, and what it lends.

By sessions, a client keeps the server's process that it was given. By transactions it has one for
as long as a transaction takes: what was set, locked, prepared or listened for in one is gone, or
somebody else's, in the next. Nothing here relies on what a pooler says of itself.

A client is told a process id when it connects, which is the server's own; a pooler makes one up.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from aegis.db.patience import connect_blocking, cut
from aegis.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "PID_SQL",
    "Pooling",
    "needs_session",
    "options_lost",
    "parted_options",
    "refuses_options",
    "tell_pooling",
]

#: `none`: nothing lies between, or what does passes everything on.
Pooling: TypeAlias = Literal["none", "session", "transaction"]

PID_SQL: Final = "SELECT pg_backend_pid()"

#: As PgBouncer says it of `options` as a whole, of a setting in them, and of what it cannot read.
_UNSUPPORTED: Final = re.compile(r"unsupported (options )?startup parameter")
#: Each round asks two clients in the order A, B, B, A. By sessions each keeps its own process. By
#: transactions an idle pooler gives both the one that was used last, and one that takes turns gives
#: a client another the second time; only one that others use may look like sessions once.
_ROUNDS: Final = 4


def refuses_options(error: psycopg.Error) -> bool:
    """Tell whether a pooler refused the settings that came with the connection."""
    return _UNSUPPORTED.search(str(error)) is not None


def options_lost(given: Sequence[tuple[str, str]]) -> ConfigError:
    """Return the one line for settings in an address that nothing can make good for."""
    return ConfigError(
        f"The options in the address ({', '.join(name for name, _ in given)}) do not get past a "
        "pooler that changes the server's process with each transaction. Set them for the role "
        "(ALTER ROLE … SET …), and take them out of the address.",
        code="db_options_lost",
    )


def parted_options(dsn: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """Return the settings in an address's `options`, and what else is in them for the other side.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS
    """
    words: list[str] = re.findall(r"(?:\\.|\S)+", str(conninfo_to_dict(dsn).get("options") or ""))
    settings: list[tuple[str, str]] = []
    others: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            word += words.pop(0)
        name, given, value = re.sub(r"^(-c|--)", "", word).partition("=")
        if word.startswith(("-c", "--")) and given:
            settings.append((name.replace("-", "_"), re.sub(r"\\(.)", r"\1", value)))
        else:
            others.append(word)
    return tuple(settings), " ".join(others)


def needs_session(what: str, *, where: str = "AEGIS_DATABASE_URL") -> ConfigError:
    """Return the one line for what cannot be done through a pooler by transactions."""
    remedy = {
        "AEGIS_DATABASE_URL": "Set AEGIS_DIRECT_DATABASE_URL to the address of the server itself.",
        "AEGIS_DIRECT_DATABASE_URL": "Let it lead to the server itself.",
        "AEGIS_OWNER_URL": "Let it lead to the server itself.",
    }
    otherwise = (
        "Set AEGIS_DIRECT_DATABASE_URL to the address of the server itself; AEGIS_OWNER_URL and "
        "AEGIS_BACKUP_URL, where they are set, go before it."
    )
    return ConfigError(
        f"{what} needs a session of its own, and {where} leads to a pooler that changes the "
        f"server's process with each transaction. {remedy.get(where, otherwise)}",
        code="db_needs_session",
    )


def tell_pooling(dsn: str, arguments: Mapping[str, Any], *, wait_s: float = 5.0) -> Pooling:
    """Return how the pooler at `dsn` lends processes; call it only where there is one.

    Raises:
        psycopg.Error: as connecting and asking have it; pooling by statements refuses transactions.
        Unavailable: it had no process for a second client within `wait_s`.
    """
    settled: dict[str, Any] = {
        **{name: value for name, value in arguments.items() if name != "connect_timeout"},
        "autocommit": True,
        "prepare_threshold": None,
        "made_by": psycopg.Connection[TupleRow],
        "within_s": wait_s,
    }
    with connect_blocking(dsn, **settled) as a, connect_blocking(dsn, **settled) as b:
        for _ in range(_ROUNDS):
            first, second, third, fourth = (_process_of(conn, wait_s) for conn in (a, b, b, a))
            if first == second or first != fourth or second != third:
                return "transaction"
    return "session"


def _process_of(conn: psycopg.Connection, wait_s: float) -> int:
    """Return the process that serves a client now; a pooler may keep a client waiting for long."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        cut(conn.fileno())

    timer = threading.Timer(wait_s, give_up)
    timer.start()
    try:
        # In a transaction: pooling by statements, which has none, is found out here.
        with conn.transaction():
            row = conn.execute(PID_SQL).fetchone()
    except psycopg.OperationalError as error:
        if not late.is_set():
            raise
        raise Unavailable(
            f"The pooler had no connection to the server to spare within {wait_s:g} s. Raise its "
            "default_pool_size, or try again.",
            code="db_too_many_connections",
        ) from error
    finally:
        timer.cancel()
    assert row is not None
    return int(row[0])
