"""Which backups may go; pure.

A clock that jumps makes everything look old, or the newest look oldest. So backups stand in the
order of their numbers, which no clock can turn round, and age is the sum of the steps between
them, each counted as no longer than twice the usual one. With backups every night that is their
age; after a jump of a month, or a month of none, it is two days more.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.ops.backup.models import Level, Verdict

__all__ = ["Candidate", "Choice", "ages", "choose"]

_LEAST_STEP = timedelta(days=2)
#: Of fewer steps than this nobody knows which is the usual one: the clock may have made them.
_STEPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A backup as retention sees it."""

    name: str
    number: int
    at: datetime
    verdict: Verdict
    level: Level | None
    hold: str | None = None
    #: Why it may not go yet, such as that it has no copy elsewhere; None where it may.
    needed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What becomes of one backup, and why."""

    name: str
    goes: bool
    #: Effective age, days.
    age_days: float
    reason: str


def choose(found: Sequence[Candidate], *, keep: timedelta, at_least: int) -> list[Choice]:
    """Return what becomes of each backup, newest first."""
    order = sorted(found, key=lambda c: c.number, reverse=True)
    old = ages(order)
    protected = _protected(order, at_least)
    choices: list[Choice] = []
    for candidate in order:
        age = old[candidate.name]
        reason = protected.get(candidate.name)
        if age <= keep:
            reason = "within the time that backups are kept"
        elif candidate.hold is not None:
            reason = f"held: {candidate.hold}"
        elif reason is None and candidate.needed is not None:
            reason = candidate.needed
        choices.append(
            Choice(
                name=candidate.name,
                goes=reason is None,
                age_days=round(age / timedelta(days=1), 2),
                reason=reason or f"older than {keep.days} days",
            )
        )
    return choices


def ages(order: Sequence[Candidate]) -> dict[str, timedelta]:
    """Return the effective age of each backup; `order` is newest first."""
    steps = [newer.at - older.at for newer, older in itertools.pairwise(order)]
    usual = [step.total_seconds() for step in steps if step > timedelta()]
    longest = _LEAST_STEP
    if len(usual) >= _STEPS:
        longest = max(longest, timedelta(seconds=2 * median(usual)))
    found: dict[str, timedelta] = {}
    age = timedelta()
    for candidate, step in zip(order, [timedelta(), *steps], strict=False):
        age += min(max(step, timedelta()), longest)
        found[candidate.name] = age
    return found


def _protected(order: Sequence[Candidate], at_least: int) -> dict[str, str]:
    """Return those that stay whatever their age, with the reason."""
    good = [c for c in order if c.verdict != "failed"]
    found = {c.name: f"one of the {at_least} that are always kept" for c in good[:at_least]}
    for candidate in (
        next((c for c in order if c.verdict == "verified"), None),
        next((c for c in order if c.level == "full"), None),
    ):
        if candidate is not None:
            found[candidate.name] = "the last verified one"
    if not good and order:
        # Nothing is known to be good: the newest is the best there is.
        found[order[0].name] = "the newest, and none is known to be good"
    return found
