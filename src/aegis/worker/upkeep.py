"""Functions of ours that keep the database in shape; each says in its result what it did.

Every one is safe to run twice and at the same time as itself: a worker may die in the middle.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import AegisError
from aegis.worker.store import jobs
from aegis.worker.store.schedules import now as server_time

if TYPE_CHECKING:
    from aegis.worker.functions import Client

__all__ = [
    "consolidate",
    "forget_jobs",
    "keep_metrics",
    "keep_usage",
    "prune_research",
    "prune_workflows",
    "sweep_memory",
    "tell_stripe",
]

_log = logging.getLogger("aegis.worker")

_JOBS_AT_ONCE: Final = 5_000
#: Finished jobs are kept so long, in days: what went wrong is looked at later.
_COMPLETED_DAYS: Final = 7
_FAILED_DAYS: Final = 30


async def sweep_memory(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Take away what has expired, in every namespace."""
    swept = await client.memory.retention.sweep(everywhere=True)
    items = await client.memory.items.sweep()
    return {"deleted": swept.deleted, "archived": swept.archived, "items": items}


async def keep_usage(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Make months of usage ahead and let old ones go."""
    done = await client.usage.partitions.keep_house()
    return {
        "made": len(done.made),
        "dropped": [str(month) for month in done.dropped],
        "forgotten_ids": done.forgotten_ids,
    }


async def keep_metrics(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Roll metrics up, make days ahead and drop what is old."""
    kept = await client.metrics.keep()
    return {
        "minutes": kept.minutes,
        "created": list(kept.created),
        "dropped": list(kept.dropped),
    }


async def digest_changes(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    """Put the changes of the last `days` into Markdown, which is the job's result."""
    days = float(arguments.get("days", 7.0))
    return {"markdown": await client.intel.digest(days=days)}


async def prune_workflows(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Remove the steps of executions that ended long ago, and those that ended longer ago."""
    settings = client.settings
    pruned = await client.workflows.prune(keep_days=settings.workflows_keep_days)
    days = settings.workflows_keep_executions_days
    gone = await client.workflows.forget(keep_days=days) if days else 0
    return {"executions": pruned, "forgotten": gone}


async def prune_research(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Remove research jobs that ended long ago; nothing where they are kept for ever."""
    days = client.settings.research_keep_days
    return {"jobs": await client.research.prune(keep_days=days) if days else 0}


async def tell_stripe(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Send what Stripe does not know yet.

    Raises:
        ConfigError: this worker has no key of Stripe's.
    """
    done = await client.billing.stripe.sync()
    told: dict[str, Any] = {"sent": done.sent, "failed": done.failed, "waiting": done.waiting}
    return told if done.unreachable is None else {**told, "unreachable": done.unreachable}


async def consolidate(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    """Consolidate every namespace that has new episodes, or the one that `namespace` names.

    What fails in one is logged, and tried again the next time; the others have their turn.
    """
    given = arguments.get("namespace")
    names = [given] if given else await client.memory.consolidation.namespaces()
    proposed, failed = 0, 0
    for name in names:
        try:
            done = await client.memory.consolidation.run(namespace=name)
        except AegisError as error:
            failed += 1
            told = {"namespace": name, "code": error.code, "why": error.message}
            _log.warning("worker.consolidation_failed", extra=told)
            continue
        proposed += len(done.proposed)
    return {"namespaces": len(names), "proposals": proposed, "failed": failed}


async def forget_jobs(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    """Forget finished jobs: completed ones after `completed_days`, others after `failed_days`."""
    completed = timedelta(days=float(arguments.get("completed_days", _COMPLETED_DAYS)))
    failed = timedelta(days=float(arguments.get("failed_days", _FAILED_DAYS)))
    forgotten = 0
    while True:
        async with client.db.transaction() as conn:
            at = await server_time(conn)
            count = await jobs.delete_finished(
                conn,
                completed_before=at - completed,
                failed_before=at - failed,
                limit=_JOBS_AT_ONCE,
            )
        forgotten += count
        if count < _JOBS_AT_ONCE:
            return {"forgotten": forgotten}
