"""Making a backup: pg_dump and the digests beside it, both at one exported snapshot.

Order of locks: the file lock of the folder, the advisory lock of the database, then every table
in the transaction whose snapshot is exported. The tables are locked before pg_dump starts, so that
nobody can empty one between its snapshot and its turn. Somebody who wants a table for himself in
just that moment would wait for us, and pg_dump for him; it gives up soon, and all starts again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict

from aegis.db.admin import admin_connection, read_status
from aegis.db.translate import translated
from aegis.errors import Conflict, InvalidInput, OpsError
from aegis.ops.backup import crypto
from aegis.ops.backup.catalogue import ARCHIVE, KEY, MANIFEST
from aegis.ops.backup.digest import METHOD, digest_tables, list_tables, lock_tables
from aegis.ops.backup.models import Entry, FileEntry, Format, Manifest, TableEntry
from aegis.ops.backup.programs import (
    Stopped,
    best_compression,
    environment,
    find_program,
    first_error,
    started,
    wait,
)
from aegis.ops.backup.sealed import write_sealed
from aegis.ops.backup.survey import Survey, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from aegis.ops.backup.catalogue import Catalogue
    from aegis.ops.backup.crypto import KeyRing
    from aegis.ops.backup.digest import Table

__all__ = ["Wish", "create", "hash_file"]

#: Key of the advisory lock: "backups" in ASCII.
LOCK_KEY = 0x6261636B757073
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a backup is to be made."""

    label: str = "manual"
    format: Format = "custom"
    #: pg_dump's processes; more than one needs the format `directory`.
    jobs: int = 1
    #: As pg_dump takes it, or `auto`.
    compression: str = "auto"
    encrypt: bool = False

    def check(self) -> None:
        """Refuse what does not go together (`InvalidInput`)."""
        if not 1 <= self.jobs <= 64:
            raise InvalidInput(f"jobs is {self.jobs}; use 1 to 64.")
        if self.jobs > 1 and self.format == "custom":
            raise InvalidInput(f"jobs is {self.jobs}; more than one needs the format directory.")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", self.label):
            raise InvalidInput(
                f"label is {self.label!r}; use up to 40 letters, digits and hyphens."
            )
        if not re.fullmatch(r"auto|none|(gzip|zstd|lz4)(:\d{1,2})?", self.compression):
            raise InvalidInput(
                f"compression is {self.compression!r}; use auto, none, gzip, zstd or lz4, with a "
                "level such as gzip:6."
            )


@dataclass(slots=True, kw_only=True)
class _Run:
    """One attempt."""

    dsn: str
    wish: Wish
    folder: Path
    stop: threading.Event
    tell: Callable[[str, int, int], None]
    data_key: bytes | None
    timings: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def timed(self, step: str) -> Generator[None]:
        began = time.monotonic()
        yield
        self.timings[step] = round(time.monotonic() - began, 3)


def create(
    dsn: str,
    catalogue: Catalogue,
    wish: Wish,
    keys: KeyRing,
    *,
    stop: threading.Event | None = None,
    tell: Callable[[str, int, int], None] | None = None,
) -> Entry:
    """Make a backup of the database and return it, not verified yet.

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
            run = _Run(
                dsn=dsn,
                wish=wish,
                folder=folder,
                stop=stop or threading.Event(),
                tell=tell or _silent,
                data_key=data_key,
            )
            _require_space(catalogue)
            manifest = _with_attempts(run, name, catalogue.next_number())
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


def _with_attempts(run: _Run, name: str, number: int) -> Manifest:
    began = datetime.now(UTC)
    with (
        translated(dsn=run.dsn),
        admin_connection(run.dsn, application_name="aegis-backup") as conn,
    ):
        _alone_in_database(conn)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return _attempt(run, conn, name, number, began)
            except (pg.LockNotAvailable, pg.UndefinedTable, _DumpWaited) as error:
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


class _DumpWaited(Exception):
    """pg_dump could not lock a table in time."""


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
    run: _Run, conn: psycopg.Connection, name: str, number: int, began: datetime
) -> Manifest:
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    with run.timed("snapshot"), conn.transaction():
        found = survey(conn)
        revision = read_status(conn).revision
        tables = list_tables(conn)
        lock_tables(conn, tables)
        if [t.title for t in list_tables(conn)] != [t.title for t in tables]:
            raise pg.UndefinedTable("a table came or went")
        row: Any = conn.execute("SELECT pg_export_snapshot()").fetchone()
        pg_dump, client = find_program("pg_dump", found.server_version_num // 10_000)
        wish = replace(run.wish, compression=best_compression(pg_dump, run.wish.compression))
        run.wish = wish
        with run.timed("dump"):
            counted = _dump_and_digest(run, conn, tables, pg_dump, row[0], found)
    conn.isolation_level = None
    conn.read_only = None
    with run.timed("hash"):
        files = _files(run)
    return Manifest(
        name=name, number=number, label=wish.label, database=found.database, format=wish.format,
        compression=wish.compression, jobs=wish.jobs, encrypted=run.data_key is not None,
        server_version=found.server_version, server_version_num=found.server_version_num,
        client_major=client, aegis_version=version("aegis-core"), schema_revision=revision,
        started_at=began, snapshot_at=found.snapshot_at, finished_at=datetime.now(UTC),
        database_bytes=found.database_bytes, large_objects=found.large_objects,
        digest_method=METHOD, files=files, tables=tuple(counted), extensions=found.extensions,
        roles=found.roles, properties=found.properties, timings=dict(run.timings),
    )  # fmt: skip


def _dump_and_digest(
    run: _Run,
    conn: psycopg.Connection,
    tables: list[Table],
    pg_dump: Path,
    snapshot: str,
    found: Survey,
) -> list[TableEntry]:
    """Let pg_dump write while the server counts; whichever fails ends the other."""
    failed = threading.Event()

    def dump() -> None:
        try:
            _dump(run, pg_dump, snapshot, found)
        except BaseException:
            failed.set()
            conn.cancel_safe()
            raise

    with ThreadPoolExecutor(1) as pool:
        dumping = pool.submit(dump)
        began = time.monotonic()
        try:
            counted = digest_tables(
                conn, tables, stop=run.stop, tell=lambda n, of: run.tell("Tables", n, of)
            )
        except BaseException:
            if failed.is_set():
                dumping.result()
            run.stop.set()
            raise
        run.timings["digest"] = round(time.monotonic() - began, 3)
        dumping.result()
    return counted


def _dump(run: _Run, pg_dump: Path, snapshot: str, found: Survey) -> None:
    piped = run.data_key is not None and run.wish.format == "custom"
    target = run.folder / (ARCHIVE + ("" if run.wish.format == "directory" else ".dump"))
    command: list[str | Path] = [
        pg_dump, f"--format={run.wish.format}", f"--compress={run.wish.compression}",
        f"--jobs={run.wish.jobs}", f"--snapshot={snapshot}", "--no-password", "--no-sync",
        "--large-objects", "--lock-wait-timeout=5s",
    ]  # fmt: skip
    if not piped:
        command.append(f"--file={target}")
    with (
        environment(run.dsn) as variables,
        tempfile.TemporaryFile() as said,
        started(
            command,
            variables | {"PGAPPNAME": "aegis-backup"},
            said,
            stdout=subprocess.PIPE if piped else subprocess.DEVNULL,
            umask=0o077,
        ) as process,
    ):
        if piped:
            _encrypt_pipe(run, process, target)
        wait(process, run.stop, lambda: _tell_bytes(run, target, found))
        said.seek(0)
        _check_dump(process.returncode, said.read().decode(errors="replace"), run)


def _encrypt_pipe(run: _Run, process: subprocess.Popen[bytes], target: Path) -> None:
    """Encrypt what pg_dump writes before any of it reaches the disk."""
    assert process.stdout is not None
    assert run.data_key is not None
    encrypted = target.with_name(target.name + ".enc")
    key = crypto.file_key(run.data_key, encrypted.name)
    with open(encrypted, "xb", opener=_private) as file:

        def write(piece: bytes) -> None:
            if run.stop.is_set():
                raise Stopped
            file.write(piece)

        crypto.encrypt(process.stdout, write, key)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _tell_bytes(run: _Run, target: Path, found: Survey) -> None:
    written = target.stat().st_size if target.is_file() else 0
    if written:
        run.tell("Bytes", written, found.database_bytes)


def _check_dump(status: int, said: str, run: _Run) -> None:
    if status == 0:
        return
    line = first_error(said)
    # How pg_dump says that `--lock-wait-timeout` is over, and its workers that a lock is taken.
    if ("timeout" in line and "LOCK TABLE" in said) or "could not obtain lock" in said:
        raise _DumpWaited(line)
    if "No space left" in said or "Disk quota" in said:
        line = f"there is no space left in {run.folder.parent}"
    raise OpsError(
        f"The backup failed, and nothing is left of it: {line}. Mend that and try again.",
        code="backup_failed",
    )


def _files(run: _Run) -> tuple[FileEntry, ...]:
    """Return every file of the archive with its hash; encrypt those that are not yet."""
    paths = sorted(
        path
        for path in run.folder.rglob("*")
        if path.is_file() and path.name not in (KEY, MANIFEST)
    )

    def one(path: Path) -> FileEntry:
        if run.stop.is_set():
            raise Stopped
        if run.data_key is not None and path.suffix != ".enc":
            path = _encrypt_file(path, run)
        name = path.relative_to(run.folder).as_posix()
        return FileEntry(name=name, bytes=path.stat().st_size, sha256=hash_file(path))

    # Hashing lets go of the interpreter: threads use the cores that pg_dump has left.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return tuple(pool.map(one, paths))


def _encrypt_file(path: Path, run: _Run) -> Path:
    assert run.data_key is not None
    encrypted = path.with_name(path.name + ".enc")
    key = crypto.file_key(run.data_key, encrypted.relative_to(run.folder).as_posix())
    with path.open("rb") as source, open(encrypted, "xb", opener=_private) as file:
        crypto.encrypt(source, file.write, key)
    path.unlink()
    return encrypted


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _empty(folder: Path) -> None:
    for child in folder.iterdir():
        if child.name == KEY:
            continue
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.unlink()
