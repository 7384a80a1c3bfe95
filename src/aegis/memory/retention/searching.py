"""Finding what speaks of a subject: in every table, in the archives, in our own log files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from aegis.errors import InvalidInput
from aegis.memory.retention import archive_file
from aegis.memory.store import archives
from aegis.memory.store import erasures as store
from aegis.memory.store.erasure_tables import MEMORY_TABLES
from aegis.security.columns import Columns, sealed_tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aegis.db import Database
    from aegis.memory.retention.archive import Archive
    from aegis.memory.retention.subject import Subject

__all__ = [
    "ArchiveMatch",
    "archives_in",
    "count_tables",
    "find_rows",
    "log_lines",
    "log_matches",
    "log_paths",
    "match_archive",
    "without_names",
]

#: A log file is read in pieces of this size at most, lines being kept whole up to it.
_LINE_BYTES = 2**20


#: Of the side of a row: what names entities, rather than the row.
_NAMES = ("graph_entities", "graph_merges")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveMatch:
    """What of an archive speaks of a subject, by the ids of its rows."""

    rows: set[int]
    #: Rows that do not, but lead to an entity of that name.
    named: set[int]
    #: Of `rows`, the episodes that were copied to Graphiti.
    copied: set[int]

    def __len__(self) -> int:
        return len(self.rows) + len(self.named)


async def find_rows(
    db: Database, subject: Subject, table: str, *, namespace: str | None
) -> AsyncIterator[list[tuple[Any, str]]]:
    """Yield (key, row as JSON) of a memory table's rows that speak of the subject, in pieces."""
    key = MEMORY_TABLES[table]
    async with db.transaction() as conn:
        windows = await store.page_windows(conn, table)
    for window in windows:
        async with db.transaction() as conn:
            found = await store.search_window(
                conn, table, window, patterns=subject.patterns(), namespace=namespace, key=key
            )
        matching = [row for row in found if subject.is_in_json(row[1])]
        if matching:
            yield matching


async def count_tables(db: Database, subject: Subject, *, namespace: str | None) -> dict[str, int]:
    """Return how many rows of each table of the schema speak of the subject; none are left out.

    Rows of a table with encrypted columns are all decrypted and read. How many of them cannot be
    is told as `table.unreadable`.
    """
    async with db.transaction() as conn:
        tables = await store.list_tables(conn)
        sealed = await sealed_tables(conn)
    columns = Columns(db.settings)
    counts: dict[str, int] = {}
    for table, has_namespace in tables.items():
        if namespace is not None and not has_namespace:
            continue
        async with db.transaction() as conn:
            windows = await store.page_windows(conn, table)
        for window in windows:
            async with db.transaction() as conn:
                found = await store.search_window(
                    conn,
                    table,
                    window,
                    patterns=["%"] if table in sealed else subject.patterns(),
                    namespace=namespace,
                    key=None,
                )
            for _, document in found:
                clear = columns.reveal_json(table, document) if table in sealed else document
                if clear is None:
                    counts[f"{table}.unreadable"] = counts.get(f"{table}.unreadable", 0) + 1
                elif subject.is_in_json(clear):
                    counts[table] = counts.get(table, 0) + 1
    return counts


async def archives_in(db: Database, namespace: str | None) -> list[Archive]:
    """Return the archives that have a file, of one namespace or of all."""
    async with db.transaction() as conn:
        found = await archives.list_archives(conn, namespace=namespace)
    return [archive for archive in found if archive.state != "writing"]


async def match_archive(archive: Archive, subject: Subject) -> ArchiveMatch | None:
    """Return what of an archive speaks of the subject; None if it is unreadable."""

    def work() -> ArchiveMatch | None:
        try:
            return _match(Path(archive.path), subject)
        except InvalidInput:
            return None

    return await anyio.to_thread.run_sync(work)


def _match(path: Path, subject: Subject) -> ArchiveMatch:
    columns = archive_file.contents(path).columns
    rows: set[int] = set()
    named: set[int] = set()
    copied: set[int] = set()
    for row in archive_file.read(path):
        if row_matches(subject, columns, row):
            rows.add(row["id"])
            if row.get("graphiti_synced_at") is not None:
                copied.add(row["id"])
        elif without_names(row[archive_file.SIDE], subject) != row[archive_file.SIDE]:
            named.add(row["id"])
    return ArchiveMatch(rows=rows, named=named, copied=copied)


def without_names(side: str | None, subject: Subject) -> str | None:
    """Return the side of a row without the entities that name the subject.

    A memory may lead to an entity that has another name, which its own text does not say.
    """
    if side is None or not subject.is_in_json(side):
        return side
    told: dict[str, Any] = json.loads(side)
    for name in _NAMES:
        kept = [row for row in told.get(name, ()) if not subject.is_in(row)]
        if name in told and len(kept) < len(told[name]):
            told[name] = kept
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def row_matches(subject: Subject, columns: Any, row: dict[str, Any]) -> bool:
    """Return whether a row of an archive, or what goes with it, speaks of the subject.

    The names of entities that it leads to do not count: they are taken away by themselves.
    """
    for column in columns:
        value = row[column.name]
        if value is None or column.kind == "vector":
            continue
        if column.kind == "json":
            if subject.is_in_json(value):
                return True
        elif subject.is_in(value):
            return True
    side = row[archive_file.SIDE]
    if side is None or not subject.is_in_json(side):
        return False
    told: dict[str, Any] = json.loads(side)
    return subject.is_in({name: rows for name, rows in told.items() if name not in _NAMES})


def log_paths(data_dir: Path) -> list[Path]:
    """Return the log files that Aegis and its embedded server wrote."""
    return sorted(path for path in data_dir.rglob("*.log*") if path.is_file())


def log_matches(path: Path, subject: Subject) -> list[tuple[int, int]]:
    """Return where (offset, length) the lines of a log file are that speak of the subject."""
    found: list[tuple[int, int]] = []
    at = 0
    with path.open("rb") as file:
        while line := file.readline(_LINE_BYTES):
            text = line.decode("utf-8", "replace")
            if subject.is_in(text) or subject.is_in(_unescaped(text)):
                found.append((at, len(line.rstrip(b"\r\n"))))
            at += len(line)
    return found


def log_lines(data_dir: Path, subject: Subject) -> int:
    """Return how many lines of our log files speak of the subject."""
    return sum(len(log_matches(path, subject)) for path in log_paths(data_dir))


def _unescaped(text: str) -> Any:
    """Return a line of JSON as what it says, and any other as it is."""
    if not text.startswith("{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
