"""What is known of backups and drills, for whoever judges them: from the tables, or the folder.

Doctor asks the database, which may be on another machine than the folder; `aegis backup status`
asks the folder, and needs no database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.ops.health.looking import rows, value
from aegis.ops.health.models import CouldNotCheck

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.ops.backup.models import Drill, Entry, Verdict
    from aegis.ops.health.models import Ask

__all__ = ["DrillFact", "Facts", "Known", "facts_of_database", "facts_of_folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One backup."""

    name: str
    #: None where its manifest is damaged.
    snapshot_at: datetime | None
    verdict: Verdict
    problem: str | None
    #: When it was last restored on trial and found good; None where that was never.
    proven_at: datetime | None
    copied: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillFact:
    """The last drill."""

    backup: str
    started_at: datetime
    verdict: Verdict
    rto_s: float
    rpo_s: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All backups, the newest first, and the last drill."""

    backups: Sequence[Known]
    drill: DrillFact | None


def facts_of_folder(entries: Sequence[Entry], drills: Sequence[Drill]) -> Facts:
    """Return what the catalogue says; `entries` are newest first, `drills` oldest first."""
    last = drills[-1] if drills else None
    return Facts(
        backups=[_known(entry) for entry in entries],
        drill=None
        if last is None
        else DrillFact(
            backup=last.backup,
            started_at=last.started_at,
            verdict=last.verdict,
            rto_s=last.rto_s,
            rpo_s=last.rpo_s,
            detail=last.detail,
        ),
    )


def _known(entry: Entry) -> Known:
    return Known(
        name=entry.name,
        snapshot_at=entry.manifest.snapshot_at if entry.manifest else None,
        verdict=entry.verdict,
        problem=entry.problem,
        proven_at=entry.proven_at,
        copied=bool(entry.state.copies),
    )


async def facts_of_database(conn: Connection, ask: Ask) -> Facts:
    """Return what the tables say; read once a report.

    Raises:
        CouldNotCheck: nobody writes down here what backups there are.
    """
    if "backups" not in ask.memo:
        ask.memo["backups"] = await _read(conn)
    return ask.memo["backups"]


async def _read(conn: Connection) -> Facts:
    if await value(
        conn, "SELECT to_regclass('backups') IS NULL OR to_regclass('backup_drills') IS NULL"
    ):
        raise CouldNotCheck("this database has no table of backups; see your own backup program")
    backups = await rows(
        conn,
        """
        SELECT name, snapshot_at, verdict, problem, proven_at, cardinality(copied_to) > 0
        FROM backups
        ORDER BY number DESC, name DESC
        """,
    )
    drills = await rows(
        conn,
        """
        SELECT backup, started_at, verdict, rto_s, rpo_s, detail
        FROM backup_drills
        ORDER BY started_at DESC
        LIMIT 1
        """,
    )
    return Facts(
        backups=[
            Known(
                name=name,
                snapshot_at=snapshot_at,
                verdict=verdict,
                problem=problem,
                proven_at=proven_at,
                copied=copied,
            )
            for name, snapshot_at, verdict, problem, proven_at, copied in backups
        ],
        drill=next(
            (
                DrillFact(
                    backup=backup,
                    started_at=started_at,
                    verdict=verdict,
                    rto_s=rto_s,
                    rpo_s=rpo_s,
                    detail=detail,
                )
                for backup, started_at, verdict, rto_s, rpo_s, detail in drills
            ),
            None,
        ),
    )
