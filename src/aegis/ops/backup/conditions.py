"""What about backups is an alarm; pure. Each condition has a stable id and says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.ops.backup.models import Drill, Entry

__all__ = ["Condition", "conditions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing looked at."""

    #: Stable, such as `backup.age`.
    id: str
    state: Literal["ok", "warning", "critical", "unknown"]
    observed: str
    threshold: str
    #: What to do; empty where all is well.
    action: str


def conditions(
    entries: Sequence[Entry], drills: Sequence[Drill], settings: Settings, now: datetime
) -> list[Condition]:
    """Return every condition; `entries` are newest first."""
    return [
        _age(entries, settings, now),
        _verdict(entries),
        _count(entries, settings),
        _proof(entries, now),
        _copies(entries, settings, now),
        _drill(drills, settings, now),
    ]


def _age(entries: Sequence[Entry], settings: Settings, now: datetime) -> Condition:
    limit = settings.backup_max_age_hours
    newest = next((e.manifest for e in entries if e.verdict == "verified" and e.manifest), None)
    act = "Run `aegis backup create`, and see why the schedule did not."
    if newest is None:
        return _of("backup.age", "critical", "no verified backup", f"{limit:g} h", act)
    hours = (now - newest.snapshot_at) / timedelta(hours=1)
    state = "ok" if hours <= limit else "critical" if hours > 2 * limit else "warning"
    if hours < -1:
        # It was made in the future: this clock is wrong, or that one was.
        state, act = "warning", "Set the clock; the newest backup is from the future."
    return _of("backup.age", state, f"{hours:.1f} h", f"{limit:g} h", act)


def _verdict(entries: Sequence[Entry]) -> Condition:
    if not entries:
        return _of("backup.verdict", "unknown", "no backup", "verified", "Make one.")
    newest = entries[0]
    state = {"verified": "ok", "failed": "critical", "not_verified": "warning"}[newest.verdict]
    looks = [look for look in (newest.state.full, newest.state.fast) if look is not None]
    problem = newest.damage or next((look.problem for look in looks if look.problem), None)
    return _of(
        "backup.verdict",
        state,
        newest.verdict + (f" ({problem})" if problem else ""),
        "verified",
        f"Run `aegis backup verify {newest.name}`; make another if it fails.",
    )


def _count(entries: Sequence[Entry], settings: Settings) -> Condition:
    good = sum(1 for e in entries if e.verdict != "failed")
    least = settings.backup_keep_at_least
    bad = len(entries) - good
    state = "critical" if good == 0 else "warning" if bad or good < min(2, least) else "ok"
    return _of(
        "backup.count",
        state,
        f"{good} good, {bad} failed",
        f"{min(2, least)} good, 0 failed",
        "See `aegis backup list`.",
    )


def _proof(entries: Sequence[Entry], now: datetime) -> Condition:
    """The last time that a backup was really restored."""
    times = [e.state.full.at for e in entries if e.level == "full" and e.state.full]
    act = "Run `aegis backup verify --full`."
    if not times:
        return _of("backup.proof", "warning", "never restored", "8 days", act)
    days = (now - max(times)) / timedelta(days=1)
    return _of("backup.proof", "ok" if days <= 8 else "warning", f"{days:.1f} days", "8 days", act)


def _copies(entries: Sequence[Entry], settings: Settings, now: datetime) -> Condition:
    limit = settings.backup_max_age_hours
    if settings.backup_destination is None:
        return _of(
            "backup.copies", "warning", "no destination", "a copy elsewhere",
            "Set AEGIS_BACKUP_DESTINATION: a disk that is lost takes its backups along.",
        )  # fmt: skip
    times = [e.manifest.snapshot_at for e in entries if e.manifest and e.state.copies]
    act = "Run `aegis backup push`, and see what it says."
    if not times:
        return _of("backup.copies", "critical", "no copy elsewhere", f"{limit:g} h", act)
    hours = (now - max(times)) / timedelta(hours=1)
    state = "ok" if hours <= limit else "critical" if hours > 2 * limit else "warning"
    return _of("backup.copies", state, f"{hours:.1f} h", f"{limit:g} h", act)


def _drill(drills: Sequence[Drill], settings: Settings, now: datetime) -> Condition:
    act = "Run `aegis backup drill`."
    if not drills:
        return _of("backup.drill", "warning", "no drill yet", "35 days", act)
    last = drills[-1]
    minutes, limit = last.rto_s / 60, settings.backup_max_rto_minutes
    days = (now - last.started_at) / timedelta(days=1)
    observed = (
        f"{last.verdict}, recovered in {minutes:.1f} min, {last.rpo_s / 3600:.1f} h of work lost, "
        f"{days:.0f} days ago"
    )
    state = "ok"
    if last.verdict == "failed":
        state = "critical"
    elif last.verdict != "verified" or minutes > limit or days > 35:
        state = "warning"
    return _of("backup.drill", state, observed, f"{limit:g} min, 35 days", act)


def _of(id: str, state: str, observed: str, threshold: str, action: str) -> Condition:
    known: Literal["ok", "warning", "critical", "unknown"] = "unknown"
    if state in ("ok", "warning", "critical"):
        known = state
    return Condition(
        id=id,
        state=known,
        observed=observed,
        threshold=threshold,
        action="" if known == "ok" else action,
    )
