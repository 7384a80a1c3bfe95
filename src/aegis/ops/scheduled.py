"""What a scheduler calls: plain functions that take the client and return what they did.

Each may be called by several processes at once: one does the work. A time that is no good (the
window is closed, another process is at it) is an outcome, not an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from aegis.errors import Conflict
from aegis.ops.health.conditions import SOURCE, conditions_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aegis.alerts.service import Alerts
    from aegis.ops.health import Health
    from aegis.ops.maintenance import Maintenance
    from aegis.ops.stats import Stats

__all__ = ["SCHEDULE", "check_health", "run_maintenance", "take_snapshot"]


class Client(Protocol):
    """What these functions need of an open client: its attributes of these names."""

    health: Any
    stats: Any
    maintenance: Any
    alerts: Any


async def check_health(client: Client) -> dict[str, Any]:
    """Run all checks and hand them to alerts; return the counts of states."""
    health: Health = client.health
    alerts: Alerts = client.alerts
    report = await health.check()
    observed = await alerts.observe(SOURCE, conditions_of(report), complete=True)
    counts = {s: getattr(report, s) for s in ("ok", "unknown", "warning", "critical")}
    return {"state": report.state, **counts, "alerts": observed}


async def take_snapshot(client: Client) -> dict[str, Any]:
    """Store the counters as they are."""
    stats: Stats = client.stats
    try:
        taken = await stats.snapshot()
    except Conflict as busy:
        return {"skipped": busy.code}
    return {
        "relations": taken.relations,
        "statements": taken.statements,
        "dropped": taken.dropped,
    }


async def run_maintenance(client: Client) -> dict[str, Any]:
    """Do what the database needs, if AEGIS_MAINTENANCE_WINDOW is open."""
    maintenance: Maintenance = client.maintenance
    try:
        outcome = await maintenance.run()
    except Conflict as busy:
        return {"skipped": busy.code}
    return {
        "done": outcome.done,
        "failed": outcome.failed,
        "deferred": outcome.deferred,
        "left": outcome.left,
    }


#: Name, cron line in UTC, function. Maintenance looks often, and works in its window alone.
SCHEDULE: Final[Mapping[str, tuple[str, Callable[[Client], Awaitable[dict[str, Any]]]]]] = {
    "health.check": ("*/5 * * * *", check_health),
    "stats.snapshot": ("7 * * * *", take_snapshot),
    "maintenance.run": ("*/30 * * * *", run_maintenance),
}
