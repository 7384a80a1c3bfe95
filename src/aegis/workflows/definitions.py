"""Definitions of workflows: saved as versions, compared, exported, archived, deleted.

Saving what is there already changes nothing, so that a deployment may save on every start. A
version never changes; executions stay with theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.security.audit.recording import audited, note
from aegis.workflows.checking import check_graph
from aegis.workflows.models import Definition
from aegis.workflows.nodes.registry import find_type
from aegis.workflows.reading import graph_of, json_of, refuse, to_yaml, yaml_of
from aegis.workflows.store import definitions as store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.db import Database
    from aegis.workflows.models import DefinitionStatus, Graph
    from aegis.workflows.store.definitions import Row

__all__ = [
    "delete",
    "diff",
    "export",
    "get",
    "list_definitions",
    "read",
    "save",
    "set_status",
    "versions",
]


def read(given: str | Mapping[str, Any] | Graph, *, name: str | None = None) -> Graph:
    """Return the graph that YAML text or an object says, checked.

    Raises:
        InvalidWorkflow: it cannot be; `problems` names nodes and fields.
        InvalidInput: the text is no YAML.
    """
    from aegis.workflows.models import Graph

    if isinstance(given, Graph):
        graph = given
    else:
        value = yaml_of(given) if isinstance(given, str) else dict(given)
        graph = graph_of(value, name=name)
    refuse(graph.name, check_graph(graph, find_type))
    return graph


async def save(
    db: Database, given: str | Mapping[str, Any] | Graph, *, name: str | None = None
) -> tuple[Definition, bool]:
    """Save a new version, unless the newest says the same; return it, and whether it is new.

    An archived workflow that is saved again is active again.

    Raises:
        InvalidWorkflow: it cannot be; nothing was saved.
    """
    graph = read(given, name=name)
    said = json_of(graph)
    async with audited(db) as conn:
        workflow_id = await store.lock_workflow(conn, graph.name)
        newest = await store.find_version(conn, graph.name, None)
        if newest is not None and newest.status == "active" and _same(newest.graph, said):
            return _definition(newest), False
        version = 1 if newest is None else newest.version + 1
        await store.insert_version(conn, workflow_id, version, said)
        stored = await store.find_version(conn, graph.name, version)
        note(conn, "workflows.save", "workflow", graph.name, version=version)
    assert stored is not None
    return _definition(stored), True


async def get(db: Database, name: str, version: int | None = None) -> Definition:
    """Return a version, or the newest (`NotFound`)."""
    async with db.transaction() as conn:
        return _definition(await _get(conn, name, version))


async def list_definitions(
    db: Database, *, after: str | None = None, limit: int = 100, archived: bool = False
) -> list[Definition]:
    """Return the newest version of each workflow by name; `after` is the last name seen."""
    if not 1 <= limit <= 1_000:
        raise InvalidInput(f"limit is {limit}; it is 1 to 1,000.")
    async with db.transaction() as conn:
        rows = await store.list_newest(conn, after=after, limit=limit, archived=archived)
    return [_definition(row) for row in rows]


async def versions(db: Database, name: str) -> list[Definition]:
    """Return every version of a workflow, the newest first (`NotFound`)."""
    async with db.transaction() as conn:
        rows = await store.list_versions(conn, name)
    if not rows:
        raise _missing(name, None)
    return [_definition(row) for row in rows]


async def export(db: Database, name: str, version: int | None = None) -> str:
    """Return a version as YAML, which saves as the same (`NotFound`)."""
    return to_yaml((await get(db, name, version)).graph)


async def diff(db: Database, name: str, old: int, new: int | None = None) -> str:
    """Return the unified diff of two versions' YAML, empty where they say the same (`NotFound`)."""
    import difflib

    before, after = await get(db, name, old), await get(db, name, new)
    lines = difflib.unified_diff(
        to_yaml(before.graph).splitlines(),
        to_yaml(after.graph).splitlines(),
        f"{name} version {before.version}",
        f"{name} version {after.version}",
        lineterm="",
    )
    return "\n".join(lines)


async def set_status(
    db: Database, name: str, status: DefinitionStatus, version: int | None = None
) -> None:
    """Archive a version, or all of a workflow, or make them active again (`NotFound`).

    Executions that run go on.
    """
    async with audited(db) as conn:
        if not await store.set_status(conn, name, version, status):
            raise _missing(name, version)
        note(conn, "workflows.status", "workflow", name, status=status, version=version)


async def delete(db: Database, name: str) -> None:
    """Delete a workflow that was never started.

    Raises:
        NotFound: there is none.
        Conflict: there are executions of it, which would lose their graph.
    """
    async with audited(db) as conn:
        row = await _get(conn, name, None)
        await store.lock_workflow(conn, name)
        if await store.count_executions(conn, row.id):
            raise Conflict(
                f"There are executions of {name}; archive it instead.", code="workflow_used"
            )
        await store.delete_workflow(conn, row.id)
        note(conn, "workflows.delete", "workflow", name, versions=row.version)


async def _get(conn: Any, name: str, version: int | None) -> Row:
    found = await store.find_version(conn, name, version)
    if found is None:
        raise _missing(name, version)
    return found


def _definition(row: Row) -> Definition:
    status: Any = row.status
    return Definition(
        id=row.id,
        name=row.name,
        version=row.version,
        graph=graph_of(row.graph, name=row.name),
        status=status,
        created_at=row.created_at,
    )


def _same(stored: Any, said: Mapping[str, Any]) -> bool:
    """Compare graphs: keys have no order, edges have."""
    return stored == said


def _missing(name: str, version: int | None) -> NotFound:
    which = f"version {version} of workflow" if version else "workflow"
    return NotFound(f"There is no {which} {name!r}; `aegis workflow list` names them.")
