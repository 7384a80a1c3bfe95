"""Months: their partitions made ahead, exported and dropped when they are old.

A month leaves in this order: exported and read back, detached, compared once more with the file,
dropped. Whatever line a crash comes behind, the next round goes on from what it finds.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput, NotFound, OpsError, Unavailable
from aegis.security.audit.recording import audited, note
from aegis.usage import parquet
from aegis.usage.models import Archive, Retained
from aegis.usage.spans import add_months, month_of
from aegis.usage.store import events as event_store
from aegis.usage.store import partitions as store
from aegis.usage.validate import FUTURE, LATE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import date

    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.usage.models import Partition

__all__ = ["Partitions"]

_BATCH: Final = 5_000
_IDS: Final = 10_000
#: How long writers may have to wait behind a DETACH that waits itself, and how often it is tried.
_LOCK_WAIT: Final = "500ms"
_TRIES: Final = 20

_log = logging.getLogger("aegis.usage")


class Partitions:
    """The months of one database."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._known: set[date] = set()

    async def list(self) -> Sequence[Partition]:
        """Return the months that are in the database, the oldest first."""
        async with self._db.transaction() as conn:
            return await store.list_partitions(conn)

    async def archives(self) -> Sequence[Archive]:
        """Return the files that months were exported to, the oldest month first."""
        async with self._db.transaction() as conn:
            return await store.list_archives(conn)

    async def require(self, months: set[date]) -> Sequence[date]:
        """See to it that months have partitions; return those that were made."""
        made: list[date] = []
        for month in sorted(months - self._known):
            async with self._db.transaction() as conn:
                if await event_store.require_partition(conn, month):
                    made.append(month)
            self._known.add(month)
        return made

    async def ahead(self, *, now: datetime | None = None) -> Sequence[date]:
        """Make the partitions of late events, of this month and of those to come."""
        moment = now or datetime.now(UTC)
        first, last = month_of(moment - LATE), month_of(moment + FUTURE)
        months = {first, last}
        month = first
        while month < add_months(last, self._settings.usage_months_ahead):
            month = add_months(month, 1)
            months.add(month)
        # Another program may have dropped one meanwhile.
        self._known.clear()
        return await self.require(months)

    async def export(self, month: date) -> Archive:
        """Write a month's events to a Parquet file, read it back, and leave them in the table.

        Raises:
            NotFound, InvalidInput: the month has no partition, or is not over yet.
            ConfigError: pyarrow is not installed.
            OpsError: the file cannot be written, or does not hold what the table does.
        """
        if month.day != 1:
            raise InvalidInput(f"month is {month}; give its first day, such as 2026-05-01.")
        if add_months(month, 1) > (datetime.now(UTC) - LATE).date():
            raise InvalidInput(
                f"month is {month:%Y-%m}; late events still come for it, {LATE.days} days long."
            )
        partition = next((p for p in await self.list() if p.month == month), None)
        if partition is None:
            raise NotFound(f"There is no partition of {month:%Y-%m} (`aegis usage partitions`).")
        return await self._export(partition)

    async def keep_house(self, *, now: datetime | None = None) -> Retained:
        """Make partitions ahead, export and drop months that are too old, forget old ids."""
        moment = now or datetime.now(UTC)
        made = await self.ahead(now=moment)
        oldest = add_months(month_of(moment), -self._settings.usage_keep_months)
        dropped: list[date] = []
        for partition in await self.list():
            if partition.month < oldest and await self._let_go(partition):
                dropped.append(partition.month)
        forgotten = await self._forget(moment)
        return Retained(made=made, dropped=dropped, forgotten_ids=forgotten)

    async def _let_go(self, partition: Partition) -> bool:
        """Export, detach and drop one month; False if another process is at it."""
        async with self._db.transaction() as guard:
            # Held by a connection of its own, as long as the work takes.
            if not await store.lock_housekeeping(guard):
                return False
            archive = await self._exported(partition)
            if partition.attached:
                await self._patiently(lambda conn: store.detach(conn, partition.name))
            # Nobody writes to it any more: what came since the export is found here.
            left = await self._digest(partition.name)
            if left.rows and (archive is None or left.text() != archive.digest):
                archive = await self._export(partition)
            path = None if archive is None else str(archive.path)

            async def finish(conn: Connection) -> None:
                await store.drop(conn, partition.name)
                note(
                    conn,
                    "usage.month_drop",
                    "month",
                    f"{partition.month:%Y-%m}",
                    rows=left.rows,
                    archived=path is not None,
                )
                if path is not None:
                    await store.mark_dropped(conn, partition.month, path)

            await self._patiently(finish)
        self._known.discard(partition.month)
        _log.info("usage.month_dropped", extra={"month": str(partition.month), "path": path})
        return True

    async def _exported(self, partition: Partition) -> Archive | None:
        """Return the file of a month, written now if need be; None if the month is empty."""
        archive = await self._newest(partition.month)
        if archive is not None and archive.state == "exported" and archive.path.is_file():
            return archive
        async with self._db.transaction() as conn:
            if not await store.has_rows(conn, partition.name):
                return None
        return await self._export(partition)

    async def _newest(self, month: date) -> Archive | None:
        async with self._db.transaction() as conn:
            archive = await store.newest_archive(conn, month)
        return None if archive is None else _with_path(archive)

    async def _export(self, partition: Partition) -> Archive:
        parquet.arrow()
        month = partition.month
        target = self._free_path(await self._newest(month), partition)
        async with self._db.transaction() as conn:
            await conn.execute("SET LOCAL statement_timeout = 0")
            written = await parquet.write(
                target, store.read_rows(conn, partition.name, batch=_BATCH)
            )
        read = await asyncio.to_thread(parquet.read_digest, target)
        if (read.rows, read.text()) != (written.rows, written.text()):
            raise OpsError(
                f"{target} does not hold what was written ({read.rows:,} rows of "
                f"{written.rows:,}); the month stays in the database. Look at the disk.",
                code="export_failed",
            )
        archive = Archive(
            month=month,
            state="exported",
            path=target,
            rows=written.rows,
            size_bytes=target.stat().st_size,
            sha256=await asyncio.to_thread(parquet.sha256_of, target),
            digest=written.text(),
            exported_at=datetime.now(UTC),
            dropped_at=None,
        )
        async with audited(self._db) as conn:
            await store.insert_archive(conn, archive)
            note(
                conn,
                "usage.month_export",
                "month",
                f"{month:%Y-%m}",
                rows=archive.rows,
                sha256=archive.sha256,
            )
        return archive

    def _free_path(self, before: Archive | None, partition: Partition) -> Path:
        """Return a name; a file that alone holds events of the month is never written over."""
        folder = (self._settings.archive_dir or self._settings.data_dir / "archives") / "usage"
        target = folder / f"{partition.name}.parquet"
        number = 2
        while before is not None and before.state == "dropped" and target.exists():
            target = folder / f"{partition.name}-{number}.parquet"
            number += 1
        return target

    async def _digest(self, table: str) -> parquet.Digest:
        digest = parquet.Digest()
        async with self._db.transaction() as conn:
            await conn.execute("SET LOCAL statement_timeout = 0")
            async for rows in store.read_rows(conn, table, batch=_BATCH):
                await asyncio.to_thread(digest.add_all, rows)
        return digest

    async def _patiently(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do what needs a strong lock without making writers wait long; try again instead."""
        for attempt in range(1, _TRIES + 1):
            try:
                async with audited(self._db) as conn:
                    await conn.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
                    await work(conn)
                return
            except Unavailable:
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(0.05 * attempt)

    async def _forget(self, now: datetime) -> int:
        total = 0
        before = now - LATE - timedelta(days=1)
        while True:
            async with self._db.transaction() as conn:
                count = await event_store.forget_ids(conn, before=before, limit=_IDS)
            total += count
            if count < _IDS:
                return total


def _with_path(archive: Archive) -> Archive:
    from dataclasses import replace

    return replace(archive, path=Path(archive.path))
