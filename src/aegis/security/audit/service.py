"""The audit log for who reads and verifies it: `client.audit_log`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import NotFound, PermissionDenied, Unavailable
from aegis.security.audit import sealing, store, validate
from aegis.security.audit.anchors import add_anchor, make_anchor, read_anchors, read_anchors_of
from aegis.security.audit.encoding import Private, object_text
from aegis.security.audit.models import AuditEntry
from aegis.security.audit.recording import audited, note
from aegis.security.audit.verifying import verify
from aegis.vault import Vault

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.security.audit.models import Anchor, Row, Sealed, Verification
    from aegis.security.audit.pgaudit import PgAudit

__all__ = ["AuditLog"]

#: A log that is no longer is verified whole each day; a longer one each week, its new rows daily.
_DAILY_WHOLE: Final = 200_000
_WEEK: Final = timedelta(days=6, hours=12)


class AuditLog:
    """The audit log of one database."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings

    async def list(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        actor: str | None = None,
        action: str | None = None,
        object: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[AuditEntry]:
        """Return rows, the newest first; `before` is the `seq` of the last one of the page before.

        `actor` is a kind (`operator`, `key`, `cli`, `mcp`, `worker`, `library`) or an id; `action`
        is an id, or an area such as `keys.*`; `object` is a kind such as `key`, or `key:ID`. A name
        that was written down as a digest is looked for by its name.

        Raises:
            InvalidInput: a value cannot be accepted.
        """
        validate.check_page(limit, before)
        validate.check_action(action)
        kind, object_id = validate.read_object(object)
        ids = self._forms(object_id)
        async with self._db.transaction() as conn:
            rows = await store.list_rows(
                conn,
                since=validate.check_time("since", since),
                until=validate.check_time("until", until),
                actors=self._forms(validate.check_text("actor", actor)),
                action=action,
                object_kind=kind,
                object_ids=ids,
                before=before,
                limit=limit,
            )
        return [_entry(row) for row in rows]

    async def get(self, seq: int) -> AuditEntry:
        """Return one row (`NotFound`)."""
        validate.check_seq(seq)
        async with self._db.transaction() as conn:
            row = await store.find_row(conn, seq)
        if row is None:
            raise NotFound(f"There is no row {seq} in the audit log.", code="audit_row_not_found")
        return _entry(row)

    async def export(self) -> AsyncGenerator[dict[str, Any]]:
        """Yield every row as it is stored, the first one first, hashes in hexadecimal digits."""
        async with self._db.transaction() as conn:
            await store.begin_snapshot(conn)
            async for page in store.stream_rows(conn, after=0, page=1_000):
                for row in page:
                    yield _exported(row)

    async def head(self, *, accept: bool = False, keep: bool = True) -> Anchor:
        """Return the head, signed, and (`keep`) write it down in the data folder.

        `accept` says that the log was put back on purpose, by a restore: anchors beyond the head
        are void, and the log has a row that says so.

        Raises:
            ConfigError: the secret or the file cannot be used.
        """
        if accept:
            await self._accept()
        secret = Vault(self._settings).ensure()[-1]
        async with self._db.transaction() as conn:
            head = await store.get_head(conn)
            at = await store.now(conn)
        anchor = make_anchor(head, secret, at=at, accepts=accept)
        known = read_anchors(self._settings).anchors
        if accept or (keep and (not known or _place(known[-1]) != _place(anchor))):
            add_anchor(self._settings, anchor)
        return anchor

    async def verify(
        self,
        *,
        complete: bool = True,
        anchors: Path | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Verification:
        """Verify every row, or those since the last anchor.

        `anchors` is what to compare with instead of the data folder's: a copy of that file, or a
        backup's folder or manifest.

        Raises:
            ConfigError: the secrets or the anchors cannot be read.
            NotFound: `audit_anchors_not_found`.
        """
        known = None if anchors is None else read_anchors_of(anchors)
        if known is not None and not known.there:
            raise NotFound(
                f"There are no anchors at {known.path}; name a copy of audit-anchors.jsonl, or a "
                "backup's folder.",
                code="audit_anchors_not_found",
            )
        found = await verify(
            self._db, self._settings, complete=complete, anchors=known, progress=progress
        )
        try:
            async with self._db.transaction() as conn:
                await store.insert_verification(conn, found)
        except (PermissionDenied, Unavailable) as error:
            # Whoever may only read, or reads a standby, learns what there is to know all the same.
            if error.code not in ("db_privilege", "db_read_only"):
                raise
        return found

    async def keep(self) -> Verification:
        """Verify what a day asks for, and write the head down where nothing is wrong."""
        async with self._db.transaction() as conn:
            head = await store.get_head(conn)
            last = await store.last_complete(conn)
        whole = head.seq <= _DAILY_WHOLE or last is None or datetime.now(UTC) - last > _WEEK
        found = await self.verify(complete=whole)
        if found.state != "tampered":
            await self.head()
        return found

    async def pgaudit(self) -> PgAudit:
        """Return whether the server writes down what passes Aegis by, and what would make it."""
        from aegis.security.audit.pgaudit import look

        return await look(self._db)

    async def sealable(self, before: datetime) -> Sealed | None:
        """Return what `seal` would let go, None for nothing (`InvalidInput`)."""
        return await sealing.find_sealable(self._db, validate.check_past(before))

    async def seal(self, before: datetime) -> Sealed | None:
        """Let rows go that are older than a time, once the log is verified; None for none.

        Raises:
            Conflict: the log is not as it was written (`audit_tampered`); nothing is deleted.
        """
        validate.check_past(before)
        return await sealing.seal(self._db, self._settings, before, verified=await self.verify())

    async def _accept(self) -> None:
        known = read_anchors(self._settings).anchors
        async with audited(self._db) as conn:
            head = await store.get_head(conn)
            note(
                conn,
                "audit.accept",
                "audit_log",
                stood_at=head.seq,
                anchored_at=max((a.seq for a in known if a.log_id == head.log_id), default=None),
            )

    def _forms(self, text: str | None) -> builtins.list[str] | None:
        """Return how a text may have been written down: as it is, and as a digest."""
        if text is None:
            return None
        secrets = Vault(self._settings).secrets()
        return [text, *(str(object_text(secret, Private(text))) for secret in secrets)]


def _place(anchor: Anchor) -> tuple[Any, int, bytes, bool]:
    return (anchor.log_id, anchor.seq, anchor.hash, anchor.from_backup)


def _entry(row: Row) -> AuditEntry:
    try:
        details: Any = json.loads(row.details)
    except (ValueError, RecursionError):
        details = {"unparsed": row.details[:1_000]}
    return AuditEntry(
        seq=row.seq,
        recorded_at=row.recorded_at,
        action=row.action,
        actor_kind=cast("Any", row.actor_kind),
        actor_id=row.actor_id,
        face=cast("Any", row.face),
        request_id=row.request_id,
        object_kind=row.object_kind,
        object_id=row.object_id,
        details=cast("dict[str, Any]", details)
        if isinstance(details, dict)
        else {"value": details},
        hash=row.hash.hex(),
    )


def _exported(row: Row) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__dataclass_fields__}
    for name in ("previous_hash", "hash", "signature"):
        values[name] = values[name].hex()
    values["details"] = _entry(row).details
    return values
