"""The checks of backups without a database: what `aegis backup status` and its faces show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aegis.ops.health.backup_facts import facts_of_folder
from aegis.ops.health.checks.backups import CHECKS, JUDGES
from aegis.ops.health.judging import could_not, judge
from aegis.ops.health.models import Ask, CouldNotCheck
from aegis.ops.health.thresholds import limits_of, muted_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.ops.backup.service import Backups
    from aegis.ops.health.backup_facts import Facts
    from aegis.ops.health.models import Result

__all__ = ["check_backups", "judge_backups"]


async def check_backups(backups: Backups) -> Sequence[Result]:
    """Return what the checks of backups say of the folder, with doctor's thresholds and mutes.

    Raises:
        ConfigError: AEGIS_HEALTH_THRESHOLDS or AEGIS_HEALTH_MUTE is wrong.
        OpsError: the folder cannot be read.
    """
    facts = facts_of_folder(await backups.list(), await backups.drills())
    return judge_backups(facts, backups.settings, datetime.now(UTC))


def judge_backups(facts: Facts, settings: Settings, now: datetime) -> Sequence[Result]:
    """Return what each check says of facts; those that are off or muted are left out."""
    from aegis.ops.health.checks import CATALOG

    limits = limits_of(settings.health_thresholds, CATALOG)
    muted = muted_keys(settings.health_mute, CATALOG)
    results: list[Result] = []
    for one in CHECKS:
        mine = limits[one.id]
        if mine is None or one.id in muted:
            continue
        try:
            seen = JUDGES[one.id](facts, Ask(settings=settings, limits=mine, now=now))
        except CouldNotCheck as error:
            results.append(could_not(one, mine, str(error)))
        else:
            results.append(judge(one, mine, seen, muted=muted))
    return results
