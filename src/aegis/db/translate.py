"""Driver errors become the kinds of `aegis.errors`, here and nowhere else.

Codes by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict

from aegis.errors import (
    AegisError,
    ConfigError,
    Conflict,
    InvalidInput,
    OpsError,
    PermissionDenied,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["redact", "translate", "translated"]

#: How libpq says that a part of the address is wrong; the last is the resolver, of a port.
_BAD_OPTION: Final = re.compile(
    r'for connection option "(\w+)"|invalid (\w+) value: "|invalid port number|Servname not supp'
)


@contextmanager
def translated(*, dsn: str | None = None) -> Generator[None, None, None]:
    """Run a block and raise driver errors as `AegisError`s; `dsn` is named without its password."""
    try:
        yield
    except psycopg.Error as error:
        # A malformed address is repeated in the driver's error: that cause is not kept.
        meant = translate(error, dsn=dsn)
        raise meant from (None if meant.code == "db_url_invalid" else error)
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        # The driver's, of a value that whoever took it in did not look at.
        raise InvalidInput("A text contains half of a surrogate pair; it is not text.") from error


def redact(dsn: str) -> str:
    """Return `dsn` as people may see it: host, port, database and user, never the password."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "(not a PostgreSQL address)"
    host, port = parts.get("host") or "local socket", parts.get("port") or 5432
    return f"{parts.get('user') or '?'}@{host}:{port}/{parts.get('dbname') or '?'}"


def translate(error: psycopg.Error, *, dsn: str | None = None) -> AegisError:
    """Return the `AegisError` that says what `error` means to a person."""
    line = _first_line(error)
    bad_option = _BAD_OPTION.search(line)
    if dsn is not None and (bad_option or isinstance(error, psycopg.ProgrammingError)):
        # The driver's own line may repeat the address, password included.
        option = bad_option and (bad_option[1] or bad_option[2] or "port")
        where = f" (its {option} is wrong)" if option else ""
        return ConfigError(
            f"AEGIS_DATABASE_URL is not a PostgreSQL address{where}. "
            "Use postgresql://user:password@host:5432/database.",
            code="db_url_invalid",
        )
    by_state = _by_sqlstate(error, line)
    if by_state is not None:
        return by_state
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        where = f" at {redact(dsn)}" if dsn is not None else ""
        return _unreachable(line, where)
    refused = AegisError(
        f"PostgreSQL refused a statement ({error.sqlstate}): {line}", code="db_error"
    )
    refused.public = "The database refused this."
    return refused


#: A refusal to connect carries no SQLSTATE, only these words.
_LOGIN_REFUSED: Final = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "not permitted to log in",
    "permission denied for database",
    # Of PgBouncer, to users that it does not know.
    "no such user",
    "sasl authentication failed",
)


def _unreachable(line: str, where: str) -> AegisError:
    text = line.lower()
    if "no more connections allowed" in text:
        return Unavailable(
            f"The pooler{where} takes no more clients ({line}). Raise its max_client_conn, or try "
            "again.",
            code="db_too_many_connections",
        )
    if "too many c" in text or "remaining connection slots" in text:
        return Unavailable(
            f"PostgreSQL{where} has no free connection slot ({line}). Raise its max_connections, "
            "or try again.",
            code="db_too_many_connections",
        )
    if "unsupported startup parameter" in text or "unsupported options startup" in text:
        return ConfigError(
            f"What answers{where} is a pooler that takes no options with a connection. Take them "
            "out of the address, or have it ignore them (ignore_startup_parameters = options).",
            code="db_options_lost",
        )
    if "not allowed in statement pooling mode" in text:
        return ConfigError(
            f"What answers{where} is a pooler by statements, which has no transactions. Set "
            "pool_mode = transaction, or session, in its pgbouncer.ini.",
            code="db_pooling_statements",
        )
    if any(sign in text for sign in _LOGIN_REFUSED):
        return ConfigError(
            f"PostgreSQL{where} refused the user or password ({line}). Check AEGIS_DATABASE_URL.",
            code="db_login_refused",
        )
    if "does not exist" in text and ("database" in text or "role" in text):
        return ConfigError(
            f"PostgreSQL{where} answered: {line}. Create it, or correct AEGIS_DATABASE_URL.",
            code="db_not_found",
        )
    return Unavailable(
        f"PostgreSQL{where} does not answer: {line}. Is it running, and the address right?",
        code="db_unreachable",
    )


#: SQLSTATE class → what it means to a person. `{}` is PostgreSQL's own line.
_MEANINGS: tuple[tuple[type[psycopg.Error], type[AegisError], str, str], ...] = (
    (pg.InvalidPassword, ConfigError, "db_login_refused",
     "PostgreSQL refused the user or password ({}). Check AEGIS_DATABASE_URL."),
    (pg.InvalidAuthorizationSpecification, ConfigError, "db_login_refused",
     "PostgreSQL refused the user or password ({}). Check AEGIS_DATABASE_URL."),
    (pg.InvalidCatalogName, ConfigError, "db_not_found",
     "{}. Create it, or correct AEGIS_DATABASE_URL."),
    (pg.QueryCanceled, Unavailable, "db_statement_timeout",
     "PostgreSQL stopped a statement ({}). AEGIS_STATEMENT_TIMEOUT_MS allows longer ones."),
    (pg.LockNotAvailable, Unavailable, "db_lock_timeout",
     "A lock was not to be had ({}). Try again; AEGIS_LOCK_TIMEOUT_MS allows waiting longer."),
    (pg.DeadlockDetected, Unavailable, "db_lock_timeout",
     "Two transactions waited for each other ({}). Try again."),
    (pg.ObjectInUse, Unavailable, "db_in_use",
     "Others are using it ({}). Try again when they are gone."),
    (pg.IdleInTransactionSessionTimeout, Unavailable, "db_idle_in_transaction",
     "PostgreSQL ended a transaction in which nothing was done for long ({}). Try again."),
    (pg.ReadOnlySqlTransaction, Unavailable, "db_read_only",
     "The PostgreSQL server is read-only ({}). Point AEGIS_DATABASE_URL at the primary."),
    (pg.DiskFull, Unavailable, "db_disk_full",
     "The database's disk is full ({}). Free space, then try again."),
    (pg.TooManyConnections, Unavailable, "db_too_many_connections",
     "PostgreSQL has no free connection slot ({}). Raise its max_connections, or try again."),
    (pg.InsufficientPrivilege, PermissionDenied, "db_privilege",
     "The database user may not do this ({}). Give the owner's address in AEGIS_OWNER_URL, grant "
     "it, or use another user."),
    (pg.UndefinedTable, OpsError, "schema_mismatch",
     "The schema does not fit this version of Aegis ({}). Run `aegis db upgrade`."),
    (pg.UndefinedColumn, OpsError, "schema_mismatch",
     "The schema does not fit this version of Aegis ({}). Run `aegis db upgrade`."),
    (pg.UndefinedFunction, OpsError, "schema_mismatch",
     "The schema does not fit this version of Aegis ({}). Run `aegis db upgrade`."),
    (pg.UniqueViolation, Conflict, "conflict", "It exists already ({})."),
    (pg.ForeignKeyViolation, Conflict, "conflict",
     "Other rows refer to it, or it refers to what is not there ({})."),
    (pg.CheckViolation, InvalidInput, "invalid_input",
     "PostgreSQL does not accept the value ({})."),
    (pg.NotNullViolation, InvalidInput, "invalid_input", "A value is missing ({})."),
    (pg.DataError, InvalidInput, "invalid_input", "PostgreSQL does not accept the value ({})."),
)  # fmt: skip


def _by_sqlstate(error: psycopg.Error, line: str) -> AegisError | None:
    if isinstance(error, pg.UniqueViolation | pg.ForeignKeyViolation):
        line = error.diag.message_detail or line
    for state, kind, code, meaning in _MEANINGS:
        if isinstance(error, state):
            meant = kind(meaning.format(line.rstrip(".")), code=code)
            # PostgreSQL's own line names tables and columns, unless it is about a value alone.
            if not isinstance(error, pg.DataError):
                meant.public = meaning.replace(" ({})", "").replace(
                    "{}", "The database is not there"
                )
            return meant
    return None


def _first_line(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    lines = [part.strip() for part in text.splitlines() if part.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
