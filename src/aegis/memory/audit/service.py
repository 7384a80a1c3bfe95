"""The audit of one database's memory: `memory.audit`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.memory import validate
from aegis.memory.audit.report import CHECKS
from aegis.memory.store import quarantine as store
from aegis.memory.store import quarantine_entries
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Database
    from aegis.memory.audit.report import AuditReport, Quarantined, Repaired
    from aegis.memory.embedding import Embedder

__all__ = ["Audit"]

MAX_PAGE = 1_000
#: Entries that are put back in one transaction.
_BATCH = 100


class Audit:
    """Checks of all memory, or of one namespace where a call names it."""

    def __init__(self, db: Database, embedder: Embedder | None) -> None:
        self._db = db
        self._embedder = embedder

    async def run(
        self,
        *,
        namespace: str | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> AuditReport:
        """Return what is doubled, contradictory, junk, orphaned or stale; nothing is changed.

        A namespace of None means all. `on_progress` is told how many texts have been read.
        """
        from aegis.memory.audit.run import audit

        _check_namespace(namespace)
        return await audit(self._db, self._embedder, namespace=namespace, on_progress=on_progress)

    async def repair(
        self,
        kind: str,
        *,
        way: str | None = None,
        namespace: str | None = None,
        dry_run: bool = True,
        actor: str | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> Repaired:
        """Repair what the check of this id finds and return what was done, or would be.

        What is deleted or overwritten goes to the quarantine first, what changes of a fact to its
        history. `way` is one of the check's ways, the first of them if left out.

        Raises:
            InvalidInput: there is no such check or way, or it needs an embedder.
        """
        from aegis.memory.audit.repairing import repair

        _check_namespace(namespace)
        if actor is not None:
            validate.check_text("actor", actor, most=validate.MAX_KEY)
        return await repair(
            self._db,
            self._embedder,
            kind,
            way=way,
            namespace=namespace,
            dry_run=dry_run,
            actor=actor,
            on_progress=on_progress,
        )

    async def quarantined(
        self,
        *,
        namespace: str | None = None,
        kind: str | None = None,
        limit: int = 50,
        after: int = 0,
    ) -> list[Quarantined]:
        """Return what repairs have put aside, by number; `after` is the last one's."""
        _check_namespace(namespace)
        _check_kind(kind)
        validate.check_limit("limit", limit, most=MAX_PAGE)
        if type(after) is not int or not 0 <= after < 2**63:
            raise InvalidInput(f"after is {after!r}; it must be the number of an entry, or 0.")
        async with self._db.transaction() as conn:
            return await store.list_quarantined(
                conn, namespace=namespace, kind=kind, after=after, limit=limit
            )

    async def restore(
        self,
        entries: Sequence[int] = (),
        *,
        kind: str | None = None,
        namespace: str | None = None,
    ) -> int:
        """Put entries back where they were, or all of a kind, and return how many.

        Those of a kind that cannot be restored stay, the others are restored all the same.

        Raises:
            InvalidInput: neither or both of entries and kind were given.
            NotFound: there is no such entry.
            Conflict: its row is gone, or its place is taken; then nothing is restored.
        """
        _check_namespace(namespace)
        _check_kind(kind)
        if bool(entries) == (kind is not None):
            raise InvalidInput("Name the entries to restore, or one kind.")
        if kind is not None:
            return await self._restore_kind(kind, namespace)
        for entry in entries:
            validate.check_limit("id", entry, most=2**63 - 1)
        async with audited(self._db) as conn:
            for entry in sorted(set(entries)):
                await quarantine_entries.restore_one(conn, entry, namespace=namespace)
            note(conn, "memory.quarantine_restore", "quarantine", rows=len(set(entries)))
        return len(set(entries))

    async def _restore_kind(self, kind: str, namespace: str | None) -> int:
        restored, after = 0, 0
        while True:
            async with self._db.transaction() as conn:
                page = await store.list_quarantined(
                    conn, namespace=namespace, kind=kind, after=after, limit=MAX_PAGE
                )
            for start in range(0, len(page), _BATCH):
                restored += await self._restore_some(kind, page[start : start + _BATCH], namespace)
            if len(page) < MAX_PAGE:
                return restored
            after = page[-1].id

    async def _restore_some(
        self, kind: str, entries: Sequence[Quarantined], namespace: str | None
    ) -> int:
        """Put back what can be put back, in one transaction, and return how many."""
        restored = 0
        async with audited(self._db) as conn:
            for entry in entries:
                with suppress(Conflict, NotFound):
                    async with conn.transaction():
                        await quarantine_entries.restore_one(conn, entry.id, namespace=namespace)
                    restored += 1
            if restored:
                note(conn, "memory.quarantine_restore", "quarantine", kind, rows=restored)
        return restored


def _check_namespace(namespace: str | None) -> None:
    if namespace is not None:
        validate.check_namespace(namespace)


def _check_kind(kind: str | None) -> None:
    if kind is not None:
        validate.check_choice("kind", kind, tuple(CHECKS))
