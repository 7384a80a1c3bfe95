"""Health as one object: all checks, or those that were asked for."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aegis.errors import InvalidInput
from aegis.ops.health.checks import CATALOG
from aegis.ops.health.running import nothing_answers, run_checks
from aegis.ops.health.thresholds import limits_of, muted_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.errors import AegisError
    from aegis.ops.health.models import Check, Report

__all__ = ["Health", "chosen", "report_of_silence"]


class Health:
    """Checks of one database."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._alone = asyncio.Lock()
        self._last: tuple[float, Report] | None = None

    async def check(self, *, only: Sequence[str] | None = None) -> Report:
        """Run all checks, or those whose id or group is in `only`, and return what they found.

        Raises:
            InvalidInput: `only` names no check and no group.
            ConfigError: AEGIS_HEALTH_THRESHOLDS or AEGIS_HEALTH_MUTE is wrong.
        """
        return await run_checks(
            self._db,
            chosen(only),
            settings=self._settings,
            limits=limits_of(self._settings.health_thresholds, CATALOG),
            muted=muted_keys(self._settings.health_mute, CATALOG),
            now=datetime.now(UTC),
        )

    async def recent(self, *, max_age_s: float = 30.0) -> Report:
        """Return all checks as they came out within `max_age_s`; whoever asks meanwhile waits.

        This is for scrapers and dashboards: however many ask, the database is asked once.
        """
        async with self._alone:
            if self._last is not None and time.monotonic() - self._last[0] < max_age_s:
                return self._last[1]
            report = await self.check()
            self._last = (time.monotonic(), report)
            return report


def chosen(only: Sequence[str] | None) -> Sequence[Check]:
    """Return the checks that `only` names, by id or group; all for None (`InvalidInput`)."""
    if not only:
        return CATALOG
    names = {name.strip() for part in only for name in part.split(",") if name.strip()}
    unknown = sorted(names - {c.id for c in CATALOG} - {c.group for c in CATALOG})
    if unknown:
        groups = ", ".join(dict.fromkeys(c.group for c in CATALOG))
        raise InvalidInput(
            f"{unknown[0]!r} is no check; use an id as `aegis doctor` lists them, or a group: "
            f"{groups}."
        )
    return [c for c in CATALOG if c.id in names or c.group in names]


def report_of_silence(
    error: AegisError, settings: Settings, *, only: Sequence[str] | None = None
) -> Report:
    """Return the report where the database cannot be reached at all, for the reason `error`."""
    return nothing_answers(
        error,
        chosen(only),
        limits=limits_of(settings.health_thresholds, CATALOG),
        now=datetime.now(UTC),
    )
