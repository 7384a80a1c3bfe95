"""Making a backup: pg_dump and the digests beside it, both at one exported snapshot.

Order of locks: the file lock of the folder, the advisory lock of the database, then every table
in the transaction whose snapshot is exported. The tables are locked before pg_dump starts, so that
nobody can empty one between its snapshot and its turn. Somebody who wants a table for himself in
just that moment would wait for us, and pg_dump for him; it gives up soon, and all starts again.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict

from aegis.db.admin import admin_connection, read_status
from aegis.db.translate import translated
from aegis.errors import Conflict, OpsError
from aegis.ops.backup import crypto
from aegis.ops.backup.catalogue import KEY, MANIFEST
from aegis.ops.backup.digest import METHOD, list_tables, lock_tables
from aegis.ops.backup.dumping import DumpWaited, Run, Wish, archive_files, dump_and_digest
from aegis.ops.backup.models import Entry, Manifest
from aegis.ops.backup.programs import (
    best_compression,
    find_program,
)
from aegis.ops.backup.sealed import write_sealed
from aegis.ops.backup.survey import survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aegis.ops.backup.catalogue import Catalogue
    from aegis.ops.backup.crypto import KeyRing

    _Anchor: TypeAlias = Callable[[psycopg.Connection, datetime], dict[str, Any] | None]

__all__ = ["Wish", "create"]

#: Key of the advisory lock: "backups" in ASCII.
LOCK_KEY = 0x6261636B757073
_ATTEMPTS = 4


def create(
    dsn: str,
    catalogue: Catalogue,
    wish: Wish,
    keys: KeyRing,
    *,
    stop: threading.Event | None = None,
    tell: Callable[[str, int, int], None] | None = None,
    anchor: _Anchor | None = None,
) -> Entry:
    """Make a backup of the database and return it, not verified yet.

    `anchor` is asked in the snapshot, with its time, where the audit log stands.

    Raises:
        Conflict: `backup_running`.
        OpsError: pg_dump or the disk refused; nothing is left of it.
        ConfigError: it is to be encrypted and there is no key.
    """
    wish.check()
    with catalogue.alone():
        name = _new_name(dsn, wish.label)
        data_key = os.urandom(32) if wish.encrypt else None
        with catalogue.staging(name) as folder:
            if data_key is not None:
                write_sealed(folder / KEY, keys.wrap(data_key, name))
            run = Run(
                dsn=dsn,
                wish=wish,
                folder=folder,
                stop=stop or threading.Event(),
                tell=tell or _silent,
                data_key=data_key,
            )
            _require_space(catalogue)
            manifest = _with_attempts(run, name, catalogue.next_number(), anchor)
            key = None if data_key is None else crypto.manifest_key(data_key)
            write_sealed(folder / MANIFEST, manifest, key)
            with run.timed("sync"):
                return catalogue.publish(folder, name)


def _silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def _new_name(dsn: str, label: str) -> str:
    database = str(conninfo_to_dict(dsn).get("dbname") or "aegis")
    safe = re.sub(r"[^A-Za-z0-9-]", "_", database)[:60].lstrip("_-") or "database"
    return f"{safe}_{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}_{label}"


def _require_space(catalogue: Catalogue) -> None:
    """Refuse early where the last backup would not fit again."""
    last = next((e.manifest for e in catalogue.entries() if e.manifest), None)
    free = shutil.disk_usage(catalogue.folder).free
    if last is not None and last.bytes > free:
        raise OpsError(
            f"{catalogue.folder} has {free >> 20} MiB left, and the last backup took "
            f"{last.bytes >> 20} MiB. Free space there, or prune: `aegis backup prune`.",
            code="backup_space",
        )


def _with_attempts(run: Run, name: str, number: int, anchor: _Anchor | None) -> Manifest:
    began = datetime.now(UTC)
    with (
        translated(dsn=run.dsn),
        admin_connection(run.dsn, application_name="aegis-backup", stop=run.stop) as conn,
    ):
        _alone_in_database(conn)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return _attempt(run, conn, name, number, began, anchor)
            except (pg.LockNotAvailable, pg.UndefinedTable, DumpWaited) as error:
                # Somebody changes the schema at this moment; he is done soon.
                conn.rollback()
                if attempt == _ATTEMPTS:
                    raise OpsError(
                        "The schema kept changing, or a table stayed locked, while the backup "
                        f"began ({error}). Try again when that is done.",
                        code="backup_locked_out",
                    ) from error
                run.stop.wait(attempt)
                _empty(run.folder)
    raise AssertionError


def _alone_in_database(conn: psycopg.Connection) -> None:
    """Hold the advisory lock until the connection ends (`Conflict`).

    A backup on this machine that was killed may still have a server process for a moment.
    """
    conn.execute("SET lock_timeout = '10s'")
    # Should we be killed, the server notices within a second and gives up what we hold.
    conn.execute("SELECT set_config('client_connection_check_interval', '1s', false)")
    try:
        conn.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
    except pg.LockNotAvailable as error:
        raise Conflict(
            "Another process, perhaps on another machine, makes a backup of this database; wait "
            "for its end.",
            code="backup_running",
        ) from error
    conn.execute("SET lock_timeout = '5s'")
    conn.execute("SELECT set_config('row_security', 'off', false)")
    conn.commit()


def _attempt(
    run: Run,
    conn: psycopg.Connection,
    name: str,
    number: int,
    began: datetime,
    anchor: _Anchor | None,
) -> Manifest:
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    with run.timed("total"), conn.transaction():
        found = survey(conn)
        revision = read_status(conn).revision
        tables = list_tables(conn)
        lock_tables(conn, tables)
        if [t.title for t in list_tables(conn)] != [t.title for t in tables]:
            raise pg.UndefinedTable("a table came or went")
        anchored = None if anchor is None else anchor(conn, found.snapshot_at)
        row: Any = conn.execute("SELECT pg_export_snapshot()").fetchone()
        pg_dump, client = find_program("pg_dump", found.server_version_num // 10_000)
        wish = replace(run.wish, compression=best_compression(pg_dump, run.wish.compression))
        run.wish = wish
        with run.timed("dump"):
            counted = dump_and_digest(run, conn, tables, pg_dump, row[0], found)
    conn.isolation_level = None
    conn.read_only = None
    with run.timed("hash"):
        files = archive_files(run)
    return Manifest(
        name=name, number=number, label=wish.label, database=found.database, format=wish.format,
        compression=wish.compression, jobs=wish.jobs, encrypted=run.data_key is not None,
        server_version=found.server_version, server_version_num=found.server_version_num,
        client_major=client, aegis_version=version("aegis-core"), schema_revision=revision,
        started_at=began, snapshot_at=found.snapshot_at, finished_at=datetime.now(UTC),
        database_bytes=found.database_bytes, large_objects=found.large_objects,
        digest_method=METHOD, files=files, tables=tuple(counted), extensions=found.extensions,
        roles=found.roles, properties=found.properties, timings=dict(run.timings),
        audit_anchor=anchored,
    )  # fmt: skip


def _empty(folder: Path) -> None:
    for child in folder.iterdir():
        if child.name == KEY:
            continue
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.unlink()
