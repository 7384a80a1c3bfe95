"""Workflows as tests need them: types of nodes that note what they did, versions, a worker."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import NotFound
from aegis.worker.loop import Worker
from aegis.workflows.engine import Engine
from aegis.workflows.language import Cel
from aegis.workflows.service import Workflows
from aegis.workflows.work import WorkflowsKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from aegis.config import Settings
    from aegis.db import Database
    from aegis.workflows.execution import Execution
    from aegis.workflows.nodes.contract import NodeType, Runs, Step


@dataclass
class Doing:
    """A node type whose step is a function of the test."""

    name: str
    runs: Runs
    function: Callable[[Step], Awaitable[Any]]

    def check(self, params: Mapping[str, Any]) -> Sequence[Any]:
        return ()

    async def run(self, step: Step) -> Any:
        return await self.function(step)


@dataclass
class TestParts:
    """What steps of tests may use."""

    __test__ = False
    db: Database
    settings: Settings
    memory: Any = None
    research: Any = None
    intel: Any = None


@dataclass
class Bench:
    """A database with workflows, an engine, and what its steps did."""

    db: Database
    workflows: Workflows
    engine: Engine
    types: dict[str, NodeType]
    #: Steps that ran: (node, branch, visit key).
    ran: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        return Counter(self.ran)

    def does(self, name: str, function: Callable[[Step], Awaitable[Any]]) -> None:
        """Add a type of step."""

        async def noted(step: Step) -> Any:
            self.ran.append(f"{step.branch}/{step.node}" if step.branch else step.node)
            self.keys.append(step.idempotency_key)
            return await function(step)

        self.types[name] = Doing(name, "step", noted)

    def stores(self, name: str, function: Callable[[Step], Awaitable[Any]]) -> None:
        """Add a type of database step."""

        async def noted(step: Step) -> Any:
            self.ran.append(f"{step.branch}/{step.node}" if step.branch else step.node)
            return await function(step)

        self.types[name] = Doing(name, "database", noted)

    async def save(self, name: str, graph: dict[str, Any], version: int = 1) -> None:
        """Store a version of a workflow."""
        await save(self.db, name, graph, version)

    @asynccontextmanager
    async def worker(self, **options: Any) -> AsyncGenerator[Worker]:
        """Run a worker for the length of a block."""
        options = {"concurrency": 50, "lease_s": 10.0, "grace_s": 0.0, **options}
        worker = Worker(self.db, [WorkflowsKind(self.engine)], **options)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(task, 30)

    async def until(
        self, id: str, *, status: str | None = None, node: str | None = None, waits: bool = False
    ) -> Execution:
        """Return the execution once it has ended, or is in a status, at a node, or waits."""
        async with asyncio.timeout(60):
            async for change in self.workflows.watch(id):
                found = change.execution
                if waits and found.reason == "waiting" and (node in (None, found.current_node)):
                    return found
                if status == found.status or (not waits and node and found.current_node == node):
                    return found
        assert status is None
        assert node is None
        return (await self.workflows.execution(id)).execution

    async def run(self, name: str, input: dict[str, Any] | None = None, **more: Any) -> Execution:
        """Start an execution and return how it ended, a worker running it."""
        async with self.worker():
            started = await self.workflows.start(name, input, **more)
            return await self.until(started.id)


async def save(db: Database, name: str, graph: dict[str, Any], version: int = 1) -> None:
    """Store a version of a workflow as it is kept."""
    async with db.transaction() as conn:
        await conn.execute(
            """
            WITH w AS (
                INSERT INTO workflows (name, graph, version) VALUES (%(name)s, %(graph)s, %(v)s)
                ON CONFLICT (name) WHERE version IS NOT NULL
                    DO UPDATE SET graph = excluded.graph, version = excluded.version
                RETURNING id
            )
            INSERT INTO workflow_versions (workflow_id, version, graph)
            SELECT id, %(v)s, %(graph)s FROM w
            """,
            {"name": name, "graph": json.dumps({"name": name, **graph}), "v": version},
        )


def chain(*nodes: tuple[str, str] | tuple[str, str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a graph of nodes one after the other: (name, type, other fields)."""
    names = [node[0] for node in nodes]
    return {
        "start": names[0],
        "nodes": {n[0]: {"type": n[1], **(n[2] if len(n) > 2 else {})} for n in nodes},
        "edges": [{"from": a, "to": b} for a, b in itertools.pairwise(names)],
        **more,
    }


@pytest.fixture
def bench(db: Database, settings: Settings) -> Bench:
    """Workflows on a database of the test's own."""
    types: dict[str, NodeType] = {}

    def find(name: str) -> NodeType:
        if name not in types:
            raise NotFound(f"no type {name}")
        return types[name]

    engine = Engine(TestParts(db, settings), find, Cel(), hold_s=0.2)
    made = Bench(db, Workflows(db), engine, types)

    async def echo(step: Step) -> Any:
        return dict(step.params) or step.node

    made.does("echo", echo)
    return made
