"""Age and verdict of backups, and of drills, as the table `backups` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.health.looking import check, rows, seconds, value
from aegis.ops.health.models import CouldNotCheck, Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]


async def _require(conn: Connection) -> None:
    """Refuse where nobody writes down what backups there are (`CouldNotCheck`)."""
    if await value(conn, "SELECT to_regclass('backups') IS NULL"):
        raise CouldNotCheck("this database has no table of backups; see your own backup program")


@check(
    "backup-age",
    "backup",
    "Age of the newest backup that is not known to be bad",
    means="What was written since is lost if the disk is.",
    advice="`aegis backup create`, and look why the schedule did not.",
    limits=Limits(warning=26, critical=52),
    unit="hours",
)
async def backup_age(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how old it is; none at all is critical, one from the future is a wrong clock."""
    del ask
    await _require(conn)
    ((age, name),) = await rows(
        conn,
        """
        SELECT extract(epoch FROM clock_timestamp() - b.snapshot_at)::float8, b.name
        FROM (SELECT 1) AS one
        LEFT JOIN LATERAL (
            SELECT * FROM backups WHERE verdict <> 'failed' ORDER BY number DESC LIMIT 1
        ) b ON true
        """,
    )
    if age is None:
        return [Seen(observed="there is no backup", state="critical", fix="aegis backup create")]
    if age < -3_600:
        return [Seen(observed=f"{name} is from the future: a clock is wrong", state="warning")]
    fix = "aegis backup create"
    return [Seen(observed=f"{seconds(max(0, age))} ({name})", value=age / 3_600, fix=fix)]


@check(
    "backup-verdict",
    "backup",
    "Verdict on the newest backup",
    means="A backup that was not read back may be none.",
    advice="`aegis backup verify`; make another one if it fails.",
    fine="verified",
)
async def backup_verdict(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say whether it was verified; failed is critical, not verified is no good either."""
    del ask
    await _require(conn)
    found = await rows(
        conn, "SELECT name, verdict, problem FROM backups ORDER BY number DESC LIMIT 1"
    )
    if not found:
        raise CouldNotCheck("there is no backup")
    ((name, verdict, problem),) = found
    if verdict == "verified":
        return [Seen(observed=f"verified ({name})", state="ok")]
    text = f"{verdict.replace('_', ' ')}{f': {problem}' if problem else ''}"
    return [
        Seen(
            object=name,
            observed=text,
            state="critical" if verdict == "failed" else "warning",
            fix=f"aegis backup verify {name}",
        )
    ]


@check(
    "backup-proof",
    "backup",
    "Days since a backup was restored on trial",
    means="Only a restore proves a backup.",
    advice="`aegis backup verify --full`.",
    limits=Limits(warning=8),
    unit="days",
)
async def backup_proof(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say when a backup was last restored and compared."""
    del ask
    await _require(conn)
    age = await value(
        conn,
        """
        SELECT extract(epoch FROM clock_timestamp() - max(verified_at))::float8
        FROM backups
        WHERE verdict = 'verified'
          AND verified_level = 'full'
        """,
    )
    if age is None:
        return [Seen(observed="never", state="warning", fix="aegis backup verify --full")]
    return [Seen(observed=f"{seconds(max(0, age))} ago", value=age / 86_400)]


CHECKS = (backup_age, backup_verdict, backup_proof)
