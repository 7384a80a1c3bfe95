"""From a name to a node that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.errors import NotFound
from aegis.memory.graph.models import NodeRef
from aegis.memory.graph.nodes import EntityName, parse_node
from aegis.memory.store import graph_entities, graph_relations

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["resolve_node"]


async def resolve_node(
    conn: Connection, name: str, value: Any, *, namespace: str, make: bool = False
) -> NodeRef:
    """Return the node that `value` names; a merged entity is the one that stands for it.

    With `make`, an entity that is named and not there is made.

    Raises:
        InvalidInput: it names no node.
        NotFound: the namespace has no such node.
    """
    node = parse_node(name, value)
    if isinstance(node, EntityName):
        found = await _entity(conn, node, namespace=namespace, make=make)
        if found is None:
            raise NotFound(
                f"There is no {node.kind} {node.name!r} in the graph of namespace {namespace!r}."
            )
        return NodeRef(kind="entity", id=found)
    if node.kind == "entity":
        entity = await graph_entities.find_entity(conn, node.id, namespace=namespace)
        if entity is not None:
            return NodeRef(kind="entity", id=entity.id)
    elif await graph_relations.node_exists(conn, node, namespace=namespace, keep=make):
        return node
    raise NotFound(f"There is no {node.kind} {node.id} in namespace {namespace!r}.")


async def _entity(conn: Connection, node: EntityName, *, namespace: str, make: bool) -> int | None:
    found = await graph_entities.find_entity_id(
        conn, namespace=namespace, kind=node.kind, key=node.key
    )
    if found is None and make:
        made = await graph_entities.put_entities(
            conn,
            namespaces=[namespace],
            kinds=[node.kind],
            keys=[node.key],
            names=[node.name],
            seen_from=[None],
            seen_to=[None],
        )
        found = made[namespace, node.kind, node.key]
    return found
