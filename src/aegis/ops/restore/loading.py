"""Filling an empty database from an archive, and looking at what came out."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db.admin import admin_connection
from aegis.db.patience import WORK_SILENCE_S
from aegis.db.translate import translated
from aegis.errors import OpsError
from aegis.ops.backup.digest import compare, digest_tables, list_tables, require_method
from aegis.ops.backup.programs import environment, first_error, run_program

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import psycopg

    from aegis.ops.backup.models import Manifest, TableEntry
    from aegis.ops.restore.archive import Contents, Item
    from aegis.ops.restore.selecting import Selection

__all__ = ["analyze", "compare_database", "load", "needed", "of_the_server"]

#: Indexes are not in a dump, and WAL is written beside: what a restore needs for a byte of it.
_SPACE = 1.3

#: What says something of the server, and nothing of the archive.
_INTERRUPTED = re.compile(
    r"server closed the connection|terminating connection|connection to server|No space left"
    r"|out of memory|the database system is|could not extend file|canceling statement"
)

#: What may go wrong and means nothing: a setting of a newer pg_restore that the server has not,
#: and comments on extensions, which only a superuser may write.
_HARMLESS = re.compile(
    r'unrecognized configuration parameter "transaction_timeout"'
    r"|must be owner of extension|must be able to SET ROLE"
)


def load(
    pg_restore: Path,
    archive: Path,
    contents: Contents,
    dsn: str,
    *,
    size: int | None = None,
    jobs: int = 1,
    owners: bool = True,
    superuser: bool = True,
    selection: Selection | None = None,
    stop: threading.Event | None = None,
    tick: Callable[[], None] | None = None,
) -> None:
    """Restore an archive, or a selection of it, into the empty database `dsn`.

    `size` is how many bytes the database had. Who is no `superuser` leaves out rights on what is
    PostgreSQL's own.

    Extensions come first and alone: where one breaks what a parallel restore does in the middle,
    it breaks here, loudly.

    Raises:
        OpsError: `restore_failed`, with the first thing that the server refused;
            `restore_interrupted`, where it or its disk gave way.
        Stopped: `stop` was set.
    """
    items = contents.items if selection is None else selection.items
    if not superuser:
        items = tuple(item for item in items if not of_the_server(item))
    first = [item for item in items if item.kind in ("SCHEMA", "EXTENSION")]
    rest = [item for item in items if item.kind not in ("SCHEMA", "EXTENSION")]
    for part, count in ((first, 1), (rest, jobs)):
        # `public` is there in every new database, and pg_dump may name it all the same.
        lines = "".join(
            f"{item.line}\n"
            for item in part
            if not (item.kind == "SCHEMA" and item.name == "public")
        )
        if lines:
            _restore(pg_restore, archive, dsn, lines, size, count, owners, stop, tick)


def needed(size: int) -> int:
    """Return how many bytes a restore takes of a database that had `size`."""
    return int(size * _SPACE)


def of_the_server(item: Item) -> bool:
    """Tell whether an entry gives rights on what only a superuser gives them on."""
    return item.kind == "ACL" and item.schema == "pg_catalog"


def _restore(
    pg_restore: Path,
    archive: Path,
    dsn: str,
    listing: str,
    size: int | None,
    jobs: int,
    owners: bool,
    stop: threading.Event | None,
    tick: Callable[[], None] | None,
) -> None:
    name = str(conninfo_to_dict(dsn).get("dbname") or "")
    with environment(dsn) as variables, tempfile.TemporaryDirectory() as place:
        chosen = Path(place) / "list"
        chosen.write_text(listing)
        command: list[str | Path] = [
            # A connection string: a name alone would be read as one where it has a `=`.
            pg_restore, f"--dbname={make_conninfo(dbname=name)}", f"--jobs={jobs}",
            f"--use-list={chosen}", "--no-password",
            *([] if owners else ["--no-owner", "--no-privileges"]), archive,
        ]  # fmt: skip
        options = variables.get("PGOPTIONS", "")
        variables |= {
            "PGAPPNAME": "aegis-restore",
            # Indexes of vectors are built in memory, or take many times as long.
            "PGOPTIONS": f"{options} -c statement_timeout=0 -c lock_timeout=0 "
            "-c maintenance_work_mem=256MB",
        }
        status, said = run_program(command, variables, dsn=dsn, stop=stop, tick=tick)
    errors = _errors(said)
    if errors or (status != 0 and "errors ignored on restore" not in said):
        interrupted = any(_INTERRUPTED.search(line) for line in errors)
        full = "No space left" in said
        # A server that cannot write its log ends, and has no time to say why.
        ended = full or "server closed the connection" in said
        needs = f"; the database needs about {needed(size) >> 20} MiB" if ended and size else ""
        raise OpsError(
            f"pg_restore failed: {errors[0] if errors else first_error(said)}"
            + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else "")
            + needs,
            code="restore_interrupted" if interrupted or full else "restore_failed",
        )


def _errors(said: str) -> list[str]:
    lines = [line for line in said.splitlines() if "error:" in line]
    return [line.strip() for line in lines if not _HARMLESS.search(line)]


def analyze(dsn: str, *, stop: threading.Event | None = None) -> None:
    """Give the planner its statistics; a dump has none."""
    with translated(dsn=dsn), _connection(dsn, stop) as conn:
        conn.autocommit = True
        conn.execute("ANALYZE")


def _connection(
    dsn: str, stop: threading.Event | None
) -> AbstractContextManager[psycopg.Connection]:
    """Lend a connection in the middle of long work: it waits for a server that stands still."""
    return admin_connection(
        dsn, application_name="aegis-restore", stop=stop, connect_s=WORK_SILENCE_S
    )


def compare_database(
    dsn: str,
    manifest: Manifest,
    *,
    only: Selection | None = None,
    stop: threading.Event | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> str:
    """Compare every table of a restored database with the manifest and say what was compared.

    Raises:
        OpsError: `restore_differs`, naming what differs.
    """
    require_method(manifest.digest_method)
    wanted = [t for t in manifest.tables if only is None or _within(t, only)]
    with translated(dsn=dsn), _connection(dsn, stop) as conn:
        conn.execute("SELECT set_config('row_security', 'off', false)")
        tables = [
            t for t in list_tables(conn) if only is None or _within_names(t.schema, t.name, only)
        ]
        found = digest_tables(conn, tables, stop=stop, tell=tell)
        row = conn.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone()
    problems = compare(wanted, found)
    large = row[0] if row else 0
    if only is None and large != manifest.large_objects:
        problems.append(f"there are {large} large objects, not {manifest.large_objects}")
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise OpsError("; ".join(problems[:5]) + more + ".", code="restore_differs")
    rows = sum(table.rows for table in wanted)
    return f"{len(wanted)} tables, {rows} rows: counts and digests as in the manifest"


def _within(table: TableEntry, only: Selection) -> bool:
    return _within_names(table.schema, table.name, only)


def _within_names(schema: str, name: str, only: Selection) -> bool:
    return any(item.schema == schema and item.name == name for item in only.tables)
