"""The schedules that every database has: made when a worker first starts, the operator's from then.

One that was changed, paused or removed stays so; one that nobody touched follows this list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aegis.ops.backup.schedule import SCHEDULED, crons
from aegis.worker import planning
from aegis.worker.functions import BUILTIN
from aegis.worker.models import NewSchedule
from aegis.worker.store import schedules as store

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

__all__ = ["CREATED_BY", "default_schedules", "ensure_defaults"]

CREATED_BY: Final = "default"


def default_schedules(settings: Settings) -> tuple[list[NewSchedule], list[str]]:
    """Return the default schedules, and the names of those that the settings turn off."""
    whens = {name: builtin.at for name, builtin in BUILTIN.items()}
    off: list[str] = []
    if settings.consolidate_at == "off":
        off.append("memory.consolidate")
    else:
        hour, minute = map(int, settings.consolidate_at.split(":"))
        whens["memory.consolidate"] = f"{minute} {hour} * * *"
    whens |= crons(settings)
    off += sorted(SCHEDULED.keys() - crons(settings).keys())
    # Another process may have the key: what it made is not taken away here.
    if settings.stripe_api_key is not None:
        whens["billing.stripe"] = "* * * * *"
    made = [
        NewSchedule(
            name=name,
            cron=when,
            function=name,
            max_attempts=BUILTIN[name].attempts,
            created_by=CREATED_BY,
        )
        for name, when in sorted(whens.items())
        if when is not None
    ]
    return made, off


async def ensure_defaults(db: Database, settings: Settings) -> None:
    """Make the default schedules that are not there."""
    made, off = default_schedules(settings)
    async with db.transaction() as conn:
        now = await store.now(conn)
        for new in made:
            at = planning.next_from(new, now)
            await store.add_default(conn, new, next_at=at)
        await store.drop_default(conn, off, created_by=CREATED_BY)
