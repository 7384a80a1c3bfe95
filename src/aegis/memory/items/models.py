"""What is done with items, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = [
    "Encoder",
    "GetItem",
    "Item",
    "ItemHit",
    "ListPaths",
    "Operation",
    "PathMatch",
    "PutItem",
    "SearchItems",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item (`store_items`)."""

    #: Whose item it is; not part of the path.
    namespace: str
    #: Labels from the outermost in.
    path: tuple[str, ...]
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    #: Minutes that it lives after it was last used; None for ever.
    ttl_minutes: float | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemHit:
    """One result of a search."""

    item: Item
    #: Cosine of the query and the nearest of the item's vectors, -1 to 1; None where the search
    #: had no query, or the item no vector of its model.
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetItem:
    """Read one item: an `Item`, or None."""

    path: tuple[str, ...]
    key: str
    #: Whether its time to live begins anew.
    refresh: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PutItem:
    """Put an item in its place, or remove it: None."""

    path: tuple[str, ...]
    key: str
    #: None removes the item.
    value: Mapping[str, Any] | None
    #: Minutes, 0 to 52,560,000 (a century); None for ever.
    ttl_minutes: float | None = None
    #: Field and text of each vector that the item gets.
    texts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchItems:
    """Find items below a path: a list of `ItemHit`."""

    #: Every path that begins with it, itself included; all of them where it is empty.
    prefix: tuple[str, ...] = ()
    #: Conditions on the value (docs/howto/langgraph.md); all must hold.
    filter: Mapping[str, Any] | None = None
    #: Words; the nearest in meaning come first. Without, what was put last comes first.
    query: str | None = None
    limit: int = 10
    offset: int = 0
    #: Whether the time to live of what is found begins anew.
    refresh: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMatch:
    """A condition on a path."""

    kind: Literal["prefix", "suffix"]
    #: Labels; `*` stands for any one.
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPaths:
    """List the paths that hold items, in order: a list of tuples."""

    matches: tuple[PathMatch, ...] = ()
    #: Longer paths are cut to this many labels.
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


Operation: TypeAlias = GetItem | PutItem | SearchItems | ListPaths


class Encoder(Protocol):
    """Turns the texts of items, and questions, into vectors of one model."""

    @property
    def model(self) -> str:
        """Name stored beside every vector."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        ...

    @property
    def catches_up(self) -> bool:
        """Whether vectors that it could not make are filled in later by the backfill."""
        ...

    async def encode_texts(self, texts: Sequence[str]) -> list[str]:
        """Return a vector in pgvector's text form for each text."""
        ...

    async def encode_queries(self, queries: Sequence[str]) -> list[str]:
        """Return a vector in pgvector's text form for each question."""
        ...
