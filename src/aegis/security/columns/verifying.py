"""Decrypting every value of a column to see whether it can be."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import ConfigError, OpsError
from aegis.security.columns.catalogue import find_column
from aegis.security.columns.models import Damaged, Verified
from aegis.security.columns.sealing import is_sealed, key_of
from aegis.security.columns.store import values
from aegis.security.columns.values import reveal_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aegis.db import Database
    from aegis.security.columns.catalogue import Sealable
    from aegis.security.columns.keys import ColumnKeys
    from aegis.security.columns.models import EncryptedColumn
    from aegis.security.columns.store.values import Held

__all__ = ["verify_column"]

_EXAMPLES: Final = 5


async def verify_column(
    db: Database,
    keys: ColumnKeys,
    column: EncryptedColumn,
    *,
    page: int,
    on_progress: Callable[[str, int], object] | None = None,
) -> Verified:
    """Return what the values of a column are; one that does not decrypt is counted.

    Raises:
        ConfigError: `extra_missing`.
    """
    entry = find_column(column.name)
    by_key: Counter[str] = Counter()
    clear = seen = 0
    damaged: list[Damaged] = []
    after: Any = None
    while True:
        async with db.transaction() as conn:
            rows = await values.page(conn, entry, after=after, limit=page)
        for row in rows:
            texts = [*_texts(entry, row.value)]
            clear += any(not is_sealed(text) for text in texts)
            why = _damage(entry, keys, row)
            if why is not None:
                damaged.append(Damaged(row=str(row.key), why=why))
            elif any(map(is_sealed, texts)):
                by_key.update({key_of(text) or "" for text in texts if is_sealed(text)})
        if len(rows) < page:
            break
        after, seen = rows[-1].key, seen + len(rows)
        if on_progress is not None:
            on_progress(entry.name, seen)
    return Verified(
        column=entry.name,
        state=column.state,
        by_key=dict(by_key),
        clear=clear,
        damaged=len(damaged),
        examples=damaged[:_EXAMPLES],
    )


def _damage(entry: Sealable, keys: ColumnKeys, row: Held) -> str | None:
    """Return why a value cannot be read or found; None where it can."""
    try:
        clear = reveal_value(entry, keys, str(row.key), row.value)
    except (ConfigError, OpsError) as error:
        if error.code == "extra_missing":
            raise
        return error.message
    if entry.hash_column is None or clear is row.value:
        return None
    key = key_of(row.value) or ""
    if row.hash != keys.ring().hash(key, entry.name, clear):
        return f"{entry.hash_column} is not the hash of the value: it is not found by it."
    return None


def _texts(entry: Sealable, value: Any) -> Iterator[str]:
    candidates = [value] if not entry.fields else [value.get(field) for field in entry.fields]
    return (text for text in candidates if isinstance(text, str))
