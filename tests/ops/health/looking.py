"""How tests ask one check."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.ops.health import Health

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database
    from aegis.ops.health import Result


async def look(
    db: Database, settings: Settings, check: str, thresholds: str | None = None, **more: object
) -> Result:
    """Return what one check comes to, with other thresholds or settings if given."""
    chosen = replace(settings, health_thresholds=thresholds, **more)  # pyright: ignore[reportArgumentType]
    (result,) = (await Health(db, chosen).check(only=[check])).results
    return result


def objects(result: Result) -> list[str]:
    """Return what the findings are of."""
    return [finding.object for finding in result.findings]
