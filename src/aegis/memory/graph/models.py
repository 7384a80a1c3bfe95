"""What the graph is made of. `Literal` types equal the CHECKs in the schema; a test compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "DIRECTIONS",
    "ENTITY_KINDS",
    "ENTITY_ORDERS",
    "FOUND_BY",
    "NODE_KINDS",
    "Built",
    "Direction",
    "Entity",
    "EntityKind",
    "EntityOrder",
    "FoundBy",
    "Merge",
    "Neighbourhood",
    "Node",
    "NodeKind",
    "NodeRef",
    "Path",
    "Relation",
]

#: A memory, a fact or an entity.
NodeKind = Literal["episode", "fact", "entity"]
EntityKind = Literal[
    "person",
    "project",
    "file",
    "host",
    "url",
    "email",
    "organisation",
    "ticket",
    "commit",
    "concept",
]
#: How a relation was found: by a rule, by whoever wrote it, or by a language model.
FoundBy = Literal["rule", "hand", "model"]
#: Which relations to follow: those that go out, those that come in, or both.
Direction = Literal["out", "in", "both"]
EntityOrder = Literal["degree", "mentions", "recent", "name"]

NODE_KINDS: tuple[NodeKind, ...] = ("episode", "fact", "entity")
ENTITY_KINDS: tuple[EntityKind, ...] = (
    "person",
    "project",
    "file",
    "host",
    "url",
    "email",
    "organisation",
    "ticket",
    "commit",
    "concept",
)
FOUND_BY: tuple[FoundBy, ...] = ("rule", "hand", "model")
DIRECTIONS: tuple[Direction, ...] = ("out", "in", "both")
ENTITY_ORDERS: tuple[EntityOrder, ...] = ("degree", "mentions", "recent", "name")

#: How a kind is told by a node's number: id * 4 + this, as the schema computes it.
_CODE: dict[NodeKind, int] = {"episode": 0, "fact": 1, "entity": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRef:
    """A node by kind and id."""

    kind: NodeKind
    id: int

    @property
    def number(self) -> int:
        """The node's number in `graph_relations.source` and `target`."""
        return self.id * 4 + _CODE[self.kind]

    @classmethod
    def of(cls, number: int) -> NodeRef:
        """Return the node of a number."""
        return cls(kind=NODE_KINDS[number % 4], id=number // 4)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node as it is shown."""

    kind: NodeKind
    id: int
    #: The entity's name, or the first words of the memory or fact.
    label: str
    #: What kind of entity, which event type, which concept.
    detail: str
    #: When the episode happened, the entity was last seen, the fact was recorded.
    at: datetime | None
    #: Relations away from where the search began; 0 for the beginning.
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A relation from one node to another (`graph_relations`)."""

    id: int
    type: str
    source_kind: NodeKind
    source_id: int
    target_kind: NodeKind
    target_id: int
    #: How strong or how sure it is, 0 to 1.
    weight: float
    #: From when on it holds, inclusive; since always if None.
    valid_from: datetime | None
    #: Until when, exclusive; no end is known if None.
    valid_to: datetime | None
    recorded_at: datetime
    found_by: FoundBy


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What lies around a node."""

    #: The beginning first, then by rising depth.
    nodes: Sequence[Node]
    #: Between these nodes.
    relations: Sequence[Relation]
    #: Whether a bound was reached, so that there is more than this.
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A shortest way from one node to another."""

    #: In order; empty where no way was found within the bounds.
    nodes: Sequence[Node]
    #: One between each two.
    relations: Sequence[Relation]
    #: Whether a bound was reached: then a shorter or another way may exist.
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """Somebody or something that memories speak of (`graph_entities`)."""

    id: int
    namespace: str
    kind: EntityKind
    name: str
    aliases: list[str]
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    #: Memories and facts that mention it.
    mentions: int
    #: Relations that it has.
    degree: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Two entities that were made one (`graph_merges`)."""

    id: int
    kept: int
    merged: int
    at: datetime
    undone_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build of the graph did."""

    #: Texts that were read.
    read: int
    #: Mentions and relations that are new.
    added: int
    #: Those that no longer stand in their texts.
    removed: int
    #: Related memories that were no relation yet.
    related: int
