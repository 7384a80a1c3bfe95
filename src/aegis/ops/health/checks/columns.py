"""Columns that should be encrypted: whether they are, and whether anybody here can read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from aegis.errors import ConfigError
from aegis.ops.health.looking import check, rows, value
from aegis.ops.health.models import CouldNotCheck, Seen
from aegis.security.columns.catalogue import CATALOGUE, columns_of
from aegis.security.columns.keys import ColumnKeys
from aegis.security.columns.sealing import MARK
from aegis.security.columns.store.state import list_columns, missing_triggers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask
    from aegis.security.columns.catalogue import Sealable
    from aegis.security.columns.models import EncryptedColumn

__all__ = ["CHECKS"]

#: A table of more rows is looked at by a sample of about so many.
_ROWS: Final = 100_000
#: Seconds after which what is half done was cut off, rather than being done.
_PATIENCE_S: Final = 3_600


@check(
    "encrypted-columns",
    "access",
    "Encrypted columns that are not, or cannot be read",
    means="Clear text is where nobody expects it, or values are lost with their key.",
    advice="`aegis security encrypt verify` looks at every value.",
)
async def encrypted_columns(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Look at keys, guards, what is half done, and for clear values, large tables in a sample."""
    if await value(conn, "SELECT to_regclass('encrypted_columns') IS NULL"):
        return []
    known = await list_columns(conn)
    keys = ColumnKeys(ask.settings)
    try:
        here = keys.ring().ids if known else ()
    except ConfigError as error:
        raise CouldNotCheck(error.message) from None
    seen: list[Seen] = []
    if known and keys.open_to_others():
        seen.append(
            Seen(
                object=keys.source,
                observed="others may read the keys",
                state="warning",
                fix=f"chmod 600 {keys.source}",
            )
        )
    for column in known:
        seen += _of_state(column, here, ask.now.timestamp())
        for entry in columns_of(column.table_name):
            if entry.name == column.name and column.state == "encrypted":
                clear = await _clear_values(conn, entry)
                if clear:
                    seen.append(_clear(column.name, f"{clear} value(s) in clear"))
    if known:
        for name in await missing_triggers(conn, [_trigger(entry) for entry in CATALOGUE]):
            seen.append(
                Seen(
                    object=name,
                    observed="the trigger that refuses clear text is missing or off",
                    state="critical",
                )
            )
    return seen


def _of_state(column: EncryptedColumn, here: Sequence[str], now: float) -> Iterable[Seen]:
    missing = [key for key in (column.key_id, *column.older_keys) if key not in here]
    if missing:
        yield Seen(
            object=column.name,
            observed=f"the key {', '.join(missing)} is not here",
            state="critical",
        )
    idle = now - column.changed_at.timestamp() > _PATIENCE_S
    if idle and column.state != "encrypted":
        verb = "enable" if column.state == "encrypting" else "disable"
        yield Seen(
            object=column.name,
            observed=f"{column.state} was cut off",
            state="warning",
            fix=f"aegis security encrypt {verb} {column.name}",
        )
    elif idle and column.older_keys:
        yield Seen(
            object=column.name,
            observed="a rotation was cut off",
            state="warning",
            fix="aegis security encrypt rotate",
        )
    if column.damaged_values:
        yield Seen(
            object=column.name,
            observed=f"{column.damaged_values} value(s) did not decrypt at the last verification",
            state="critical",
        )


def _clear(name: str, observed: str) -> Seen:
    return Seen(
        object=name,
        observed=observed,
        state="warning",
        fix=f"aegis security encrypt enable {name}",
    )


def _trigger(entry: Sealable) -> str:
    return f"tr_{entry.table}_{entry.column}_sealed"


async def _clear_values(conn: Connection, entry: Sealable) -> int:
    """Return how many of the values that were looked at are clear; a hundred are enough."""
    held = await value(
        conn,
        "SELECT reltuples::float8 FROM pg_class WHERE oid = %(table)s::regclass",
        {"table": entry.table},
    )
    sample = sql.SQL("")
    if held > _ROWS:
        sample = sql.SQL("TABLESAMPLE SYSTEM ({})").format(sql.Literal(100 * _ROWS / held))
    column = sql.SQL("t.{}").format(sql.Identifier(entry.column))
    parts = (
        [sql.SQL("{} ->> {}").format(column, sql.Literal(field)) for field in entry.fields]
        if entry.fields
        else [column]
    )
    clear = sql.SQL(" OR ").join(
        sql.SQL("NOT starts_with({}, {})").format(part, sql.Literal(MARK)) for part in parts
    )
    found = await rows(
        conn,
        sql.SQL("SELECT count(*) FROM (SELECT FROM {} t {} WHERE {} LIMIT 100) AS clear").format(
            sql.Identifier(entry.table), sample, clear
        ),
    )
    return found[0][0]


CHECKS = (encrypted_columns,)
