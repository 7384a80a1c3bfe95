"""What was archived, whether its files are whole, and bringing it back: `memory.archives`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from aegis.errors import Conflict, InvalidInput
from aegis.memory import validate
from aegis.memory.retention import archive_file
from aegis.memory.retention.archive import KINDS, TABLES
from aegis.memory.retention.relating import graph_of, relate_again
from aegis.memory.store import archives as store
from aegis.memory.store import graph_sides, retention, rows, sides
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    import builtins
    from collections.abc import Sequence

    from aegis.db import Connection, Database
    from aegis.memory.retention.archive import Archive, ArchiveKind

__all__ = ["ArchiveCheck", "Archives", "Restored"]

MAX_PAGE = 1_000
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCheck:
    """Whether an archive's file is what was written."""

    id: int
    path: str
    ok: bool
    rows: int
    #: What is wrong; None where nothing is.
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came back."""

    archive: Archive
    restored: int
    #: Those that were back already.
    there: int
    #: What stood beside them and is left out, since what it leads to is not there. A relation comes
    #: back with its other end.
    left_out: int


class Archives:
    """Archives of one client; `namespace` is what a call that names none means."""

    def __init__(self, db: Database, *, namespace: str) -> None:
        self._db = db
        self.namespace = namespace

    async def list(
        self,
        *,
        kind: ArchiveKind | None = None,
        memory_id: int | None = None,
        limit: int = 100,
        namespace: str | None = None,
    ) -> builtins.list[Archive]:
        """Return archives, the newest first; `memory_id`: those that hold this memory."""
        validate.check_limit("limit", limit, most=MAX_PAGE)
        if kind is not None:
            validate.check_choice("kind", kind, KINDS)
        if memory_id is not None:
            validate.check_id("memory_id", memory_id)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await store.list_archives(
                conn, namespace=place, kind=kind, memory_id=memory_id, limit=limit
            )

    async def get(self, archive_id: int, *, namespace: str | None = None) -> Archive:
        """Return one archive (`NotFound`)."""
        validate.check_limit("id", archive_id, most=2**63 - 1)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await store.get_archive(conn, archive_id, namespace=place)

    async def verify(
        self, archive_id: int | None = None, *, namespace: str | None = None
    ) -> builtins.list[ArchiveCheck]:
        """Read one archive, or all of the namespace, and say whether they are what was written."""
        if archive_id is not None:
            found = [await self.get(archive_id, namespace=namespace)]
        else:
            place = validate.namespace_of(namespace, self.namespace)
            async with self._db.transaction() as conn:
                found = await store.list_archives(conn, namespace=place)
        return [
            await anyio.to_thread.run_sync(_check, archive)
            for archive in found
            if archive.state != "writing"
        ]

    async def restore(
        self,
        archive_id: int,
        *,
        ids: Sequence[int] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        namespace: str | None = None,
    ) -> Restored:
        """Put an archive's memories back where they were, with their ids and every field.

        `ids`, `since` and `until` (of the episode's time, or the fact's recording) choose some of
        them. Coming back counts as use, and what had expired no longer does: otherwise it would be
        forgotten again at once. All of it comes back, or nothing.

        Raises:
            NotFound: there is no such archive in the namespace.
            Conflict: an id or `source_id` is taken by another memory, or the archive is restored.
            InvalidInput: the file is not what was written, or does not hold one of `ids`.
        """
        _check_choice_of(ids, since, until)
        archive = await self.get(archive_id, namespace=namespace)
        async with audited(self._db) as conn:
            locked = await store.lock_archive(conn, archive.id)
            if locked is None or locked.state != "complete":
                raise Conflict(
                    f"Archive {archive.id} is {locked.state if locked else 'gone'}; there is "
                    "nothing to restore.",
                    code="archive_state",
                )
            check = await anyio.to_thread.run_sync(_check, locked)
            if check.problem is not None:
                raise InvalidInput(check.problem, code="archive_broken")
            done = await _restore(conn, locked, set(ids), since, until)
            note(
                conn,
                "memory.archive_restore",
                "archive",
                archive.id,
                namespace=Private(archive.namespace),
                rows=done.restored,
            )
            return done


async def _restore(
    conn: Connection,
    archive: Archive,
    ids: set[int],
    since: datetime | None,
    until: datetime | None,
) -> Restored:
    path = Path(archive.path)
    about = archive_file.contents(path)
    table = TABLES[archive.kind]
    known = {column.name for column in await rows.list_columns(conn, table)}
    names = [column.name for column in about.columns if column.name in known]
    reader = archive_file.read(path)
    missing, restored, there, total = set(ids), 0, 0, 0
    back: dict[int, Any] = {}
    graphs: list[str] = []
    left_out = 0
    now = datetime.now(UTC)
    while chunk := await anyio.to_thread.run_sync(_take, reader):
        total += len(chunk)
        missing -= {row["id"] for row in chunk}
        wanted = [row for row in chunk if _wanted(row, archive.kind, ids, since, until)]
        fresh = await _without_present(conn, archive, wanted)
        there += len(wanted) - len(fresh)
        documents = [archive_file.as_document(about.columns, _alive(row, now)) for row in fresh]
        put = await rows.insert_rows(conn, table, names, documents)
        if put != len(fresh):
            raise Conflict(
                f"{len(fresh) - put} memories of archive {archive.id} cannot come back: others "
                "have their source_id by now. Restore the rest by id.",
                code="archive_taken",
            )
        restored += put
        back |= {row["id"]: row.get("related_memories") for row in fresh}
        beside = [row[archive_file.SIDE] for row in fresh if row[archive_file.SIDE]]
        graphs += [graph for side in beside if (graph := graph_of(side)) is not None]
        left_out += await _beside(conn, archive, [row["id"] for row in fresh], beside)
    if missing:
        raise InvalidInput(f"Archive {archive.id} does not hold {_named(missing)}.")
    left_out += await relate_again(conn, archive, back, graphs)
    if archive.kind == "episode":
        await graph_sides.put_related(conn, back)
    if restored + there == total:
        archive = await store.set_restored(conn, archive.id)
    return Restored(archive=archive, restored=restored, there=there, left_out=left_out)


async def _beside(
    conn: Connection, archive: Archive, ids: Sequence[int], beside: Sequence[str]
) -> int:
    """Put back what other tables held of rows that are back; return how much was left out."""
    table = TABLES[archive.kind]
    if not ids:
        return 0
    await sides.drop_retired_vectors(conn, table, ids)
    left_out = await sides.put_side(conn, table, beside)
    if archive.kind == "episode":
        await retention.add_usage(conn, dict.fromkeys(ids, 1))
    return left_out


async def _without_present(
    conn: Connection, archive: Archive, wanted: builtins.list[dict[str, Any]]
) -> builtins.list[dict[str, Any]]:
    """Leave out what was restored before; refuse where another memory has an id."""
    present = await store.list_present(conn, archive.kind, [row["id"] for row in wanted])
    others = {
        row["id"]
        for row in wanted
        if row["id"] in present and present[row["id"]] != (row["namespace"], row["created_at"])
    }
    if others:
        raise Conflict(
            f"Other memories have the ids {_named(others)} by now; restore the rest by id.",
            code="archive_taken",
        )
    return [row for row in wanted if row["id"] not in present]


def _take(reader: Any) -> builtins.list[dict[str, Any]]:
    taken: builtins.list[dict[str, Any]] = []
    for row in reader:
        taken.append(row)
        if len(taken) == archive_file.ROWS:
            break
    return taken


def _alive(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    expires_at = row.get("expires_at")
    row = row | {"expires_at": None} if expires_at is not None and expires_at <= now else row
    # The array comes after the relations, of which it would make others.
    return row | {"related_memories": None} if "related_memories" in row else row


def _wanted(
    row: dict[str, Any],
    kind: str,
    ids: set[int],
    since: datetime | None,
    until: datetime | None,
) -> bool:
    at = row["timestamp" if kind == "episode" else "created_at"]
    if ids and row["id"] not in ids:
        return False
    if since is not None and (at is None or at < since):
        return False
    return until is None or (at is not None and at < until)


def _check(archive: Archive) -> ArchiveCheck:
    problem: str | None = None
    try:
        found = archive_file.measure(Path(archive.path))
        if (found.rows, found.sha256, found.digest) != (
            archive.rows,
            archive.sha256,
            archive.digest,
        ):
            problem = f"{archive.path} is not the file that was written: its digest is another."
    except InvalidInput as error:
        problem = error.message
    return ArchiveCheck(
        id=archive.id,
        path=archive.path,
        ok=problem is None,
        rows=archive.rows,
        problem=problem,
    )


def _check_choice_of(ids: Sequence[int], since: Any, until: Any) -> None:
    for value in ids:
        validate.check_id("ids", value)
    for name, value in (("since", since), ("until", until)):
        if value is not None:
            validate.check_time(name, value)


def _named(ids: set[int]) -> str:
    shown = ", ".join(str(i) for i in sorted(ids)[:_NAMED])
    return f"{shown} and {len(ids) - _NAMED} more" if len(ids) > _NAMED else shown
