"""What follows a change of the schema: rights on what it made."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aegis.errors import AegisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.security.roles.models import Step

__all__ = ["regrant_after_upgrade"]


def regrant_after_upgrade(dsn: str, settings: Settings) -> Sequence[Step]:
    """Give the roles their rights on what an upgrade made, as its owner; return what was done.

    A database without roles of its own is left as it is. A failure does not undo the upgrade:
    `aegis security check` finds what is missing. Called outside of any event loop.
    """
    from aegis.security.roles.service import Roles

    try:
        return asyncio.run(Roles(dsn, settings).regrant())
    except AegisError as error:
        logging.getLogger("aegis.security").warning(
            "security.regrant_failed", extra={"code": error.code, "why": error.message}
        )
        return ()
