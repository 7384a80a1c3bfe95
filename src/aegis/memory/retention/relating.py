"""Bringing relations back with the memories of an archive.

A relation stands in the archive of whichever of its ends went first. If the other end was not there
when that one came back, the relation comes back with the other end: it is looked up in the archives
of whatever has been restored.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from aegis.errors import InvalidInput
from aegis.memory.retention import archive_file
from aegis.memory.store import archives as store
from aegis.memory.store import graph_sides

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aegis.db import Connection
    from aegis.memory.retention.archive import Archive

__all__ = ["graph_of", "relate_again"]

_GRAPH = ("graph_entities", "graph_merges", "graph_relations")


def graph_of(side: str) -> str | None:
    """Return what the side of a row says of the graph, as JSON; None where it says nothing."""
    told: dict[str, Any] = json.loads(side)
    graph = {name: told[name] for name in _GRAPH if name in told}
    return json.dumps(graph) if graph else None


async def relate_again(
    conn: Connection, archive: Archive, restored: Collection[int], graphs: Sequence[str]
) -> int:
    """Put back the relations of what was restored; return how many of them lead nowhere yet."""
    left = await graph_sides.put_relations(conn, graphs)
    for other in await store.list_partners(conn, archive):
        found = await anyio.to_thread.run_sync(_touching, other, archive.kind, set(restored))
        await graph_sides.put_relations(conn, found)
    return len(left)


def _touching(archive: Archive, kind: str, ids: set[int]) -> list[str]:
    """Return what an archive says of relations with these rows; of one that is gone, nothing."""
    columns = [f"{side}_{kind}" for side in ("from", "to", "said_in")]
    found: list[str] = []
    with suppress(InvalidInput):
        for side in archive_file.read_sides(Path(archive.path)):
            told: dict[str, Any] = json.loads(side)
            relations = [
                relation
                for relation in told.get("graph_relations", ())
                if any(relation[column] in ids for column in columns)
            ]
            if relations:
                entities = told.get("graph_entities", [])
                found.append(json.dumps({"graph_relations": relations, "graph_entities": entities}))
    return found
