"""Everything that a worker of Aegis runs: one line a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aegis.alerts.work import Deliveries
from aegis.worker.jobs import JobsKind
from aegis.worker.schedules import SchedulesKind
from aegis.workflows import running as workflows

if TYPE_CHECKING:
    from aegis.db.lease import Kind
    from aegis.worker.functions import Client, Functions
    from aegis.workflows.nodes.contract import Parts

__all__ = ["kinds_of"]


def kinds_of(client: Client, functions: Functions) -> list[Kind]:
    """Return the kinds of work that there are in a database."""
    return [
        SchedulesKind(client.db),
        JobsKind(client.db, client, functions),
        workflows.kind_of(cast("Parts", client)),
        client.research.work(),
        client.intel.work(),
        Deliveries(client.db, client.alerts.channels),
    ]
