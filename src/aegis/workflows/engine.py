"""What the executions that one process runs share: graphs, group commit, ears, places at the pool.

No clock of this machine decides what is due: the database's does. Times that steps are recorded
with, and pauses between tries, are of this machine.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import LimitExceeded, NotFound
from aegis.workflows import starting
from aegis.workflows.batches import Batches
from aegis.workflows.listening import Listener
from aegis.workflows.store import executions, writes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aegis.db import Connection
    from aegis.workflows.advance import Child
    from aegis.workflows.models import Graph
    from aegis.workflows.nodes.contract import NodeType, Parts
    from aegis.workflows.outcomes import Language
    from aegis.workflows.store.claims import Held
    from aegis.workflows.store.writes import NewExecution, Write, Written

__all__ = ["Engine"]

#: Executions above one another.
_MOST_DEPTH: Final = 16
_GRAPHS: Final = 500


class Engine:
    """Runs executions of one database in one process."""

    def __init__(
        self,
        parts: Parts,
        types: Callable[[str], NodeType],
        language: Language,
        *,
        step_timeout_s: float = 600.0,
        most_steps: int = 10_000,
        hold_s: float = 1.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """`types` finds a node type by name; `extra` is handed to each step.

        `hold_s`: shorter waits keep the worker; longer ones let go of it.
        """
        self.parts = parts
        self.db = parts.db
        self.types = types
        self.language = language
        self.step_timeout_s = step_timeout_s
        self.most_steps = most_steps
        self.hold_s = hold_s
        self.extra: dict[str, Any] = dict(extra or {})
        self.rng = random.Random()  # noqa: S311
        self.told = Listener(self.db, "aegis_workflow_told")
        self._batches: Batches[Write, Written | None] = Batches(self.db, self._write)
        self._graphs: dict[tuple[str, int], Graph] = {}
        # Database steps hold a connection until their record is committed; writing, listening and
        # claiming need some, too.
        self.connections = asyncio.Semaphore(max(1, self.db.settings.pool_max_size - 5))

    def now(self) -> datetime:
        """Return the time by this machine's clock."""
        return datetime.now(UTC)

    async def graph(self, workflow_id: str, version: int) -> Graph:
        """Return a version's graph, which never changes (`NotFound`)."""
        found = self._graphs.get((workflow_id, version))
        if found is None:
            async with self.db.transaction() as conn:
                stored = await executions.read_graph(conn, workflow_id=workflow_id, version=version)
            if stored is None:
                raise NotFound(f"Version {version} of workflow {workflow_id} is not there.")
            found = starting.graph_of(stored)
            if len(self._graphs) >= _GRAPHS:
                self._graphs.clear()
            self._graphs[workflow_id, version] = found
        return found

    async def write(self, given: Write) -> Written | None:
        """Commit a write, together with those of other executions; None: the token is an old one.

        Raises:
            Unavailable: the database stayed away; whether it was committed is not known.
        """
        return await self._batches.put(given)

    async def child(self, held: Held, child: Child) -> NewExecution:
        """Return the execution that a node starts.

        Raises:
            AegisError: there is no such workflow, or its input is wrong, or it is too deep.
        """
        async with self.db.transaction() as conn:
            version = await starting.get_version(conn, child.workflow, child.version)
            depth = await executions.count_ancestors(conn, held.id, most=_MOST_DEPTH)
        if depth + 1 >= _MOST_DEPTH:
            raise LimitExceeded(
                f"{child.workflow} would be the {_MOST_DEPTH}th workflow within another; "
                "does one start itself?",
                code="too_deep",
            )
        return starting.new_execution(
            version,
            child.input,
            id=child.id,
            namespace=held.namespace,
            priority=held.priority,
            deadline=held.deadline_at,
            parent_id=held.id,
        )

    async def _write(self, conn: Connection, given: Sequence[Write]) -> Sequence[Written | None]:
        children = [child for one in given for child in one.children]
        ended = [one.id for one in given if one.ends and one.parent_id is not None]
        failed = [one.id for one in given if one.status == "failed"]
        if not (children or ended or failed):
            found = {one.id: one for one in await writes.write(conn, given)}
            return [found.get(one.id) for one in given]
        async with conn.transaction():
            found = {one.id: one for one in await writes.write(conn, given)}
            new = [c for c in children if c.parent_id in found]
            if new:
                await writes.insert_executions(conn, new)
            if told := [id for id in ended if id in found]:
                await writes.tell_parents(conn, told)
            if lost := [id for id in failed if id in found]:
                await executions.cancel(
                    conn, lost, error="What it was part of failed.", children_only=True
                )
        return [found.get(one.id) for one in given]
