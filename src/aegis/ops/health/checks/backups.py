"""Backups, their copies and their proofs; drills and their figures.

Each judges facts and is pure: `aegis backup status` has the same ones judge what is in the folder,
without a database (`aegis.ops.health.of_backups`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from aegis.ops.health.backup_facts import facts_of_database
from aegis.ops.health.looking import check, seconds
from aegis.ops.health.models import CouldNotCheck, Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.ops.health.backup_facts import Facts, Known
    from aegis.ops.health.models import Ask, Check, State

__all__ = ["CHECKS", "JUDGES", "Judge"]

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


class Judge(Protocol):
    """What is seen of backups, from what is known of them."""

    def __call__(self, facts: Facts, ask: Ask, /) -> Sequence[Seen]:
        """Return what there is (`CouldNotCheck`)."""
        ...


#: What judges facts, by the id of its check.
JUDGES: Final[dict[str, Judge]] = {}


def _of_backups(
    id: str,
    title: str,
    *,
    means: str,
    advice: str,
    limits: Limits | None = None,
    unit: str = "",
    below: bool = False,
    fine: str = "none",
) -> Callable[[Judge], Check]:
    """Make a check of the function that judges."""

    def make(judge: Judge) -> Check:
        async def run(conn: Connection, ask: Ask) -> Sequence[Seen]:
            return judge(await facts_of_database(conn, ask), ask)

        run.__doc__ = judge.__doc__
        JUDGES[id] = judge
        return check(
            id,
            "backup",
            title,
            means=means,
            advice=advice,
            limits=limits,
            unit=unit,
            below=below,
            fine=fine,
        )(run)

    return make


@_of_backups(
    "backup-age",
    "Age of the newest backup that was verified",
    means="What was written since is lost if the disk is.",
    advice="`aegis backup create`, and look why the schedule did not.",
    limits=Limits(warning=26, critical=52),
    unit="hours",
)
def backup_age(facts: Facts, ask: Ask) -> Sequence[Seen]:
    """Say how old it is; none at all is critical, one from the future is a wrong clock."""
    fix = "aegis backup create"
    newest = next((b for b in facts.backups if b.verdict == "verified" and b.snapshot_at), None)
    if newest is None or newest.snapshot_at is None:
        text = "no backup is verified" if facts.backups else "there is no backup"
        return [Seen(observed=text, state="critical", fix=fix)]
    return [_since(newest, newest.snapshot_at, ask, fix)]


@_of_backups(
    "backup-verdict",
    "Verdict on the newest backup",
    means="A backup that was not read back may be none.",
    advice="`aegis backup verify`; make another one if it fails.",
    fine="verified",
)
def backup_verdict(facts: Facts, ask: Ask) -> Sequence[Seen]:
    """Say whether it was verified; failed is critical, not verified is no good either."""
    del ask
    if not facts.backups:
        raise CouldNotCheck("there is no backup")
    newest = facts.backups[0]
    if newest.verdict == "verified":
        return [Seen(observed=f"verified ({newest.name})", state="ok")]
    return [_bad(newest, "critical" if newest.verdict == "failed" else "warning")]


@_of_backups(
    "backup-count",
    "Backups that did not fail",
    means="One backup is one mishap away from none; one that failed is none.",
    advice="`aegis backup list`; retention keeps AEGIS_BACKUP_KEEP_AT_LEAST.",
    limits=Limits(warning=2, critical=1),
    unit="backups",
    below=True,
)
def backup_count(facts: Facts, ask: Ask) -> Sequence[Seen]:
    """Count them, and name those that failed."""
    del ask
    failed = [b for b in facts.backups if b.verdict == "failed"]
    good = len(facts.backups) - len(failed)
    seen = Seen(observed=f"{good} of {len(facts.backups)}", value=good, fix="aegis backup create")
    return [seen, *(_bad(one, "warning") for one in failed)]


@_of_backups(
    "backup-proof",
    "Days since a backup was restored on trial",
    means="Only a restore proves a backup.",
    advice="`aegis backup verify --full`.",
    limits=Limits(warning=8),
    unit="days",
)
def backup_proof(facts: Facts, ask: Ask) -> Sequence[Seen]:
    """Say when a backup was last restored and compared."""
    fix = "aegis backup verify --full"
    times = [b.proven_at for b in facts.backups if b.proven_at]
    if not times:
        return [Seen(observed="never", state="warning", fix=fix)]
    return [Seen(observed=_ago(max(times), ask), value=(ask.now - max(times)) / _DAY, fix=fix)]


@_of_backups(
    "backup-copies",
    "Age of the newest backup that is elsewhere, too",
    means="A disk that is lost, or a machine that is taken over, takes its backups along.",
    advice="Set AEGIS_BACKUP_DESTINATION; `aegis backup push` says what is in the way.",
    limits=Limits(warning=26, critical=52),
    unit="hours",
)
def backup_copies(facts: Facts, ask: Ask) -> Sequence[Seen]:
    """Say how old the newest one is of which there is a copy that was read back."""
    fix = "aegis backup push"
    newest = next((b for b in facts.backups if b.copied and b.snapshot_at), None)
    if newest is not None and newest.snapshot_at is not None:
        return [_since(newest, newest.snapshot_at, ask, fix)]
    if ask.settings.backup_destination is None:
        return [Seen(observed="no destination is set", state="warning")]
    return [Seen(observed="there is no copy elsewhere", state="critical", fix=fix)]


@_of_backups(
    "backup-drill",
    "Days since a recovery was timed",
    means="How long a recovery takes, and whether it works, is known from doing it.",
    advice="`aegis backup drill`; `aegis backup drills` shows how earlier ones ended.",
    limits=Limits(warning=35),
    unit="days",
)
def backup_drill(facts: Facts, ask: Ask) -> Sequence[Seen]:
    """Say how the last one ended, and when that was; one that failed is critical."""
    fix, last = "aegis backup drill", facts.drill
    if last is None:
        return [Seen(observed="there was no drill yet", state="warning", fix=fix)]
    when = f"{_ago(last.started_at, ask)} ({last.backup})"
    if last.verdict == "verified":
        return [Seen(observed=when, value=(ask.now - last.started_at) / _DAY, fix=fix)]
    state: State = "critical" if last.verdict == "failed" else "warning"
    text = f"{last.verdict.replace('_', ' ')} {when}: {last.detail}"
    return [Seen(observed=text, state=state, fix=fix)]


@_of_backups(
    "backup-recovery",
    "How long the last drill took",
    means="So long there is no database after the disk is lost.",
    advice="Restore with more processes (AEGIS_BACKUP_JOBS, format `directory`), or keep less.",
    limits=Limits(warning=60),
    unit="minutes",
)
def backup_recovery(facts: Facts, ask: Ask) -> Sequence[Seen]:
    """Say how long it took, and how much work would have been lost."""
    del ask
    last = facts.drill
    if last is None:
        raise CouldNotCheck("there was no drill yet")
    lost = seconds(max(0.0, last.rpo_s))
    return [Seen(observed=f"{seconds(last.rto_s)}, {lost} of work lost", value=last.rto_s / 60)]


def _since(newest: Known, at: datetime, ask: Ask, fix: str) -> Seen:
    hours = (ask.now - at) / _HOUR
    if hours < -1:
        # It was made in the future: this clock is wrong, or that one was.
        return Seen(observed=f"{newest.name} is from the future: a clock is wrong", state="warning")
    age = seconds(max(0.0, hours * 3_600))
    return Seen(observed=f"{age} ({newest.name})", value=hours, fix=fix)


def _bad(one: Known, state: State) -> Seen:
    text = one.verdict.replace("_", " ") + (f": {one.problem}" if one.problem else "")
    fix = f"aegis backup verify {one.name}"
    return Seen(object=one.name, observed=text, state=state, fix=fix)


def _ago(at: datetime, ask: Ask) -> str:
    return f"{seconds(max(0.0, (ask.now - at).total_seconds()))} ago"


CHECKS = (
    backup_age,
    backup_verdict,
    backup_count,
    backup_proof,
    backup_copies,
    backup_drill,
    backup_recovery,
)
