"""What a scheduler calls: plain functions that take the client and return what they did.

Each may be called by several processes at once: one does the work. A time that is no good (the
window is closed, another process is at it) is an outcome, not an error.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from aegis.errors import Conflict
from aegis.ops.health.conditions import SOURCE, conditions_of

if TYPE_CHECKING:
    from aegis.alerts.service import Alerts
    from aegis.ops.health import Health
    from aegis.ops.maintenance import Maintenance
    from aegis.ops.stats import Stats

__all__ = ["check_health", "run_maintenance", "take_snapshot"]


class Client(Protocol):
    """What these functions need of an open client: its attributes of these names."""

    @property
    def health(self) -> Health: ...
    @property
    def stats(self) -> Stats: ...
    @property
    def maintenance(self) -> Maintenance: ...
    @property
    def alerts(self) -> Alerts: ...


async def check_health(client: Client) -> dict[str, Any]:
    """Run all checks and hand them to alerts; return the counts of states."""
    report = await client.health.check()
    observed = await client.alerts.observe(SOURCE, conditions_of(report), complete=True)
    counts = {s: getattr(report, s) for s in ("ok", "unknown", "warning", "critical")}
    return {"state": report.state, **counts, "alerts": asdict(observed)}


async def take_snapshot(client: Client) -> dict[str, Any]:
    """Store the counters as they are."""
    try:
        taken = await client.stats.snapshot()
    except Conflict as busy:
        return {"skipped": busy.code}
    return {
        "relations": taken.relations,
        "statements": taken.statements,
        "dropped": taken.dropped,
    }


async def run_maintenance(client: Client) -> dict[str, Any]:
    """Do what the database needs, if AEGIS_MAINTENANCE_WINDOW is open."""
    try:
        outcome = await client.maintenance.run()
    except Conflict as busy:
        return {"skipped": busy.code}
    return {
        "done": outcome.done,
        "failed": outcome.failed,
        "deferred": outcome.deferred,
        "left": outcome.left,
    }
