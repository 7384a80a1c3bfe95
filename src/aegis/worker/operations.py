"""What schedules do for the database itself; each hands over to `aegis.ops`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.ops import scheduled
from aegis.ops.backup.schedule import monthly_drill, nightly, weekly_proof

if TYPE_CHECKING:
    from aegis.worker.functions import Client

__all__ = [
    "check_health",
    "create_backup",
    "drill_backup",
    "run_maintenance",
    "take_snapshot",
    "verify_audit",
    "verify_backup",
]


async def create_backup(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Make a backup, read it back, copy it, prune what is too old (`OpsError`)."""
    return {"said": await nightly(client.backups)}


async def verify_backup(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Restore the newest backup into a throw-away server and compare (`OpsError`)."""
    return {"said": await weekly_proof(client.backups)}


async def drill_backup(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Time a full recovery (`OpsError`)."""
    return {"said": await monthly_drill(client.backups)}


async def check_health(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Run all checks and hand them to alerts."""
    return await scheduled.check_health(client)


async def take_snapshot(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Store the counters as they are."""
    return await scheduled.take_snapshot(client)


async def verify_audit(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Verify the audit log, the new rows or all of it, and write its head down outside.

    What is wrong is no failure of the job: the check `audit-chain` tells the operator.
    """
    found = await client.audit_log.keep()
    return {
        "state": found.state,
        "rows": found.rows,
        "complete": found.complete,
        "findings": [finding.text for finding in found.findings[:5]],
    }


async def run_maintenance(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Do what the database needs, in its window."""
    return await scheduled.run_maintenance(client)
