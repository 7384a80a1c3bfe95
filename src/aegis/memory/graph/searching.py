"""What lies around a node, and the way between two.

A way is looked for from both ends at once, each half as far: where every node has fifty others,
three steps from either end are 125,000 each at most, six from one would be billions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis.errors import Conflict
from aegis.memory.graph.models import Neighbourhood, NodeRef, Path
from aegis.memory.graph.routes import by_depth, meeting
from aegis.memory.store import graph_walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.graph.models import Direction, Relation

__all__ = ["Search", "find_neighbours", "find_path"]

#: Relations of a neighbourhood that are shown.
_MAX_SHOWN = 5_000
#: Steps of one search; each costs some microseconds.
_MAX_STEPS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which relations to follow, and how many from one node."""

    namespace: str
    types: Sequence[str]
    as_of: datetime | None
    width: int


async def find_neighbours(
    conn: Connection,
    start: NodeRef,
    search: Search,
    *,
    depth: int,
    limit: int,
    direction: Direction,
) -> Neighbourhood:
    """Return the nodes around one and what is between them."""
    depths, cut = await graph_walk.walk(
        conn,
        start,
        namespace=search.namespace,
        depth=depth,
        width=search.width,
        steps=_MAX_STEPS,
        types=search.types,
        direction=direction,
        as_of=search.as_of,
    )
    chosen = {NodeRef.of(n): d for n, d in list(depths.items())[:limit]}
    nodes = await graph_walk.list_nodes(conn, chosen, namespace=search.namespace)
    shown = await graph_walk.list_between(
        conn,
        list(chosen),
        namespace=search.namespace,
        types=search.types,
        as_of=search.as_of,
        limit=_MAX_SHOWN,
    )
    return Neighbourhood(
        nodes=[replace(n, depth=chosen[NodeRef(kind=n.kind, id=n.id)]) for n in nodes],
        relations=shown,
        truncated=cut or len(depths) > limit or len(shown) == _MAX_SHOWN,
    )


async def find_path(
    conn: Connection, start: NodeRef, end: NodeRef, search: Search, *, max_depth: int
) -> Path:
    """Return a shortest way; a short one is found in little, so it is looked for first."""
    cut = False
    # Two steps, four, …; an odd bound is the last.
    for reach in [*range(2, max_depth, 2), max_depth]:
        ahead, cut_ahead = await _walk(conn, start, search, depth=(reach + 1) // 2)
        back, cut_back = await _walk(conn, end, search, depth=reach // 2)
        cut = cut_ahead or cut_back
        middle = meeting(ahead, back)
        if middle is not None:
            return await _way(conn, middle, ahead, back, search, cut=cut)
    return Path(nodes=(), relations=(), truncated=cut)


async def _walk(
    conn: Connection, start: NodeRef, search: Search, *, depth: int
) -> tuple[dict[int, int], bool]:
    return await graph_walk.walk(
        conn,
        start,
        namespace=search.namespace,
        depth=depth,
        width=search.width,
        steps=_MAX_STEPS,
        types=search.types,
        as_of=search.as_of,
    )


async def _way(
    conn: Connection,
    middle: int,
    ahead: Mapping[int, int],
    back: Mapping[int, int],
    search: Search,
    *,
    cut: bool,
) -> Path:
    first = await _trace(conn, middle, ahead, search)
    second = await _trace(conn, middle, back, search)
    way = [*reversed([n for n, _ in first]), NodeRef.of(middle), *(n for n, _ in second)]
    order = {node: position for position, node in enumerate(way)}
    nodes = await graph_walk.list_nodes(conn, order, namespace=search.namespace)
    return Path(
        nodes=[replace(node, depth=position) for position, node in enumerate(nodes)],
        relations=[*reversed([r for _, r in first]), *(r for _, r in second)],
        truncated=cut,
    )


async def _trace(
    conn: Connection, node: int, depths: Mapping[int, int], search: Search
) -> Sequence[tuple[NodeRef, Relation]]:
    """Return the steps back to where a walk began: each node and the relation that leads on."""
    layers = by_depth(depths)
    steps: list[tuple[NodeRef, Relation]] = []
    at = NodeRef.of(node)
    for depth in range(depths[node] - 1, -1, -1):
        relation = await graph_walk.find_step(
            conn,
            at,
            layers[depth],
            namespace=search.namespace,
            types=search.types,
            as_of=search.as_of,
        )
        if relation is None:
            raise Conflict("The graph changed during the search. Try again.")
        source = NodeRef(kind=relation.source_kind, id=relation.source_id)
        target = NodeRef(kind=relation.target_kind, id=relation.target_id)
        at = target if at == source else source
        steps.append((at, relation))
    return steps
