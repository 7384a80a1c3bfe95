"""Letting old rows go: a signed seal keeps where the chain stood, and a row says it was done.

Row, seal and deletion are one transaction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aegis.errors import Conflict
from aegis.security.audit import store
from aegis.security.audit.encoding import seal_body, sign
from aegis.security.audit.models import Seal, Sealed
from aegis.security.audit.recording import audited, note
from aegis.vault import Vault

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.security.audit.models import Row, Verification

__all__ = ["find_sealable", "seal"]

#: The newest rows stay, whatever their age: an empty log says nothing about where it stood.
_KEEP: Final = 1


async def find_sealable(db: Database, before: datetime) -> Sealed | None:
    """Return what `seal` would do, None for nothing."""
    async with db.transaction() as conn:
        last = await store.last_row_before(conn, before, keep=_KEEP)
        if last is None:
            return None
        first = await store.first_row(conn)
        count = await store.count_through(conn, last.seq)
    return None if first is None else _told(first, last, count)


async def seal(
    db: Database, settings: Settings, before: datetime, *, verified: Verification
) -> Sealed | None:
    """Delete rows older than `before` under a seal; None where there are none.

    What is wrong with rows cannot be found any more when they are gone: hence `verified`.

    Raises:
        Conflict: the log is not as it was written; nothing is deleted.
        ConfigError: the secret cannot be read.
    """
    if verified.problems:
        raise Conflict(
            f"The audit log is not as it was written: {verified.findings[0].text} Nothing was "
            "sealed.",
            code="audit_tampered",
        )
    secret = Vault(settings).ensure()[-1]
    async with audited(db) as conn:
        await store.lock_seals(conn)
        last = await store.last_row_before(conn, before, keep=_KEEP)
        if last is None:
            return None
        first = await store.first_row(conn)
        count = await store.count_through(conn, last.seq)
        if first is None or first.seq + count - 1 != last.seq:
            raise Conflict(
                f"Rows up to {last.seq} are not whole: run `aegis security audit verify` first.",
                code="audit_not_whole",
            )
        head = await store.get_head(conn)
        unsigned = Seal(
            through_seq=last.seq,
            from_seq=first.seq,
            hash=last.hash,
            row_count=count,
            first_recorded_at=first.recorded_at,
            last_recorded_at=last.recorded_at,
            sealed_at=await store.now(conn),
            secret_id=secret.id,
        )
        signed = replace(unsigned, signature=sign(secret, seal_body(head.log_id, unsigned)))
        await store.insert_seal(conn, signed)
        await store.delete_through(conn, last.seq)
        note(
            conn,
            "audit.seal",
            "audit_log",
            from_seq=first.seq,
            through_seq=last.seq,
            rows=count,
            hash=last.hash.hex(),
        )
    return _told(first, last, count)


def _told(first: Row, last: Row, count: int) -> Sealed:
    return Sealed(from_seq=first.seq, through_seq=last.seq, rows=count, through=last.recorded_at)
