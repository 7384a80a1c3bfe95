"""The graph of memory: `memory.graph`.

Reading is bounded by depth, width and rows, and says when a bound was reached. A node is named by
kind and id (`episode:12`, `fact:3`, `entity:5`; a number is an episode) or, if it is an entity, by
kind and name (`person:Alice`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.memory import validate
from aegis.memory.graph.drawing import DRAWINGS, draw
from aegis.memory.graph.models import DIRECTIONS, ENTITY_KINDS, ENTITY_ORDERS
from aegis.memory.graph.names import MAX_NAME
from aegis.memory.graph.nodes import check_types, relation_type
from aegis.memory.graph.resolving import resolve_node
from aegis.memory.graph.searching import Search, find_neighbours, find_path
from aegis.memory.llm import open_language_model
from aegis.memory.store import graph_entities, graph_merging, graph_queue
from aegis.memory.store import graph_relations as relations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from aegis.db import Database
    from aegis.memory.graph.drawing import Drawing
    from aegis.memory.graph.models import (
        Built,
        Direction,
        Entity,
        EntityKind,
        EntityOrder,
        Merge,
        Neighbourhood,
        Path,
        Relation,
    )

__all__ = ["Graph"]

MAX_DEPTH = 5
MAX_PATH = 10
MAX_WIDTH = 500
MAX_NODES = 2_000
MAX_PAGE = 1_000


class Graph:
    """The graph of one client; `namespace` is where a call that names none goes."""

    def __init__(self, db: Database, *, namespace: str) -> None:
        self._db = db
        self.namespace = namespace

    async def neighbours(
        self,
        node: Any,
        *,
        depth: int = 1,
        width: int = 50,
        limit: int = 200,
        types: Sequence[str] = (),
        direction: Direction = "both",
        as_of: datetime | None = None,
        namespace: str | None = None,
    ) -> Neighbourhood:
        """Return what is at most `depth` relations away from a node, the nearest first.

        From each node the `width` strongest and newest relations are followed; at most `limit`
        nodes come back. `types` are those to follow, all if empty. `as_of` asks what held on a
        day; otherwise what has not ended by now.

        Raises:
            InvalidInput: a value is out of range.
            NotFound: the namespace has no such node.
        """
        validate.check_limit("depth", depth, most=MAX_DEPTH)
        validate.check_limit("limit", limit, most=MAX_NODES)
        validate.check_choice("direction", direction, DIRECTIONS)
        search = self._search(namespace, types, as_of, width)
        async with self._db.transaction() as conn:
            start = await resolve_node(conn, "node", node, namespace=search.namespace)
            return await find_neighbours(
                conn, start, search, depth=depth, limit=limit, direction=direction
            )

    async def path(
        self,
        source: Any,
        target: Any,
        *,
        max_depth: int = 6,
        width: int = 200,
        types: Sequence[str] = (),
        as_of: datetime | None = None,
        namespace: str | None = None,
    ) -> Path:
        """Return a shortest way of at most `max_depth` relations, in whichever direction they go.

        Raises:
            InvalidInput: a value is out of range.
            NotFound: the namespace has no such node.
        """
        validate.check_limit("max_depth", max_depth, most=MAX_PATH)
        search = self._search(namespace, types, as_of, width)
        async with self._db.transaction() as conn:
            start = await resolve_node(conn, "source", source, namespace=search.namespace)
            end = await resolve_node(conn, "target", target, namespace=search.namespace)
            return await find_path(conn, start, end, search, max_depth=max_depth)

    async def relate(
        self,
        source: Any,
        target: Any,
        type: str = "related",
        *,
        weight: float = 1.0,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        namespace: str | None = None,
    ) -> Relation:
        """Write a relation from one node to another and return it; written twice, it is one.

        An entity that is named and not there yet is made. Between episodes it appears in
        `related_memories` while it has no end.

        Raises:
            InvalidInput: a value cannot be accepted, or both nodes are one.
            NotFound: the namespace has no such node.
        """
        kind = relation_type(type)
        _check_weight(weight)
        for name, at in (("valid_from", valid_from), ("valid_to", valid_to)):
            if at is not None:
                validate.check_time(name, at)
        if valid_from and valid_to and valid_from > valid_to:
            raise InvalidInput(
                f"valid_to is {valid_to.isoformat()}, before valid_from; a relation ends after it "
                "begins."
            )
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            start = await resolve_node(conn, "source", source, namespace=place, make=True)
            end = await resolve_node(conn, "target", target, namespace=place, make=True)
            if start == end:
                raise InvalidInput(f"source and target are both {start}; relate two nodes.")
            return await relations.put_relation(
                conn,
                start,
                end,
                namespace=place,
                type=kind,
                weight=weight,
                valid_from=valid_from,
                valid_to=valid_to,
            )

    async def unrelate(
        self,
        source: Any,
        target: Any,
        type: str | None = None,
        *,
        at: datetime | None = None,
        namespace: str | None = None,
    ) -> Sequence[Relation]:
        """End the relations from one node to another, at a time or now, and return them.

        Raises:
            InvalidInput: a value cannot be accepted.
            NotFound: there is no such node, or no such relation without an end.
        """
        kind = None if type is None else relation_type(type)
        if at is not None:
            validate.check_time("at", at)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            start = await resolve_node(conn, "source", source, namespace=place)
            end = await resolve_node(conn, "target", target, namespace=place)
            ended = await relations.end_relations(
                conn, start, end, namespace=place, type=kind, at=at
            )
            if not ended:
                what = "relation" if kind is None else f"relation {kind!r}"
                raise NotFound(f"There is no {what} without an end from {start} to {end}.")
        return ended

    async def entities(
        self,
        *,
        of: Any = None,
        kind: EntityKind | None = None,
        name: str | None = None,
        order: EntityOrder = "degree",
        limit: int = 50,
        offset: int = 0,
        namespace: str | None = None,
    ) -> list[Entity]:
        """Return entities, the most connected first; `of` are those of one memory, fact or entity.

        `name` is a part of the name. With `of`, `name`, `order` and `offset` do not count.

        Raises:
            InvalidInput: a value is out of range.
            NotFound: the namespace has no such node.
        """
        validate.check_limit("limit", limit, most=MAX_PAGE)
        validate.check_choice("order", order, ENTITY_ORDERS)
        if kind is not None:
            validate.check_choice("kind", kind, ENTITY_KINDS)
        if name is not None:
            validate.check_text("name", name, most=MAX_NAME)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            if of is not None:
                node = await resolve_node(conn, "of", of, namespace=place)
                return await graph_entities.list_entities_of(
                    conn, node.number, namespace=place, kind=kind, limit=limit
                )
            return await graph_entities.list_entities(
                conn,
                namespace=place,
                kind=kind,
                name=name,
                order=order,
                limit=limit,
                offset=offset,
            )

    async def merge_entities(
        self, kept: Any, merged: Any, *, namespace: str | None = None
    ) -> Merge:
        """Make two entities one: `kept` stands for both, in what is written later as well.

        `undo_merge` takes it back.

        Raises:
            InvalidInput: one of them is no entity, or both are one.
            NotFound: the namespace has no such entity.
        """
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            nodes = [
                await resolve_node(conn, name, value, namespace=place)
                for name, value in (("kept", kept), ("merged", merged))
            ]
            for name, node in zip(("kept", "merged"), nodes, strict=True):
                if node.kind != "entity":
                    raise InvalidInput(f"{name} is {node}; only entities are merged.")
            if nodes[0] == nodes[1]:
                raise InvalidInput(f"kept and merged are both {nodes[0]}; merge two entities.")
            await graph_entities.lock_entities(conn, [node.id for node in nodes])
            for node in nodes:
                # Somebody may have been faster.
                now = await graph_entities.find_entity(conn, node.id, namespace=place)
                if now is None or now.id != node.id:
                    raise Conflict(f"{node} was merged or deleted meanwhile. Try again.")
            return await graph_merging.merge(conn, nodes[0].id, nodes[1].id, namespace=place)

    async def undo_merge(self, merge_id: int, *, namespace: str | None = None) -> Merge:
        """Take a merge back and return it.

        Raises:
            NotFound: there is no such merge.
            Conflict: it is undone already, or one of the two was merged again since.
        """
        validate.check_limit("merge_id", merge_id, most=2**63 - 1)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            done = await graph_merging.find_merge(conn, merge_id, namespace=place)
            if done is None:
                raise NotFound(f"There is no merge {merge_id} in namespace {place!r}.")
            if done.undone_at is not None:
                raise Conflict(f"Merge {merge_id} is undone already.", code="undone")
            await graph_entities.lock_entities(conn, [done.kept, done.merged])
            if not await graph_merging.undo_merge(conn, done):
                raise Conflict(
                    f"Merge {merge_id} has later ones of the same entities; undo those first.",
                    code="undo_out_of_order",
                )
            after = await graph_merging.find_merge(conn, merge_id, namespace=place)
        # Gone with its entities, where nothing spoke of them any more.
        return done if after is None else after

    async def merges(self, *, limit: int = 50, namespace: str | None = None) -> Sequence[Merge]:
        """Return merges, the last one first."""
        validate.check_limit("limit", limit, most=MAX_PAGE)
        place = validate.namespace_of(namespace, self.namespace)
        async with self._db.transaction() as conn:
            return await graph_merging.list_merges(conn, namespace=place, limit=limit)

    async def draw(
        self,
        node: Any,
        *,
        format: Drawing = "mermaid",
        depth: int = 2,
        width: int = 20,
        limit: int = 60,
        types: Sequence[str] = (),
        as_of: datetime | None = None,
        namespace: str | None = None,
    ) -> str:
        """Return a node's neighbourhood as Mermaid or GraphML; see `neighbours`."""
        validate.check_choice("format", format, DRAWINGS)
        found = await self.neighbours(
            node,
            depth=depth,
            width=width,
            limit=limit,
            types=types,
            as_of=as_of,
            namespace=namespace,
        )
        return draw(found, format)

    async def build(
        self,
        *,
        again: bool = False,
        limit: int | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Built:
        """Read what is new or changed, of every namespace, for entities; return what came of it.

        By rules, and by the language model where the settings name one. `again` reads all of the
        client's namespace. Stopped and begun again, it goes on where it was.

        Raises:
            Unavailable: the database or the model does not answer; what was read so far stays.
        """
        from aegis.memory.graph.building import build, link_all

        if limit is not None:
            validate.check_limit("limit", limit, most=2**31 - 1)
        if again:
            async with self._db.transaction() as conn:
                await graph_queue.note_all(conn, namespace=self.namespace)
        model = open_language_model(self._db.settings)
        related = await link_all(self._db) if limit is None else 0
        try:
            done = await build(self._db, model, limit=limit, on_progress=on_progress)
        finally:
            if model is not None:
                await model.aclose()
        return replace(done, related=done.related + related)

    async def waiting(self) -> Mapping[str, int]:
        """Return how many texts wait for the rules and for the model, of every namespace."""
        async with self._db.transaction() as conn:
            return {
                stage: await graph_queue.count_waiting(conn, stage=stage)
                for stage in ("rules", "model")
            }

    def _search(
        self, namespace: str | None, types: Sequence[str], as_of: datetime | None, width: int
    ) -> Search:
        validate.check_limit("width", width, most=MAX_WIDTH)
        if as_of is not None:
            validate.check_time("as_of", as_of)
        return Search(
            namespace=validate.namespace_of(namespace, self.namespace),
            types=check_types(types),
            as_of=as_of,
            width=width,
        )


def _check_weight(weight: Any) -> None:
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0.0 <= cast("float", weight) <= 1.0:
        raise InvalidInput(f"weight is {weight!r}; it must be a number from 0 to 1.")
