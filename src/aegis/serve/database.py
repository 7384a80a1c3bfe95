"""The database before serving: started if it is embedded, its schema made current."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db import embedded, migrate
from aegis.db.admin import require_owner
from aegis.db.dump import has_rows
from aegis.db.revision import HEAD, require_current
from aegis.security.audit.recording import make_note, record_now
from aegis.security.roles.after import regrant_after_upgrade

if TYPE_CHECKING:
    from collections.abc import Callable

    from aegis.config import Settings

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A database with a current schema."""

    dsn: str
    #: Whether this process started the embedded server.
    started: bool


def prepare(settings: Settings, say: Callable[[str], object]) -> Prepared:
    """Start the embedded server or take the given one, and bring the schema up to date.

    Raises:
        ConfigError, OpsError, Unavailable: as the server and the migrations have it.
    """
    started = False
    if settings.database_url is None:
        endpoint = embedded.start(settings)
        dsn, started = endpoint.dsn, endpoint.started
    else:
        dsn = settings.database_url
    try:
        _make_current(dsn, settings, say)
    except BaseException:
        if started:
            embedded.release(settings)
        raise
    return Prepared(dsn=dsn, started=started)


def _make_current(dsn: str, settings: Settings, say: Callable[[str], object]) -> None:
    status = migrate.status(dsn)
    owner = settings.owner_url or settings.direct_database_url or dsn
    if status.state in ("empty", "behind"):
        require_owner(owner, status)
    if status.state == "empty":
        migrate.upgrade(owner)
        if settings.database_url is None:
            asyncio.run(_take_extensions(dsn, settings))
    elif status.state == "behind":
        say(f"The schema is at revision {status.revision}; upgrading to {HEAD}.")
        if settings.backup_before_upgrade == "yes" and has_rows(dsn):
            _back_up(settings, say)
        migrate.upgrade(owner)
        regrant_after_upgrade(owner, settings)
        upgraded = make_note(
            "db.upgrade", "schema", None, before=status.revision, after=HEAD, by="aegis up"
        )
        record_now(owner, settings, upgraded)
    else:
        require_current(status)


def _back_up(settings: Settings, say: Callable[[str], object]) -> None:
    from aegis.errors import OpsError
    from aegis.ops.backup.service import BEFORE_UPGRADE, Backups

    backups = Backups(settings)
    made = asyncio.run(backups.create(backups.wish(BEFORE_UPGRADE)))
    if made.verdict == "failed":
        raise OpsError(
            f"The backup {made.name} does not verify, and nothing was changed: see "
            f"`aegis backup show {made.name}`.",
            code="backup_failed",
        )
    say(f"Backup: {made.name}; `aegis db rollback` goes back to it.")


async def _take_extensions(dsn: str, settings: Settings) -> None:
    """Create the optional extensions that the embedded server has; elsewhere its owner decides."""
    from aegis.db.database import Database
    from aegis.db.extensions import ensure_extensions

    async with (
        await Database.open(dsn, settings, min_size=1) as db,
        db.transaction() as conn,
    ):
        await ensure_extensions(conn)
