"""Encrypting what is written and decrypting what is read, for the stores of other domains.

A row that is read is revealed after the statement, one that is written is sealed before it, in the
same transaction. What the database says of a column counts, not a setting: two processes agree.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, TypeVar

from aegis.errors import ConfigError, InvalidInput, OpsError
from aegis.security.columns.catalogue import columns_of
from aegis.security.columns.keys import ColumnKeys
from aegis.security.columns.sealing import is_sealed, normalised, refuse_mark
from aegis.security.columns.store import state as store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aegis.config import Settings
    from aegis.db import Connection
    from aegis.security.columns.catalogue import Sealable
    from aegis.security.columns.sealing import Ring

__all__ = ["Columns", "reveal_value", "seal_value", "sealed_tables"]

Row = TypeVar("Row")


class Columns:
    """Values of columns that may be encrypted; one for a service."""

    def __init__(self, settings: Settings) -> None:
        self.keys = ColumnKeys(settings)

    def reveal(self, table: str, row: Row) -> Row:
        """Return a row of `table`, a dataclass, with every value in clear.

        Raises:
            ConfigError: `column_key_missing`, `extra_missing`.
            OpsError: `column_damaged`.
        """
        changed: dict[str, Any] = {}
        for entry in columns_of(table):
            value = getattr(row, entry.column, None)
            clear = reveal_value(entry, self.keys, str(getattr(row, entry.key, "")), value)
            if clear is not value:
                changed[entry.column] = clear
        return dataclasses.replace(row, **changed) if changed else row  # pyright: ignore[reportUnknownVariableType, reportArgumentType, reportCallIssue]

    def reveal_json(self, table: str, document: str) -> str | None:
        """Return a row as JSON with every value in clear; None where one cannot be read."""
        row: Any = json.loads(document)
        try:
            for entry in columns_of(table):
                row[entry.column] = reveal_value(
                    entry, self.keys, str(row[entry.key]), row[entry.column]
                )
        except (ConfigError, OpsError):
            return None
        return json.dumps(row, ensure_ascii=False)

    def reveal_all(self, table: str, rows: Iterable[Row]) -> list[Row]:
        """Return rows with every value in clear: all of them, or an error."""
        return [self.reveal(table, row) for row in rows]

    async def seal(
        self, conn: Connection, table: str, rows: Sequence[tuple[Any, Mapping[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Return the values to write, by column, of rows (key, clear values by column).

        Values of columns that are not encrypted stay as they are. Where equality is searched, the
        hash is added. Until the transaction ends, nobody can change which columns are encrypted.

        Raises:
            InvalidInput: a text that cannot be stored, or looks encrypted.
            ConfigError: `column_key_missing`, `extra_missing`.
        """
        entries = columns_of(table)
        for key, values in rows:
            for entry in entries:
                for text in _texts(entry, values.get(entry.column)):
                    _check_text(entry, key, text)
        await store.hold_state(conn)
        keys = {
            column.column_name: column.key_id
            for column in await store.list_columns(conn, table)
            if column.writes_sealed
        }
        made: list[dict[str, Any]] = []
        for key, values in rows:
            out = dict(values)
            for entry in entries:
                if entry.column in values:
                    own = keys.get(entry.column)
                    text = values[entry.column]
                    if entry.hash_column is not None:
                        out[entry.hash_column] = self.hash_of(entry, own, text)
                    if own is not None:
                        out[entry.column] = seal_value(entry, self.keys.ring(), own, str(key), text)
            made.append(out)
        return made

    def hash_of(self, entry: Sealable, key_id: str | None, text: str | None) -> str | None:
        """Return the hash beside a value; None where the value is clear, or none."""
        if key_id is None or text is None:
            return None
        return self.keys.ring().hash(key_id, entry.name, text)

    async def search(
        self, conn: Connection, entry: Sealable, text: str
    ) -> tuple[str | None, Sequence[str]]:
        """Return what equals `text`: its normalised form, None where no value is in clear; hashes.

        Raises:
            ConfigError: `column_key_missing`: what may be there could not be found.
        """
        hashes: list[str] = []
        clear: str | None = normalised(text)
        for column in await store.list_columns(conn, entry.table):
            if column.column_name == entry.column:
                ring = self.keys.ring()
                hashes = [
                    ring.hash(key, entry.name, text) for key in (column.key_id, *column.older_keys)
                ]
                if column.state == "encrypted":
                    clear = None
        return clear, hashes


async def sealed_tables(conn: Connection) -> frozenset[str]:
    """Return the tables in which a column is encrypted, or was and is not all decrypted."""
    return frozenset(column.table_name for column in await store.list_columns(conn))


def seal_value(entry: Sealable, ring: Ring, key_id: str, row: str, value: Any) -> Any:
    """Return a value with what is clear in it encrypted by the key; what is sealed stays."""
    if not entry.fields:
        if not isinstance(value, str) or is_sealed(value):
            return value
        return ring.seal(key_id, entry.name, row, value)
    if not isinstance(value, dict):
        return value
    fields: dict[str, Any] = {**value}
    for field in entry.fields:
        text = fields.get(field)
        if isinstance(text, str) and not is_sealed(text):
            fields[field] = ring.seal(key_id, entry.name, row, text, field=field)
    return fields


def reveal_value(entry: Sealable, keys: ColumnKeys, row: str, value: Any) -> Any:
    """Return a value in clear; the same object where it is."""
    if not entry.fields:
        return keys.ring().reveal(value, entry.name, row) if is_sealed(value) else value
    if not any(is_sealed(text) for text in _texts(entry, value)):
        return value
    fields: dict[str, Any] = {**value}
    ring = keys.ring()
    for field in entry.fields:
        if is_sealed(fields.get(field)):
            fields[field] = ring.reveal(fields[field], entry.name, row, field=field)
    return fields


def _texts(entry: Sealable, value: Any) -> Iterable[Any]:
    if not entry.fields:
        return (value,)
    if not isinstance(value, dict):
        return ()
    fields: dict[str, Any] = {**value}
    return [fields.get(field) for field in entry.fields]


def _check_text(entry: Sealable, key: Any, text: Any) -> None:
    """Refuse what could not come back (`InvalidInput`)."""
    if not isinstance(text, str):
        return
    what = f"{entry.name} of {str(key)[:80]!r}"
    refuse_mark(what, text)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            f"{what} holds half of a surrogate pair; PostgreSQL keeps none."
        ) from None
    if "\0" in text:
        raise InvalidInput(f"{what} holds a NUL character; PostgreSQL keeps none.")
