"""Moving rows from their table to an archive, whatever moment the process dies at.

1. An archive is noted, `writing`, with the path that its file will have.
2. One transaction: its note and the rows are locked; the rows are written to a temporary file,
   which is synced, renamed, read back and compared; the rows are deleted and the note is made
   `complete`.

A crash before the commit leaves the rows where they were, and at most a file that a note calls
`writing`: `settle` removes both. After the commit the file is complete, and on the disk.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from aegis.errors import Conflict, OpsError
from aegis.memory.parquet import arrow
from aegis.memory.retention.archive import TABLES
from aegis.memory.retention.archive_file import ROWS, ArchiveWriter
from aegis.memory.store import archives as store
from aegis.memory.store import retention, rows, sides
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.memory.retention.archive import Archive, ArchiveKind, ArchiveReason
    from aegis.memory.retention.archive_file import Written

    #: Locks what is to go, in the transaction that takes it, and returns the ids.
    Choose = Callable[[Connection], Awaitable[Sequence[int]]]

__all__ = ["ARCHIVE_ROWS", "archive_folder", "archive_rows", "settle"]

#: Rows of one archive: they are locked while they are written, a second or two.
ARCHIVE_ROWS = 5_000


def archive_folder(settings: Settings) -> Path:
    """Return where archives are written."""
    return settings.archive_dir or settings.data_dir / "archives"


async def archive_rows(
    db: Database, *, namespace: str, kind: ArchiveKind, reason: ArchiveReason, choose: Choose
) -> Archive | None:
    """Move what `choose` locks to a new archive and return it; None where it chose nothing.

    Raises:
        ConfigError: pyarrow is not installed.
        OpsError: the file cannot be written; nothing was deleted.
    """
    arrow()
    folder = await anyio.to_thread.run_sync(_ready_folder, archive_folder(db.settings))
    path = folder / f"{kind}s-{secrets.token_hex(8)}.parquet"
    async with db.transaction() as conn:
        noted = await store.begin_archive(
            conn, namespace=namespace, kind=kind, reason=reason, path=str(path)
        )
    async with audited(db) as conn:
        if await store.lock_archive(conn, noted.id) is None:
            raise Conflict(f"Archive {noted.id} was taken for abandoned. Try again.")
        ids = await choose(conn)
        if not ids:
            await store.drop_archive(conn, noted.id)
            return None
        written = await _write(conn, noted, path, ids)
        done = await _complete(conn, noted, path, ids, written)
        note(
            conn,
            "memory.archive",
            "archive",
            done.id,
            namespace=Private(namespace),
            kind=kind,
            reason=reason,
            rows=done.rows,
            sha256=done.sha256,
        )
        return done


async def settle(db: Database) -> int:
    """Remove what interrupted runs left behind and return how many there were."""
    async with db.transaction() as conn:
        found = await store.list_abandoned(conn)
        for archive in found:
            path = Path(archive.path)
            temporary = path.with_name(f".{path.name}.tmp")
            await anyio.to_thread.run_sync(_remove, [path, temporary])
            await store.drop_archive(conn, archive.id)
    return len(found)


async def _write(conn: Connection, noted: Archive, path: Path, ids: Sequence[int]) -> Written:
    table = TABLES[noted.kind]
    columns = await rows.list_columns(conn, table)
    try:
        writer = await anyio.to_thread.run_sync(
            lambda: ArchiveWriter(path, columns, table=table, namespace=noted.namespace)
        )
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        for start in range(0, len(ids), ROWS):
            chunk = ids[start : start + ROWS]
            found = await rows.read_rows(conn, table, columns, chunk)
            side = await sides.read_side(conn, table, chunk)
            await anyio.to_thread.run_sync(writer.add, found, side)
        written = await anyio.to_thread.run_sync(writer.finish)
    except BaseException as error:
        writer.abandon()
        pa = arrow()
        if isinstance(error, OSError | pa.ArrowException):
            raise _unwritable(path, error) from None
        raise
    if written.rows != len(ids):
        writer.abandon()
        raise OpsError(f"Of {len(ids)} rows, {written.rows} were found; nothing was deleted.")
    return written


async def _complete(
    conn: Connection, noted: Archive, path: Path, ids: Sequence[int], written: Written
) -> Archive:
    try:
        oldest_at, newest_at = await store.span_of(conn, noted.kind, ids)
        delete = retention.delete_episodes if noted.kind == "episode" else retention.delete_facts
        if await delete(conn, ids) != len(ids):
            raise Conflict("Some of the rows were deleted meanwhile. Try again.")
        return await store.complete_archive(
            conn,
            noted.id,
            ids=ids,
            rows=written.rows,
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            digest=written.digest,
            oldest_at=oldest_at,
            newest_at=newest_at,
        )
    except BaseException:
        # Nothing was committed. (Where the commit itself is in doubt, the file stays.)
        _remove([path])
        raise


def _ready_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return folder.absolute()


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _unwritable(path: Path, error: BaseException) -> OpsError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return OpsError(
        f"The archive {path} cannot be written: {reason}. Nothing was deleted; free the disk, or "
        "set AEGIS_ARCHIVE_DIR.",
        code="archive_unwritable",
    )
