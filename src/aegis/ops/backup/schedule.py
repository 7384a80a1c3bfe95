"""What runs by the clock: plain functions that a scheduler calls with an open client's backups.

Each returns one line that says what was done, and raises what went wrong after doing the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aegis.config import Settings
    from aegis.ops.backup.service import Backups

__all__ = ["SCHEDULED", "crons", "monthly_drill", "nightly", "weekly_proof"]


async def nightly(backups: Backups) -> str:
    """Make a backup, read it back, copy it, prune what is too old.

    Raises:
        OpsError: `backup_failed`, it does not verify: nothing is pruned then.
    """
    entry = await backups.create(backups.wish("nightly"))
    if entry.verdict != "verified":
        looked = entry.state.fast
        raise OpsError(
            f"The backup {entry.name} is {entry.verdict.replace('_', ' ')}: "
            f"{looked.problem if looked else 'nobody looked'}. Nothing was pruned.",
            code="backup_failed",
        )
    copied = ""
    if backups.settings.backup_destination is not None:
        for name in await _uncopied(backups):
            await backups.push(name)
        copied = ", copied"
    gone = sum(1 for item in await backups.prune() if item.done)
    return f"{entry.name}: verified{copied}; {gone} pruned"


async def _uncopied(backups: Backups) -> Sequence[str]:
    """Return what has no copy yet, oldest first: also what earlier nights could not copy."""
    return [
        entry.name
        for entry in reversed(await backups.list())
        if entry.local and entry.verdict == "verified" and not entry.state.copies
    ]


async def weekly_proof(backups: Backups) -> str:
    """Restore the newest backup into a throw-away server and compare.

    Raises:
        OpsError: `backup_failed`, the verdict is not `verified`.
    """
    entry = await backups.verify("latest", full=True)
    found = entry.state.full
    if found is None or found.verdict != "verified":
        raise OpsError(
            f"The backup {entry.name} is {entry.verdict.replace('_', ' ')}: "
            f"{found.problem if found else ''}",
            code="backup_failed",
        )
    return f"{entry.name}: verified by restoring it in {found.seconds:.0f} s"


async def monthly_drill(backups: Backups) -> str:
    """Time a full recovery, from the copy elsewhere where there is one.

    Raises:
        OpsError: `backup_failed`, it was not recovered.
    """
    done = await backups.drill(remote=backups.settings.backup_destination is not None)
    if done.verdict != "verified":
        raise OpsError(f"The drill of {done.backup} failed: {done.detail}", code="backup_failed")
    return f"{done.backup}: recovered in {done.rto_s:.0f} s; {done.rpo_s / 3600:.1f} h behind"


#: Name of the scheduled function, and the function.
SCHEDULED: dict[str, Callable[[Backups], Awaitable[str]]] = {
    "backup.create": nightly,
    "backup.verify_weekly": weekly_proof,
    "backup.drill": monthly_drill,
}


def crons(settings: Settings) -> dict[str, str]:
    """Return when each runs, as cron says it, in UTC; those that are off are left out."""
    wanted = {
        "backup.create": settings.backup_cron,
        "backup.verify_weekly": settings.backup_verify_cron,
        "backup.drill": settings.backup_drill_cron,
    }
    return {name: cron for name, cron in wanted.items() if cron != "off"}
