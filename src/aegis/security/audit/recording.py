"""Rows into the log, in the transaction of what they tell of.

A change opens its transaction with `audited`, and notes what it does with `note`. The rows are
written when the block ends, so that the head is locked last and only while they are written and
committed. Whoever holds the head asks for nothing else: no order of locks can go wrong.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from aegis.db.admin import admin_connection
from aegis.db.translate import translated
from aegis.security.audit import store
from aegis.security.audit.actions import ACTIONS
from aegis.security.audit.actor import actor, login
from aegis.security.audit.encoding import clean, hash_of, object_text, row_body, sign
from aegis.security.audit.models import Row
from aegis.vault import Vault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.security.audit.actions import ActionId
    from aegis.security.audit.actor import Actor
    from aegis.security.audit.models import LockedHead
    from aegis.vault import Secret

__all__ = ["Note", "append", "append_now", "audited", "make_note", "note", "record_now"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing that was done, before it has a place in the log."""

    action: ActionId
    object_kind: str
    #: A `Private` is written down as its digest.
    object_id: Any
    details: dict[str, Any]
    actor: Actor


#: What was noted in transactions that are open.
_noted: WeakKeyDictionary[Any, list[Note]] = WeakKeyDictionary()


@asynccontextmanager
async def audited(db: Database, settings: Settings | None = None) -> AsyncGenerator[Connection]:
    """Lend a connection in a transaction; what is noted on it is written at the end of the block.

    `settings` say where the secret is, those of `db` if left out.

    Raises:
        ConfigError: there are notes, and the secret that signs them cannot be read or made. The
            change is rolled back.
    """
    async with db.transaction() as conn:
        notes: list[Note] = []
        _noted[conn] = notes
        try:
            yield conn
        finally:
            _noted.pop(conn, None)
        await append(conn, settings or db.settings, notes)


def note(
    conn: Connection, action: ActionId, object_kind: str, object_id: Any = None, /, **details: Any
) -> None:
    """Have the log say what is done in this transaction, which `audited` opened.

    `details` are ids, numbers and fixed words; wrap what somebody wrote in `Private`.

    Raises:
        RuntimeError: the transaction was opened in another way, and the row would be lost.
    """
    notes = _noted.get(conn)
    if notes is None:
        raise RuntimeError(f"{action} is noted outside of `audited`.")
    notes.append(make_note(action, object_kind, object_id, **details))


def make_note(action: ActionId, object_kind: str, object_id: Any = None, /, **details: Any) -> Note:
    """Return what is done, by whoever acts here."""
    if action not in ACTIONS:
        raise RuntimeError(f"{action} is no action; add it to aegis.security.audit.actions.")
    return Note(
        action=action,
        object_kind=object_kind,
        object_id=object_id,
        details=details,
        actor=actor(),
    )


async def append(conn: Connection, settings: Settings, notes: Sequence[Note]) -> None:
    """Write what was noted; nothing else may be done in the transaction afterwards.

    Raises:
        ConfigError: the secret cannot be read or made.
    """
    if not notes:
        return
    # Before the head is locked: making the secret writes a file.
    secret = Vault(settings).ensure()[-1]
    head = await store.lock_head(conn)
    await store.append(conn, _rows(head, notes, secret))


def record_now(dsn: str, settings: Settings, *notes: Note) -> LockedHead | None:
    """Write rows about what is no transaction of this database: files, a schema, a restore.

    Returns the head as it is then; None where the database has no log (yet, or any more).

    Raises:
        Unavailable, ConfigError: the database does not answer; the secret cannot be used.
    """
    with (
        admin_connection(dsn, application_name="aegis-audit", transactions=True) as conn,
        translated(),
        conn.transaction(),
    ):
        if not store.has_log(conn):
            return None
        append_now(conn, settings, notes)
        return store.lock_head_now(conn)


def append_now(conn: store.SyncConnection, settings: Settings, notes: Sequence[Note]) -> None:
    """Do the same without `async`."""
    if not notes:
        return
    secret = Vault(settings).ensure()[-1]
    head = store.lock_head_now(conn)
    if head is not None:
        store.append_now(conn, _rows(head, notes, secret))


def _rows(head: LockedHead, notes: Sequence[Note], secret: Secret) -> list[Row]:
    rows: list[Row] = []
    previous = head.hash
    for seq, noted in enumerate(notes, head.seq + 1):
        row = _row(seq, noted, head, previous, secret)
        rows.append(row)
        previous = row.hash
    return rows


def _row(seq: int, noted: Note, head: LockedHead, previous: bytes, secret: Secret) -> Row:
    who = noted.actor
    unsigned = Row(
        seq=seq,
        recorded_at=head.at,
        action=noted.action,
        actor_kind=who.kind,
        actor_id=object_text(secret, login() if who.id is None and _is_person(who) else who.id),
        face=who.face,
        request_id=who.request_id,
        object_kind=noted.object_kind,
        object_id=object_text(secret, noted.object_id),
        details=json.dumps(clean(secret, noted.details), ensure_ascii=False),
        previous_hash=previous,
        hash=b"",
        secret_id=secret.id,
        signature=b"",
    )
    found = hash_of(previous, row_body(head.log_id, unsigned))
    return replace(unsigned, hash=found, signature=sign(secret, found))


def _is_person(who: Actor) -> bool:
    """Tell whether an actor without an id is known by the login name of the process."""
    return who.kind in ("cli", "mcp", "library")
