"""From what texts mention to rows: each entity once, and each mention with the time it holds. Pure.

A batch is worked out here and written in one go by `building`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.memory.graph.extract import Found
    from aegis.memory.store.graph_queue import Waiting

__all__ = ["Claim", "EntityRows", "MentionRows", "Reading", "SaidRows", "entity_rows", "resolve"]

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A relation between two entities that a text says."""

    source: Found
    target: Found
    type: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one text says."""

    text: Waiting
    found: Sequence[Found]
    claims: Sequence[Claim] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRows:
    """Entities as arrays, each once."""

    namespaces: list[str] = field(default_factory=list[str])
    kinds: list[str] = field(default_factory=list[str])
    keys: list[str] = field(default_factory=list[str])
    names: list[str] = field(default_factory=list[str])
    seen_from: list[datetime | None] = field(default_factory=list["datetime | None"])
    seen_to: list[datetime | None] = field(default_factory=list["datetime | None"])


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionRows:
    """Mentions as arrays."""

    namespaces: list[str] = field(default_factory=list[str])
    nodes: list[int] = field(default_factory=list[int])
    entities: list[int] = field(default_factory=list[int])
    starts: list[datetime | None] = field(default_factory=list["datetime | None"])
    ends: list[datetime | None] = field(default_factory=list["datetime | None"])

    def params(self) -> dict[str, Any]:
        """Return the arrays by their names in SQL."""
        return {
            "namespaces": self.namespaces,
            "nodes": self.nodes,
            "entities": self.entities,
            "starts": self.starts,
            "ends": self.ends,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidRows(MentionRows):
    """Relations between entities as arrays; `entities` is not used."""

    sources: list[int] = field(default_factory=list[int])
    targets: list[int] = field(default_factory=list[int])
    types: list[str] = field(default_factory=list[str])
    weights: list[float] = field(default_factory=list[float])

    def params(self) -> dict[str, Any]:
        """Return the arrays by their names in SQL."""
        return {
            "namespaces": self.namespaces,
            "nodes": self.nodes,
            "starts": self.starts,
            "ends": self.ends,
            "sources": self.sources,
            "targets": self.targets,
            "types": self.types,
            "weights": self.weights,
        }


def entity_rows(readings: Sequence[Reading]) -> EntityRows:
    """Return the entities of some texts, with the times between which they were seen."""
    names: dict[Key, str] = {}
    seen: dict[Key, list[datetime]] = {}
    for reading in readings:
        for found in reading.found:
            key = (reading.text.namespace or "", found.kind, found.key)
            names.setdefault(key, found.name)
            times = seen.setdefault(key, [])
            if reading.text.valid_from is not None:
                times.append(reading.text.valid_from)
    rows = EntityRows()
    for (namespace, kind, key), name in names.items():
        times = seen[namespace, kind, key]
        rows.namespaces.append(namespace)
        rows.kinds.append(kind)
        rows.keys.append(key)
        rows.names.append(name)
        rows.seen_from.append(min(times, default=None))
        rows.seen_to.append(max(times, default=None))
    return rows


def resolve(readings: Sequence[Reading], ids: Mapping[Key, int]) -> tuple[MentionRows, SaidRows]:
    """Return mentions and said relations with the ids of their entities."""
    mentions, said = MentionRows(), SaidRows()
    for reading in readings:
        text, place = reading.text, reading.text.namespace or ""
        # Two names of a text may stand for one entity by now.
        for entity in dict.fromkeys(ids[place, f.kind, f.key] for f in reading.found):
            mentions.namespaces.append(place)
            mentions.nodes.append(text.node)
            mentions.entities.append(entity)
            mentions.starts.append(text.valid_from)
            mentions.ends.append(text.valid_to)
        for claim in reading.claims:
            said.namespaces.append(place)
            said.nodes.append(text.node)
            said.sources.append(ids[place, claim.source.kind, claim.source.key])
            said.targets.append(ids[place, claim.target.kind, claim.target.key])
            said.types.append(claim.type)
            said.weights.append(claim.weight)
            said.starts.append(text.valid_from)
            said.ends.append(text.valid_to)
    return mentions, said
