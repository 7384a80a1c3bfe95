"""Anchors that backups are: where the log stood in a backup's snapshot, signed, in its manifest.

A backup is made whatever becomes of its anchor: where there is no secret to sign with, or no folder
to write to, that is a line of the process's log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aegis.errors import AegisError, ConfigError
from aegis.security.audit import store
from aegis.security.audit.anchors import add_anchor, make_anchor, read_anchor, read_anchors, written
from aegis.vault import Vault

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.config import Settings

__all__ = ["anchor_in_backup", "keep_anchor"]


def anchor_in_backup(
    conn: store.SyncConnection, settings: Settings, at: datetime
) -> dict[str, Any] | None:
    """Return the log's head as the transaction of `conn` sees it, signed; None without a log."""
    if not store.has_log(conn):
        return None
    head = store.find_head_now(conn)
    if head is None:
        return None
    try:
        secret = Vault(settings).ensure()[-1]
    except AegisError as error:
        _warn(error)
        return None
    return written(make_anchor(head, secret, at=at, from_backup=True))


def keep_anchor(settings: Settings, anchor: dict[str, Any] | None) -> None:
    """Write a backup's anchor down in the data folder, unless that knows as much already."""
    if anchor is None:
        return
    try:
        one = read_anchor(anchor)
        known = read_anchors(settings).anchors
        for other in known:
            if (other.log_id, other.seq, other.hash) == (one.log_id, one.seq, one.hash):
                return
            # An older database was put back, and that accepted, while the backup was made.
            if other.accepts and other.log_id == one.log_id and other.at >= one.at:
                return
        add_anchor(settings, one)
    except (ConfigError, ValueError, KeyError, TypeError) as error:
        _warn(error)


def _warn(error: Exception) -> None:
    logging.getLogger("aegis.audit").warning("audit_not_anchored: %s", error)
