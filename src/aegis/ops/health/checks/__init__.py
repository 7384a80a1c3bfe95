"""All checks, by what they look at; `CATALOG` is their order in reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.health.checks import (
    access,
    activity,
    audit,
    backups,
    bills,
    bloat,
    columns,
    configuration,
    figures,
    hooks,
    indexes,
    integrity,
    pooling,
    replication,
    upkeep,
    vacuum,
)

if TYPE_CHECKING:
    from aegis.ops.health.models import Check

__all__ = ["CATALOG"]

CATALOG: tuple[Check, ...] = (
    *activity.CHECKS,
    *figures.CHECKS,
    *indexes.CHECKS,
    *bloat.CHECKS,
    *vacuum.CHECKS,
    *integrity.CHECKS,
    *replication.CHECKS,
    *backups.CHECKS,
    *upkeep.CHECKS,
    *bills.CHECKS,
    *configuration.CHECKS,
    *pooling.CHECKS,
    *access.CHECKS,
    *audit.CHECKS,
    *columns.CHECKS,
    *hooks.CHECKS,
)
