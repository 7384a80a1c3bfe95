"""pg_dump and the digests beside it, and the files that come of it: hashed, encrypted if wanted."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from aegis.errors import InvalidInput, OpsError, Unavailable
from aegis.ops.backup import crypto
from aegis.ops.backup.catalogue import ARCHIVE, KEY, MANIFEST
from aegis.ops.backup.digest import digest_tables
from aegis.ops.backup.hashing import GrowingHashes
from aegis.ops.backup.models import FileEntry, Format, TableEntry
from aegis.ops.backup.programs import Stopped, environment, first_error, started, wait
from aegis.ops.backup.sealed import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from aegis.ops.backup.digest import Table
    from aegis.ops.backup.survey import Survey

__all__ = ["DumpWaited", "Run", "Wish", "archive_files", "dump_and_digest"]


class DumpWaited(Exception):
    """pg_dump could not lock a table in time."""


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
class Run:
    """One attempt."""

    dsn: str
    wish: Wish
    folder: Path
    stop: threading.Event
    tell: Callable[[str, int, int], None]
    data_key: bytes | None
    timings: dict[str, float] = field(default_factory=dict[str, float])
    #: Of the files that pg_dump writes.
    hashes: GrowingHashes = field(default_factory=GrowingHashes)

    @contextmanager
    def timed(self, step: str) -> Generator[None]:
        """Note how long a step takes."""
        began = time.monotonic()
        yield
        self.timings[step] = round(time.monotonic() - began, 3)


def dump_and_digest(
    run: Run,
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
            with suppress(psycopg.Error):  # It stands still, too: the other finds out by itself.
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
        try:
            dumping.result()
        except Unavailable:
            # Nobody need find that out once more, by rolling back.
            conn.close()
            raise
    return counted


def _dump(run: Run, pg_dump: Path, snapshot: str, found: Survey) -> None:
    piped = run.data_key is not None and run.wish.format == "custom"
    run.hashes = GrowingHashes()
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
        with _encrypting(run, process, target) if piped else nullcontext():
            wait(process, run.dsn, run.stop, lambda: _follow(run, target, found))
        said.seek(0)
        _check_dump(process.returncode, said.read().decode(errors="replace"), run)


@contextmanager
def _encrypting(run: Run, process: subprocess.Popen[bytes], target: Path) -> Generator[None]:
    """Encrypt beside whoever waits for pg_dump; where one of both fails, so does the other."""

    def encrypt() -> None:
        try:
            _encrypt_pipe(run, process, target)
        except BaseException:
            # It would wait for ever for somebody to read on.
            process.kill()
            raise

    with ThreadPoolExecutor(1) as pool:
        encrypting = pool.submit(encrypt)
        try:
            yield
        except BaseException:
            process.kill()
            raise
        encrypting.result()


def _encrypt_pipe(run: Run, process: subprocess.Popen[bytes], target: Path) -> None:
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


def _follow(run: Run, target: Path, found: Survey) -> None:
    if run.wish.format == "directory" and run.data_key is None:
        # Table by table they are only added to; the table of contents is not.
        run.hashes.follow(target, "[0-9]*.dat*")
    written = target.stat().st_size if target.is_file() else 0
    if written:
        # In one file the beginning is written again at the end; the disk may have it all the same.
        sync(target)
        run.tell("Bytes", written, found.database_bytes)


def _check_dump(status: int, said: str, run: Run) -> None:
    if status == 0:
        return
    line = first_error(said)
    # How pg_dump says that `--lock-wait-timeout` is over, and its workers that a lock is taken.
    if ("timeout" in line and "LOCK TABLE" in said) or "could not obtain lock" in said:
        raise DumpWaited(line)
    if "No space left" in said or "Disk quota" in said:
        line = f"there is no space left in {run.folder.parent}"
    raise OpsError(
        f"The backup failed, and nothing is left of it: {line}. Mend that and try again.",
        code="backup_failed",
    )


def archive_files(run: Run) -> tuple[FileEntry, ...]:
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
        return FileEntry(name=name, bytes=path.stat().st_size, sha256=run.hashes.finish(path))

    # Hashing lets go of the interpreter: threads use the cores that pg_dump has left.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return tuple(pool.map(one, paths))


def _encrypt_file(path: Path, run: Run) -> Path:
    assert run.data_key is not None
    encrypted = path.with_name(path.name + ".enc")
    key = crypto.file_key(run.data_key, encrypted.relative_to(run.folder).as_posix())
    with path.open("rb") as source, open(encrypted, "xb", opener=_private) as file:
        crypto.encrypt(source, file.write, key)
    path.unlink()
    return encrypted
