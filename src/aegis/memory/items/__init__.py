"""Items: what a framework keeps under a path and a key, beside the memory.

Owns `store_items` and `store_vectors`. Invariant: an item comes back as it was put; those of
different namespaces never meet; a search returns as many items as were asked for, as long as there
are as many.
"""

from aegis.memory.items.models import (
    Encoder,
    GetItem,
    Item,
    ItemHit,
    ListPaths,
    PathMatch,
    PutItem,
    SearchItems,
)
from aegis.memory.items.service import Items

__all__ = [
    "Encoder",
    "GetItem",
    "Item",
    "ItemHit",
    "Items",
    "ListPaths",
    "PathMatch",
    "PutItem",
    "SearchItems",
]
