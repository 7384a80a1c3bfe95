"""What an execution begins with: its version, its input checked and completed, its first node."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from aegis.errors import AegisError, Conflict, InvalidInput, LimitExceeded, NotFound
from aegis.workflows.models import FAIL, Edge, Graph, Node, Retry
from aegis.workflows.payload import encode
from aegis.workflows.store import executions
from aegis.workflows.store.writes import NewExecution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.workflows.models import JSON
    from aegis.workflows.store.executions import Version

__all__ = ["Asked", "get_version", "graph_of", "new_execution", "prepare"]

_GRAPHS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants started."""

    name: str
    version: int | None
    input: dict[str, JSON]
    namespace: str
    key: str | None
    priority: int
    deadline: datetime | None


async def prepare(conn: Connection, asked: Sequence[Asked]) -> list[NewExecution | AegisError]:
    """Return the execution of each, or why there is none; a version is looked up once."""
    versions: dict[tuple[str, int | None], Version | AegisError] = {}
    made: list[NewExecution | AegisError] = []
    for one in asked:
        wanted = one.name, one.version
        try:
            if wanted not in versions:
                versions[wanted] = await get_version(conn, *wanted)
            version = versions[wanted]
            if isinstance(version, AegisError):
                made.append(version)
                continue
            new = new_execution(
                version,
                one.input,
                namespace=one.namespace,
                key=one.key,
                priority=one.priority,
                deadline=one.deadline,
            )
        except (NotFound, Conflict) as error:
            versions[wanted] = error
            made.append(error)
        except (InvalidInput, LimitExceeded) as error:
            made.append(error)
        else:
            made.append(new)
    return made


async def get_version(conn: Connection, name: str, version: int | None) -> Version:
    """Return a version that may be started.

    Raises:
        NotFound: there is none.
        Conflict: it is archived.
    """
    found = await executions.find_version(conn, name=name, version=version)
    if found is None:
        which = f"version {version} of workflow" if version else "active version of workflow"
        raise NotFound(f"There is no {which} {name!r}; `aegis workflow list` names them.")
    if found.status != "active":
        raise Conflict(
            f"Version {found.version} of {name} is {found.status}; start an active one.",
            code="workflow_archived",
        )
    return found


def new_execution(
    version: Version,
    input: Mapping[str, JSON],
    *,
    namespace: str,
    id: str | None = None,
    key: str | None = None,
    priority: int = 0,
    deadline: datetime | None = None,
    parent_id: str | None = None,
) -> NewExecution:
    """Return an execution of a version, its input completed by the graph's defaults.

    Raises:
        InvalidInput: a required name is missing, or a value cannot be kept.
        LimitExceeded: the input is too large.
    """
    graph = _graph(version)
    values = {**graph.defaults, **input}
    missing = [name for name in graph.required if name not in values]
    if missing:
        raise InvalidInput(
            f"input of {graph.name} lacks {', '.join(missing)}; give a value for each.",
            code="input_missing",
        )
    encode(values, f"The input of {graph.name}")
    return NewExecution(
        id=id or str(uuid.uuid4()),
        workflow_id=version.workflow_id,
        version=version.version,
        namespace=namespace,
        context={"input": values, "nodes": {}},
        current_node=graph.start,
        idempotency_key=key,
        priority=priority,
        deadline_at=deadline,
        deadline_s=graph.deadline_s,
        parent_id=parent_id,
    )


_graphs: dict[tuple[str, int], Graph] = {}


def _graph(version: Version) -> Graph:
    """Return a version's graph, which never changes, read once."""
    key = version.workflow_id, version.version
    if key not in _graphs:
        if len(_graphs) >= _GRAPHS:
            _graphs.clear()
        _graphs[key] = graph_of(version.graph)
    return _graphs[key]


def graph_of(stored: Any) -> Graph:
    """Return the graph that a version holds; it was checked when it was saved."""
    nodes: dict[str, Any] = stored["nodes"]
    return Graph(
        name=stored.get("name", ""),
        start=stored["start"],
        nodes={name: _node(name, node) for name, node in nodes.items()},
        edges=[
            Edge(source=edge["from"], target=edge["to"], when=edge.get("when"))
            for edge in stored.get("edges", [])
        ],
        deadline_s=stored.get("deadline_s"),
        defaults=stored.get("defaults") or {},
        required=stored.get("required") or [],
        output=stored.get("output"),
    )


def _node(name: str, stored: Any) -> Node:
    given = cast("dict[str, Any]", stored)
    retry: dict[str, Any] = given.get("retry") or {}
    return Node(
        name=name,
        type=given["type"],
        params=given.get("params") or {},
        retry=Retry(**retry),
        timeout_s=given.get("timeout_s"),
        on_error=given.get("on_error", FAIL),
    )
