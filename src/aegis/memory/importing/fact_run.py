"""The facts of an import: those that are new are recorded, and linked to one another at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from aegis.memory.importing.exported_facts import ExportedFact, SuccessorLinks, record_exported
from aegis.memory.importing.id_map import IdMap
from aegis.memory.models import NewFact
from aegis.memory.store import fact_transfer, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.memory.importing.items import Item
    from aegis.memory.service import Memory

__all__ = ["FactRun"]

#: What facts that were made of episodes name as their source, and how they name an episode.
_CONSOLIDATION, _EPISODE = "consolidation", "episode:"


class FactRun:
    """What an import has done with facts so far."""

    def __init__(self, memory: Memory, namespace: str, *, embed: bool) -> None:
        self._memory = memory
        self._namespace = namespace
        self._embedder = memory.embedder if embed else None
        self._ids = IdMap()
        self._links = SuccessorLinks()

    async def record(
        self, items: Sequence[Item], find_episode: Callable[[int], int | None]
    ) -> tuple[int, int]:
        """Record facts and return how many were new, and how many there already.

        Episodes that they rest on are named by the ids that `find_episode` tells.
        """
        originals = await self._originals(items)
        known = await self._known(items)
        recorded = 0
        for item in items:
            exported = _exported(item)
            if item.old_id is not None and item.old_id in originals:
                self._ids.add(item.old_id, item.old_id)
                continue
            key = exported.fact.source_id if exported.fact is not None else None
            new = known.get(key) if key is not None else None
            if new is None:
                if item.old_id is not None:
                    exported = _resting(exported, find_episode)
                new = await record_exported(
                    self._memory.database, self._embedder, exported, namespace=self._namespace
                )
                recorded += new is not None
                if new is not None and key is not None:
                    known[key] = new
            if new is not None:
                # Also what an earlier run recorded: it may have ended before it linked anything.
                self._links.note(new, exported)
                if item.old_id is not None:
                    self._ids.add(item.old_id, new)
        return recorded, len(items) - recorded

    def find(self, old: int) -> int | None:
        """Return what an id of the file became, or None."""
        return self._ids.find(old)

    async def link(self) -> int:
        """Say which facts others end with; return how many are not in the file."""
        async with self._memory.database.transaction() as conn:
            return await self._links.link(conn, self._ids.find)

    async def _originals(self, items: Sequence[Item]) -> set[int]:
        """Return the ids of those that are the very rows that were exported."""
        exported = {
            item.old_id: item.old_created_at
            for item in items
            if item.old_id is not None and item.old_created_at is not None
        }
        if not exported:
            return set()
        async with self._memory.database.transaction() as conn:
            return await transfer.list_original_facts(conn, self._namespace, exported)

    async def _known(self, items: Sequence[Item]) -> dict[str, int]:
        facts = [_exported(item).fact for item in items]
        keys = [fact.source_id for fact in facts if fact is not None and fact.source_id is not None]
        async with self._memory.database.transaction() as conn:
            return await fact_transfer.find_facts_by_source(conn, self._namespace, keys)


def _exported(item: Item) -> ExportedFact:
    value = item.value
    if isinstance(value, NewFact):
        return ExportedFact(fact=value)
    assert isinstance(value, ExportedFact)
    return value


def _resting(exported: ExportedFact, find: Callable[[int], int | None]) -> ExportedFact:
    """Return a fact that names the episodes that it was made of by what they are here.

    Those that the file does not hold are left out: their numbers are others' here.
    """
    fact = exported.fact
    if fact is None or fact.source != _CONSOLIDATION:
        return exported
    metadata = dict(fact.metadata or {})
    named = metadata.get("episodes")
    if isinstance(named, list):
        olds = cast("list[Any]", named)
        metadata["episodes"] = [new for old in olds if (new := _found(old, find)) is not None]
    return replace(
        exported,
        fact=replace(fact, metadata=metadata or None),
        sources=[_said_by(source, find) for source in exported.sources],
    )


def _said_by(source: dict[str, Any], find: Callable[[int], int | None]) -> dict[str, Any]:
    key = source["source_id"]
    if source["source"] != _CONSOLIDATION or not str(key).startswith(_EPISODE):
        return source
    number = str(key).removeprefix(_EPISODE)
    new = _found(int(number), find) if number.isascii() and number.isdecimal() else None
    return source if new is None else source | {"source_id": f"{_EPISODE}{new}"}


def _found(old: Any, find: Callable[[int], int | None]) -> int | None:
    return find(old) if type(old) is int and 0 < old < 2**31 else None
