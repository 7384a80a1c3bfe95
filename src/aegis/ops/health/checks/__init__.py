"""All checks, by what they look at; `CATALOG` is their order in reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.health.checks import activity, indexes

if TYPE_CHECKING:
    from aegis.ops.health.models import Check

__all__ = ["CATALOG"]

CATALOG: tuple[Check, ...] = (
    *activity.CHECKS,
    *indexes.CHECKS,
)
