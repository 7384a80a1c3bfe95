"""The log of a database that was restored: older than what was anchored, and rightly so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aegis.errors import AegisError
from aegis.security.audit.anchors import add_anchor, make_anchor
from aegis.security.audit.recording import record_now
from aegis.vault import Vault

if TYPE_CHECKING:
    from aegis.config import Settings

__all__ = ["accept_restored"]


def accept_restored(dsn: str | None, settings: Settings) -> None:
    """Write down that the log goes on from where it is now: a row in it says that it was restored.

    Where this fails the restore is done all the same: `verify` says what there is to do.
    """
    if dsn is None:
        return
    try:
        head = record_now(dsn, settings)
        if head is not None:
            secret = Vault(settings).ensure()[-1]
            add_anchor(settings, make_anchor(head, secret, at=head.at, accepts=True))
    except AegisError as error:
        logging.getLogger("aegis.audit").warning("audit_not_anchored: %s", error)
