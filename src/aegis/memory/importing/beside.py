"""What an export has beside memories: relations by hand, merges of entities, items of stores.

Items come in as they are read. Relations and merges wait for the end: what they lead between may
come later in the file, and entities are there once the texts that name them have been read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.memory import validate
from aegis.memory.graph.models import ENTITY_KINDS, NodeRef
from aegis.memory.graph.nodes import entity_name, relation_type
from aegis.memory.graph.resolving import resolve_node
from aegis.memory.importing.fields import describe, members, read_time
from aegis.memory.items.check import check_operation, verbatim_of
from aegis.memory.items.models import PutItem
from aegis.memory.store import beside_transfer as store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aegis.db import Connection
    from aegis.memory.graph.nodes import EntityName
    from aegis.memory.service import Memory

__all__ = ["KINDS", "Beside", "BesideRun", "read_beside"]

BesideKind = Literal["item", "relation", "merge"]
KINDS: tuple[BesideKind, ...] = ("item", "relation", "merge")
_MEMORIES = ("episode", "fact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One row, checked."""

    kind: BesideKind
    fields: Mapping[str, Any]


class BesideRun:
    """What an import has done with such rows so far."""

    def __init__(self, memory: Memory, namespace: str) -> None:
        self._memory = memory
        self._namespace = namespace
        self._since = datetime.now(UTC)
        self._waiting: list[Beside] = []

    async def record(self, rows: list[Beside]) -> tuple[int, int]:
        """Write the items among the rows, keep the rest; return how many were new, and not."""
        items = [row for row in rows if row.kind == "item"]
        self._waiting += [row for row in rows if row.kind != "item"]
        new = 0
        async with self._memory.database.transaction() as conn:
            # One order for everybody, so that two imports of one file do not wait in a circle.
            for row in sorted(items, key=lambda row: (row.fields["path"], row.fields["key"])):
                new += await store.insert_item(
                    conn,
                    row.fields,
                    namespace=self._namespace,
                    verbatim=verbatim_of(row.fields["value"]),
                )
        return new, len(items) - new

    async def finish(
        self, episode: Callable[[int], int | None], fact: Callable[[int], int | None]
    ) -> tuple[int, int, int]:
        """Write relations and merges; return how many were new, there, and led nowhere."""
        counts = {"new": 0, "there": 0, "nowhere": 0}
        for row in self._waiting:
            if row.kind == "merge":
                counts[await self._merge(row.fields)] += 1
        find = {"episode": episode, "fact": fact}
        for row in self._waiting:
            if row.kind == "relation":
                counts[await self._relate(row.fields, find)] += 1
        return counts["new"], counts["there"], counts["nowhere"]

    async def _merge(self, fields: Mapping[str, Any]) -> str:
        kept, merged = fields["kept"], fields["merged"]
        async with self._memory.database.transaction() as conn:
            pair = [(kept.kind, kept.key), (merged.kind, merged.key)]
            if await store.merge_known(conn, pair, self._namespace):
                return "there"
            # Nothing may speak of them any more by these names, or not yet.
            for name, entity in fields.items():
                await resolve_node(conn, name, entity, namespace=self._namespace, make=True)
        try:
            await self._memory.graph.merge_entities(kept, merged, namespace=self._namespace)
        except Conflict:
            # Somebody merged one of them just now.
            return "nowhere"
        return "new"

    async def _relate(
        self, fields: Mapping[str, Any], find: Mapping[str, Callable[[int], int | None]]
    ) -> str:
        async with self._memory.database.transaction() as conn:
            ends: list[NodeRef] = []
            for name in ("start", "end"):
                node = await self._node(conn, name, fields[name], find)
                if node is None:
                    return "nowhere"
                ends.append(node)
            if ends[0] == ends[1]:
                return "nowhere"
            new = await store.insert_relation(
                conn, fields, *ends, namespace=self._namespace, since=self._since
            )
        return "new" if new else "there"

    async def _node(
        self,
        conn: Connection,
        name: str,
        end: EntityName | NodeRef,
        find: Mapping[str, Callable[[int], int | None]],
    ) -> NodeRef | None:
        if isinstance(end, NodeRef):
            new = find[end.kind](end.id)
            if new is None:
                return None
            end = NodeRef(kind=end.kind, id=new)
        try:
            return await resolve_node(conn, name, end, namespace=self._namespace, make=True)
        except NotFound:
            # It has expired.
            return None


def read_beside(line: dict[str, Any]) -> Beside:
    """Return a row that can be written, or say what is wrong with it (`InvalidInput`)."""
    kind: BesideKind = line["kind"]
    read = {"item": _item, "relation": _relation, "merge": _merge_of}[kind]
    return Beside(kind=kind, fields=read(line))


def _item(line: dict[str, Any]) -> dict[str, Any]:
    path, value, ttl = line.get("path"), line.get("value"), line.get("ttl_minutes")
    if not isinstance(value, dict):
        raise InvalidInput(f"value is {describe(value)}; it must be a JSON object")
    expires_at = read_time(line, "expires_at")
    if (ttl is None) != (expires_at is None):
        raise InvalidInput("ttl_minutes and expires_at go together; give both, or neither")
    check_operation(
        PutItem(
            path=cast("tuple[str, ...]", path),
            key=cast("str", line.get("key")),
            value=cast("dict[str, Any]", value),
            ttl_minutes=ttl,
        )
    )
    created_at = read_time(line, "created_at") or datetime.now(UTC)
    return {
        "path": path,
        "key": line["key"],
        "value": value,
        "created_at": created_at,
        "updated_at": read_time(line, "updated_at") or created_at,
        "ttl_minutes": ttl,
        "expires_at": expires_at,
        "found_by": [_found_by(entry) for entry in members(line.get("found_by"))],
    }


def _found_by(entry: dict[str, Any]) -> dict[str, Any]:
    vector, waiting = entry.get("vector"), entry.get("waiting")
    for name in ("field", "model"):
        validate.check_key(f"found_by.{name}", entry.get(name))
    if (vector is None) == (waiting is None):
        raise InvalidInput("found_by has a vector or a text that waits, one of the two")
    if waiting is not None:
        validate.check_text("found_by.waiting", waiting, most=validate.MAX_SUMMARY)
    else:
        _check_vector(vector)
    return {
        "field": entry["field"],
        "model": entry["model"],
        "vector": vector,
        "waiting": waiting,
    }


def _check_vector(text: Any) -> None:
    """Accept a vector in pgvector's text form, which is JSON's."""
    try:
        numbers: Any = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        numbers = None
    if not isinstance(numbers, list):
        raise InvalidInput(f"found_by.vector is {describe(text)}; write it as [0.1,0.2]")
    validate.check_vector("found_by.vector", cast("list[float]", numbers))


def _relation(line: dict[str, Any]) -> dict[str, Any]:
    weight = line.get("weight", 1.0)
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 <= weight <= 1:
        raise InvalidInput(f"weight is {weight!r:.60}; it must be a number from 0 to 1")
    valid_from, valid_to = read_time(line, "valid_from"), read_time(line, "valid_to")
    if valid_from and valid_to and valid_from > valid_to:
        raise InvalidInput("valid_to is before valid_from; a relation ends after it begins")
    return {
        "type": relation_type(line.get("type")),
        "start": _end("start", line.get("start")),
        "end": _end("end", line.get("end")),
        "weight": weight,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "recorded_at": read_time(line, "recorded_at") or datetime.now(UTC),
    }


def _merge_of(line: dict[str, Any]) -> dict[str, Any]:
    ends = {name: _end(name, line.get(name)) for name in ("kept", "merged")}
    for name, end in ends.items():
        if isinstance(end, NodeRef):
            raise InvalidInput(f"{name} is {end}; only entities are merged")
    return ends


def _end(name: str, value: Any) -> EntityName | NodeRef:
    if not isinstance(value, dict):
        raise InvalidInput(f"{name} is {describe(value)}; it must be an object with a kind")
    end = cast("dict[str, Any]", value)
    kind = end.get("kind")
    if kind in _MEMORIES:
        validate.check_id(f"{name}.id", end.get("id"))
        return NodeRef(kind=kind, id=end["id"])
    if kind not in ENTITY_KINDS:
        raise InvalidInput(f"{name}.kind is {kind!r:.60}; use one of {', '.join(ENTITY_KINDS)}")
    return entity_name(f"{name}.name", kind, cast("str", end.get("name")))
