"""The functions that jobs call, by name; third parties add theirs through entry points.

A function is a coroutine that takes the client and the job's arguments, and returns what is kept
as the job's result, a JSON value or None. It runs at least once: a worker that dies is replaced
by another, which begins it again. To name its calls elsewhere, it has `current_job`.

An entry point of the group `aegis.functions` has the function's name and leads to the coroutine.
"""

from __future__ import annotations

import importlib
import inspect
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aegis.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis.alerts.service import Alerts
    from aegis.billing import Billing
    from aegis.config import Settings
    from aegis.db import Database
    from aegis.db.lease import Claim
    from aegis.intel.service import Intel
    from aegis.keys import Keys
    from aegis.memory import Memory
    from aegis.metrics.service import Metrics
    from aegis.ops.backup.service import Backups
    from aegis.ops.health import Health
    from aegis.ops.maintenance import Maintenance
    from aegis.ops.stats import Stats
    from aegis.research.service import Research
    from aegis.security.audit.service import AuditLog
    from aegis.sessions.service import Sessions
    from aegis.usage import Usage
    from aegis.workflows.service import Workflows

__all__ = ["BUILTIN", "GROUP", "Builtin", "Client", "Function", "Functions", "current_job"]

#: The job that runs: its id and token tell one attempt from another.
current_job: ContextVar[Claim] = ContextVar("current_job")

#: Group of entry points.
GROUP: Final = "aegis.functions"


@dataclass(frozen=True, slots=True)
class Builtin:
    """A function of ours: where it is, and the schedule that it has from the start."""

    #: Imported when it is called first.
    place: str
    #: Cron, in UTC; None for no schedule.
    at: str | None = None
    #: Of a run of the schedule.
    attempts: int = 1


#: Ours; one line makes a function and its schedule.
BUILTIN: Final[dict[str, Builtin]] = {
    # When the settings say, as are those of backups; see `defaults`.
    "backup.create": Builtin("aegis.worker.operations:create_backup"),
    "backup.drill": Builtin("aegis.worker.operations:drill_backup"),
    "backup.verify_weekly": Builtin("aegis.worker.operations:verify_backup"),
    # Where a key of Stripe's is set.
    "billing.stripe": Builtin("aegis.worker.upkeep:tell_stripe"),
    "health.check": Builtin("aegis.worker.operations:check_health", "*/5 * * * *"),
    "intel.digest": Builtin("aegis.worker.upkeep:digest_changes", "0 7 * * 1"),
    "jobs.forget": Builtin("aegis.worker.upkeep:forget_jobs", "40 * * * *"),
    # It works in its window alone.
    "maintenance.run": Builtin("aegis.worker.operations:run_maintenance", "*/30 * * * *"),
    # At the hour that the settings say.
    "memory.consolidate": Builtin("aegis.worker.upkeep:consolidate"),
    "memory.sweep": Builtin("aegis.worker.upkeep:sweep_memory", "* * * * *"),
    "metrics.keep": Builtin("aegis.worker.upkeep:keep_metrics", "*/30 * * * * *"),
    "research.prune": Builtin("aegis.worker.upkeep:prune_research", "50 4 * * *"),
    "security.verify_audit": Builtin("aegis.worker.operations:verify_audit", "20 3 * * *"),
    "stats.snapshot": Builtin("aegis.worker.operations:take_snapshot", "7 * * * *"),
    "usage.keep": Builtin("aegis.worker.upkeep:keep_usage", "10 * * * *"),
    "workflows.prune": Builtin("aegis.worker.upkeep:prune_workflows", "25 * * * *"),
}


class Client(Protocol):
    """What functions are given: the parts of `aegis.client.Aegis`, which stands above this."""

    @property
    def db(self) -> Database: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def memory(self) -> Memory: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def billing(self) -> Billing: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def workflows(self) -> Workflows: ...
    @property
    def research(self) -> Research: ...
    @property
    def intel(self) -> Intel: ...
    @property
    def backups(self) -> Backups: ...
    @property
    def alerts(self) -> Alerts: ...
    @property
    def audit_log(self) -> AuditLog: ...
    @property
    def health(self) -> Health: ...
    @property
    def stats(self) -> Stats: ...
    @property
    def maintenance(self) -> Maintenance: ...


if TYPE_CHECKING:
    Function = Callable[[Any, dict[str, Any]], Awaitable[Any]]


class Functions:
    """The functions that one client knows: ours, those of entry points, and what was added."""

    def __init__(self) -> None:
        self._added: dict[str, Function] = {}
        self._places: dict[str, Any] | None = None

    def add(self, name: str, function: Function) -> None:
        """Add a function, or replace the one of this name.

        Raises:
            InvalidInput: it is no coroutine function: one that blocks would stop the worker.
        """
        if not inspect.iscoroutinefunction(function):
            raise InvalidInput(f"{name} is no coroutine function; define it with `async def`.")
        self._added[name] = function

    def names(self) -> list[str]:
        """Return the names of all functions, sorted."""
        return sorted({*BUILTIN, *self._entry_points(), *self._added})

    def check(self, name: str) -> None:
        """Refuse a name that no function has (`InvalidInput`)."""
        if name not in self.names():
            raise InvalidInput(
                f"function is {name[:200]!r}, which is not registered; use one of "
                f"{', '.join(self.names())}.",
                code="function_unknown",
            )

    def get(self, name: str) -> Function:
        """Return a function by name, imported if need be (`NotFound`)."""
        found = self._added.get(name)
        if found is None:
            found = self._load(name)
            self.add(name, found)
        return found

    def _load(self, name: str) -> Function:
        if name in BUILTIN:
            module, _, attribute = BUILTIN[name].place.partition(":")
            return cast("Function", getattr(importlib.import_module(module), attribute))
        if name in self._entry_points():
            return cast("Function", self._entry_points()[name].load())
        raise NotFound(f"There is no function {name[:200]!r} here.", code="function_unknown")

    def _entry_points(self) -> dict[str, Any]:
        if self._places is None:
            from importlib.metadata import entry_points

            self._places = {point.name: point for point in entry_points(group=GROUP)}
        return self._places
