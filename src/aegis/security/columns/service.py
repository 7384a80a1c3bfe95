"""Encryption of columns for the operator: what is encrypted, and bringing it about.

What was cut off is gone on with by the same command.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aegis.errors import ConfigError, Conflict, InvalidInput
from aegis.security.audit.recording import audited, note
from aegis.security.columns.catalogue import CATALOGUE, find_column, with_copies
from aegis.security.columns.planning import chosen_for, plan_of, refuse_look_alikes, status_of
from aegis.security.columns.store import rewriting, values
from aegis.security.columns.store import state as store
from aegis.security.columns.values import Columns, reveal_value
from aegis.security.columns.verifying import verify_column
from aegis.security.columns.working import Work

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.security.columns.catalogue import Sealable
    from aegis.security.columns.models import ColumnPlan, ColumnStatus, EncryptedColumn, Verified
    from aegis.security.columns.sealing import Ring

__all__ = ["Encryption"]

_NOTHING: Final = "00000000"


class Encryption:
    """Encryption of the columns of one database."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._columns = Columns(settings)
        self.keys = self._columns.keys
        self._work = Work(db, self._columns)

    @property
    def page(self) -> int:
        """Rows in one transaction."""
        return self._work.page

    @page.setter
    def page(self, rows: int) -> None:
        self._work.page = rows

    async def list(self) -> Sequence[ColumnStatus]:
        """Return every column that may be encrypted, and whether it is (`ConfigError`)."""
        async with self._db.transaction() as conn:
            known = {column.name: column for column in await store.list_columns(conn)}
        here = self.keys.ring().ids
        return [status_of(entry, known.get(entry.name), here) for entry in CATALOGUE]

    async def plan(
        self, action: str, names: Sequence[str] = (), *, all_columns: bool = False
    ) -> Sequence[ColumnPlan]:
        """Return what `enable`, `disable` or `rotate` would do; nothing is changed (`AegisError`).

        It counts every value, which reads the tables once.
        """
        async with self._db.transaction() as conn:
            known = {column.name: column for column in await store.list_columns(conn)}
            if action == "rotate":
                chosen = [find_column(name) for name in known]
            else:
                chosen = chosen_for(action, names, known, all_columns)
            plans: list[ColumnPlan] = []
            for entry in chosen:
                column = known.get(entry.name)
                forms = await values.count_forms(
                    conn, entry, key_id=column.key_id if column else _NOTHING
                )
                if action == "enable":
                    refuse_look_alikes(entry, column, forms.sealed)
                plans.append(plan_of(action, entry, column, forms.clear, forms.sealed))
            return plans

    async def enable(
        self, *names: str, on_progress: Callable[[str, int], object] | None = None
    ) -> int:
        """Encrypt columns, and those that hold copies of them; return how many values were.

        From the moment that it begins, what is written is encrypted; clear values are still read.
        Cut off, it goes on when it is called again.

        Raises:
            InvalidInput: `column_not_encryptable`.
            ConfigError: `column_key_missing`, `extra_missing`; the keys cannot be written.
            Conflict: `columns_busy`, `column_looks_encrypted`.
        """
        chosen = with_copies(names)
        async with self._alone():
            async with self._db.transaction() as conn:
                known = await store.list_columns(conn)
            # A ring that is lost is not replaced by a new one.
            ring = self._require_keys(known) if known else self.keys.ensure()
            # The package is there, before anything depends on it.
            ring.seal(ring.ids[-1], chosen[0].name, "", "")
            for entry in chosen:
                await self._refuse_look_alikes_of(entry)

            async def begin(conn: Connection) -> None:
                key = known[0].key_id if known else ring.ids[-1]
                for entry in chosen:
                    await store.begin(conn, entry.table, entry.column, key)
                    note(conn, "security.column_enable", "column", entry.name, key=key)

            await self._work.with_state_locked(begin)
            return await self._work.run(chosen, on_progress)

    async def disable(
        self,
        *names: str,
        all_columns: bool = False,
        on_progress: Callable[[str, int], object] | None = None,
    ) -> int:
        """Decrypt columns and return how many values were; from the beginning, writes are clear.

        Raises:
            InvalidInput, ConfigError: `column_not_encryptable`, `column_key_missing`.
            Conflict: `columns_busy`; `column_has_original`: it holds copies of one that stays.
        """
        async with self._alone():
            async with self._db.transaction() as conn:
                known = {column.name: column for column in await store.list_columns(conn)}
            chosen = [
                entry
                for entry in chosen_for("disable", names, known, all_columns)
                if entry.name in known
            ]
            self._require_keys([known[entry.name] for entry in chosen])

            async def begin(conn: Connection) -> None:
                for entry in chosen:
                    await store.set_state(conn, entry.table, entry.column, "decrypting")
                    note(conn, "security.column_disable", "column", entry.name)

            await self._work.with_state_locked(begin)
            return await self._work.run(chosen, on_progress)

    async def rotate(self, *, on_progress: Callable[[str, int], object] | None = None) -> int:
        """Encrypt every value by a new key, and return how many were.

        The file gets a new key first; of the setting the newest is taken. Cut off, it goes on with
        the same key. The old key stays in the ring: backups from before need it (`retire`).

        Raises:
            ConfigError: `column_keys_given`, `column_key_missing`.
            Conflict: `columns_busy`, `nothing_encrypted`.
        """
        async with self._alone():
            async with self._db.transaction() as conn:
                known = await store.list_columns(conn)
            if not known:
                raise Conflict(
                    "No column is encrypted, so there is nothing to rotate; `aegis security "
                    "encrypt enable` begins.",
                    code="nothing_encrypted",
                )
            ring = self._require_keys(known)
            if not any(column.older_keys for column in known):
                newest = ring.ids[-1]
                if all(column.key_id == newest for column in known):
                    newest = self.keys.add()

                async def begin(conn: Connection) -> None:
                    await store.set_key(conn, newest)
                    note(conn, "security.column_rotate", "columns", None, key=newest)

                await self._work.with_state_locked(begin)
            return await self._work.run([find_column(c.name) for c in known], on_progress)

    async def retire(self, key: str) -> None:
        """Take a key that no value uses out of the file.

        Raises:
            Conflict: `column_key_in_use`.
            ConfigError: `column_keys_given`, `column_key_missing`.
        """
        async with self._alone():
            ring = self.keys.ring()
            if key not in ring.ids:
                raise ring.missing(key)
            async with audited(self._db) as conn:
                using = [
                    column.name
                    for column in await store.list_columns(conn)
                    if key in (column.key_id, *column.older_keys)
                ]
                for entry in CATALOGUE:
                    # The newest key is asked for by what it is not.
                    forms = await values.count_forms(conn, entry, key_id=key)
                    if forms.sealed > forms.other_key:
                        using.append(entry.name)
                if using:
                    raise Conflict(
                        f"The key {key} is used by {', '.join(sorted(set(using)))}; rotate first.",
                        code="column_key_in_use",
                    )
                # Before the file: a row about a key that stayed is better than none of one gone.
                note(conn, "security.column_retire", "key", key)
            self.keys.remove(key)

    async def verify(
        self, *, on_progress: Callable[[str, int], object] | None = None
    ) -> Sequence[Verified]:
        """Decrypt every value and return what that has shown; what is damaged is no error here.

        Raises:
            ConfigError: `column_key_missing`, `extra_missing`.
        """
        async with self._db.transaction() as conn:
            known = await store.list_columns(conn)
        self._require_keys(known)
        found: list[Verified] = []
        for column in known:
            one = await verify_column(
                self._db, self.keys, column, page=self.page, on_progress=on_progress
            )
            async with self._db.transaction() as conn:
                await store.note_verified(
                    conn, column.table_name, column.column_name,
                    clear=one.clear, damaged=one.damaged,
                )  # fmt: skip
            found.append(one)
        return found

    async def probe(self) -> str:
        """Decrypt a value of each encrypted column, and return the end of a sentence about it.

        Keys that are not here are told of; empty where no column is encrypted.

        Raises:
            OpsError: `column_damaged`.
        """
        async with self._db.transaction() as conn:
            known = await store.list_columns(conn)
            if not known:
                return ""
            try:
                for column in known:
                    entry = find_column(column.name)
                    for row in await values.page(conn, entry, after=None, limit=1):
                        reveal_value(entry, self.keys, str(row.key), row.value)
                self._require_keys(known)
            except ConfigError as error:
                return f"; {len(known)} columns are encrypted, and not to be read here: {error}"
        return f"; {len(known)} columns are encrypted, and their keys are here"

    async def hashes(self, column: str, text: str) -> Sequence[str]:
        """Return what the hash column may hold for a text, newest key first.

        Raises:
            InvalidInput: `column_not_encryptable`, or nobody searches the column.
            ConfigError: `column_key_missing`.
        """
        entry = _searchable(column)
        async with self._db.transaction() as conn:
            _, hashes = await self._columns.search(conn, entry, text)
        return hashes

    async def hash_key(self, column: str) -> tuple[str, bytes]:
        """Return the newest key's id and the key of a column's hashes, for `aegis_column_hash`.

        It finds equal values, and decrypts none; whoever has it can guess at them.

        Raises:
            InvalidInput, ConfigError: as `hashes`; Conflict: the column is not encrypted.
        """
        entry = _searchable(column)
        async with self._db.transaction() as conn:
            known = {c.name: c for c in await store.list_columns(conn)}
        if entry.name not in known:
            raise Conflict(f"{entry.name} is not encrypted.", code="nothing_encrypted")
        key = known[entry.name].key_id
        return key, self.keys.ring().hash_key(key, entry.name)

    async def rewrite(self) -> Sequence[str]:
        """Write the tables of encrypted columns anew, and the planner's samples of them.

        What was clear before goes from their files; each table is locked meanwhile. The log keeps
        it until it is recycled. Returns what the user may not rewrite.
        """
        async with self._alone():
            async with self._db.transaction() as conn:
                tables = {column.table_name for column in await store.list_columns(conn)}
            async with self._db.session("Writing tables anew") as conn:
                return await rewriting.rewrite_tables(conn, sorted(tables))

    def _require_keys(self, columns: Sequence[EncryptedColumn]) -> Ring:
        """Return the ring, which has every key of these columns (`ConfigError`)."""
        ring = self.keys.ring()
        for column in columns:
            for key in (column.key_id, *column.older_keys):
                if key not in ring.ids:
                    raise ring.missing(key)
        return ring

    async def _refuse_look_alikes_of(self, entry: Sealable) -> None:
        async with self._db.transaction() as conn:
            known = {column.name: column for column in await store.list_columns(conn)}
            if entry.name not in known:
                forms = await values.count_forms(conn, entry, key_id=_NOTHING)
                refuse_look_alikes(entry, None, forms.sealed)

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        async with self._db.session("Encrypting or decrypting columns") as conn:
            if not await store.hold_work(conn):
                raise Conflict(
                    "Another process is encrypting or decrypting columns; wait until it is done.",
                    code="columns_busy",
                )
            try:
                yield
            finally:
                if not conn.closed:
                    await store.let_go_of_work(conn)


def _searchable(column: str) -> Sealable:
    entry = find_column(column)
    if entry.hash_column is None:
        raise InvalidInput(f"{column} has no hash: nobody searches it by equality.")
    return entry
