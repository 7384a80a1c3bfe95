"""Bringing values to what the state of their column says.

A page at a time, each in its own short transaction, and in no order that matters: a value says
itself what it is, so that what was cut off is gone on with.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import Unavailable
from aegis.security.audit.recording import audited
from aegis.security.columns.store import state as store
from aegis.security.columns.store import values
from aegis.security.columns.store.values import Held
from aegis.security.columns.values import reveal_value, seal_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.security.columns.catalogue import Sealable
    from aegis.security.columns.models import EncryptedColumn
    from aegis.security.columns.values import Columns

__all__ = ["Work"]

_PAGE: Final = 500
#: How often a lock that is not to be had is waited for again.
_TRIES: Final = 60


class Work:
    """Encrypting and decrypting the values of one database."""

    def __init__(self, db: Database, columns: Columns) -> None:
        self._db = db
        self._columns = columns
        #: Rows in one transaction.
        self.page = _PAGE

    async def run(
        self, chosen: Sequence[Sealable], on_progress: Callable[[str, int], object] | None
    ) -> int:
        """Bring every value of the columns to what their state says; return how many were changed.

        Raises:
            AegisError: a value or a lock was not to be had; what was done so far is done.
        """
        done = 0
        for entry in chosen:
            changed, after = 0, None
            while True:
                last = after
                rows = await self._patiently(lambda e=entry, a=last: self._change_page(e, a))
                if not rows:
                    break
                changed += len(rows)
                after = rows[-1].key
                if on_progress is not None:
                    on_progress(entry.name, changed)
            done += changed
            await self._end(entry)
        return done

    async def _change_page(self, entry: Sealable, after: Any) -> list[Held]:
        async with self._db.transaction() as conn:
            column = await self._state_of(conn, entry)
            if column is None:
                return []
            key = column.key_id if column.writes_sealed else None
            rows = await values.page_to_change(
                conn, entry, key_id=key, after=after, limit=self.page
            )
            if rows:
                await values.replace_values(
                    conn, entry, [self._changed(entry, key, r) for r in rows]
                )
            return rows

    def _changed(self, entry: Sealable, key: str | None, row: Held) -> Held:
        clear = reveal_value(entry, self._columns.keys, str(row.key), row.value)
        if key is None:
            return Held(key=row.key, value=clear, hash=None)
        return Held(
            key=row.key,
            value=seal_value(entry, self._columns.keys.ring(), key, str(row.key), clear),
            hash=None if entry.hash_column is None else self._columns.hash_of(entry, key, clear),
        )

    async def _end(self, entry: Sealable) -> None:
        """Note that a column is done, where it is: nobody can have written otherwise."""

        async def end(conn: Connection) -> None:
            column = await self._state_of(conn, entry)
            if column is None:
                return
            forms = await values.count_forms(conn, entry, key_id=column.key_id)
            if not column.writes_sealed:
                if not forms.sealed:
                    await store.forget(conn, entry.table, entry.column)
                return
            if not forms.clear:
                await store.finish(conn, entry.table, entry.column)
            if not forms.other_key:
                await store.retire_older(conn, entry.table, entry.column)

        await self.with_state_locked(end)

    async def _state_of(self, conn: Connection, entry: Sealable) -> EncryptedColumn | None:
        await store.hold_state(conn)
        columns = await store.list_columns(conn, entry.table)
        return next((c for c in columns if c.column_name == entry.column), None)

    async def with_state_locked(self, change: Callable[[Connection], Awaitable[None]]) -> None:
        """Change states in a transaction of their own, while nobody writes values."""

        async def once() -> None:
            async with audited(self._db) as conn:
                await store.lock_state(conn)
                await change(conn)

        await self._patiently(once)

    async def _patiently(self, once: Callable[[], Awaitable[Any]]) -> Any:
        """Call again what could not get a lock; others go before, every time."""
        for left in reversed(range(_TRIES)):
            try:
                return await once()
            except Unavailable as error:
                if error.code != "db_lock_timeout" or not left:
                    raise
                await asyncio.sleep(0.2)
        raise AssertionError("unreachable")
