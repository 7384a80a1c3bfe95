"""Driver errors become the kinds of `aegis.errors`, here and nowhere else.

Codes by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors as pg

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
    from collections.abc import Iterator

__all__ = ["redact", "translate", "translated"]


@contextmanager
def translated(*, dsn: str | None = None) -> Iterator[None]:
    """Run a block and raise driver errors as `AegisError`s; `dsn` is named without its password."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, dsn=dsn) from error


def redact(dsn: str) -> str:
    """Return `dsn` as people may see it: host, port, database and user, never the password."""
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "(not a PostgreSQL address)"
    host = parts.get("host") or "local socket"
    return f"{parts.get('user') or '?'}@{host}:{parts.get('port') or 5432}/{parts.get('dbname') or '?'}"


def translate(error: psycopg.Error, *, dsn: str | None = None) -> AegisError:
    """Return the `AegisError` that says what `error` means to a person."""
    line = _first_line(error)
    if isinstance(error, pg.ProgrammingError) and error.sqlstate is None and dsn is not None:
        return ConfigError(
            f"AEGIS_DATABASE_URL is not a PostgreSQL address: {line}. "
            "Use postgresql://user:password@host:5432/database.",
            code="db_url_invalid",
        )
    by_state = _by_sqlstate(error, line)
    if by_state is not None:
        return by_state
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        where = f" at {redact(dsn)}" if dsn is not None else ""
        return _unreachable(line, where)
    return AegisError(f"PostgreSQL refused a statement ({error.sqlstate}): {line}", code="db_error")


def _unreachable(line: str, where: str) -> AegisError:
    text = line.lower()
    if "authentication failed" in text or "no password supplied" in text:
        return ConfigError(
            f"PostgreSQL{where} refused the user or password. Check AEGIS_DATABASE_URL.",
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


def _by_sqlstate(error: psycopg.Error, line: str) -> AegisError | None:
    diag = error.diag
    match error:
        case pg.InvalidPassword() | pg.InvalidAuthorizationSpecification():
            return ConfigError(
                "PostgreSQL refused the user or password. Check AEGIS_DATABASE_URL.",
                code="db_login_refused",
            )
        case pg.InvalidCatalogName():
            return ConfigError(
                f"{line}. Create it, or correct AEGIS_DATABASE_URL.", code="db_not_found"
            )
        case pg.QueryCanceled():
            return Unavailable(
                "The statement took longer than AEGIS_STATEMENT_TIMEOUT_MS and was cancelled.",
                code="db_statement_timeout",
            )
        case pg.LockNotAvailable() | pg.DeadlockDetected():
            return Unavailable(
                f"A lock was not to be had: {line}. Try again.", code="db_lock_timeout"
            )
        case pg.ReadOnlySqlTransaction():
            return Unavailable(
                "The PostgreSQL server is read-only (a standby, or default_transaction_read_only). "
                "Point AEGIS_DATABASE_URL at the primary.",
                code="db_read_only",
            )
        case pg.DiskFull():
            return Unavailable(
                f"The database's disk is full: {line}. Free space, then try again.",
                code="db_disk_full",
            )
        case pg.TooManyConnections():
            return Unavailable(
                f"PostgreSQL has no free connection slot: {line}.", code="db_too_many_connections"
            )
        case pg.InsufficientPrivilege():
            return PermissionDenied(
                f"The database user may not do this: {line}.", code="db_privilege"
            )
        case pg.UndefinedTable() | pg.UndefinedColumn() | pg.UndefinedFunction():
            return OpsError(
                f"The schema does not fit this version of Aegis: {line}. Run `aegis db upgrade`.",
                code="schema_mismatch",
            )
        case pg.UniqueViolation():
            return Conflict(f"It exists already: {diag.message_detail or line}")
        case pg.ForeignKeyViolation():
            return Conflict(
                f"It is referred to, or refers to what is not there: {diag.message_detail or line}"
            )
        case pg.CheckViolation() | pg.NotNullViolation() | pg.DataError():
            return InvalidInput(f"PostgreSQL does not accept the value: {line}")
        case _:
            return None


def _first_line(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    lines = [part.strip() for part in text.splitlines() if part.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
