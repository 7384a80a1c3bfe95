"""Bodies and answers of the graph. Shapes only, as in `schemas` and `answers`."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from aegis.api.schemas import OptionalTime
from aegis.api.shapes import Answer, Body
from aegis.memory.graph.models import EntityKind, FoundBy, NodeKind

__all__ = [
    "BuildBody",
    "Built",
    "EndBody",
    "Entity",
    "EntityPage",
    "Merge",
    "MergeBody",
    "Merges",
    "Neighbourhood",
    "Node",
    "Path",
    "Relation",
    "RelationBody",
    "Relations",
]

_NODE = "episode:12, fact:3, entity:5, or an entity by kind and name: person:Alice."


class RelationBody(Body):
    """A relation to write."""

    source: str = Field(description=_NODE)
    target: str = Field(description=_NODE)
    type: str = Field("related", description="Such as works_on, caused, part_of.")
    weight: float = Field(1.0, description="How strong or how sure it is, 0 to 1.")
    valid_from: OptionalTime = Field(None, description="Since when; always if left out.")
    valid_to: OptionalTime = Field(None, description="Until when; no end if left out.")
    namespace: str | None = None


class EndBody(Body):
    """Relations to end."""

    source: str = Field(description=_NODE)
    target: str = Field(description=_NODE)
    type: str | None = Field(None, description="Of all types if left out.")
    at: OptionalTime = Field(None, description="When they end; now if left out.")
    namespace: str | None = None


class MergeBody(Body):
    """Entities to make one."""

    kept: str = Field(description="The entity that stands for both.")
    merged: str = Field(description="The one that becomes a name of it.")
    namespace: str | None = None


class BuildBody(Body):
    """What to read."""

    again: bool = Field(False, description="All of the namespace, not only what is new.")
    limit: int | None = Field(None, description="At most so many texts.")


class Node(Answer):
    """A memory, a fact or an entity."""

    kind: NodeKind
    id: int
    label: str
    detail: str
    at: datetime | None
    depth: int


class Relation(Answer):
    """A relation from one node to another."""

    id: int
    type: str
    source_kind: NodeKind
    source_id: int
    target_kind: NodeKind
    target_id: int
    weight: float
    valid_from: datetime | None
    valid_to: datetime | None
    recorded_at: datetime
    found_by: FoundBy


class Neighbourhood(Answer):
    """What lies around a node."""

    nodes: list[Node]
    relations: list[Relation]
    truncated: bool


class Path(Answer):
    """A shortest way; no nodes where there is none."""

    nodes: list[Node]
    relations: list[Relation]
    truncated: bool


class Relations(Answer):
    """Relations that were ended."""

    items: list[Relation]


class Entity(Answer):
    """Somebody or something that memories speak of."""

    id: int
    namespace: str
    kind: EntityKind
    name: str
    aliases: list[str]
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    mentions: int
    degree: int


class EntityPage(Answer):
    """A page of entities."""

    items: list[Entity]
    next_cursor: str | None


class Merge(Answer):
    """Two entities that were made one."""

    id: int
    kept: int
    merged: int
    at: datetime
    undone_at: datetime | None


class Merges(Answer):
    """Merges, the last one first."""

    items: list[Merge]


class Built(Answer):
    """What a build of the graph did."""

    read: int
    added: int
    removed: int
    related: int
