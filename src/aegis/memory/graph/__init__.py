"""The graph of memory: entities, relations, and the way from one thing to another.

Owns `graph_entities`, `graph_relations`, `graph_queue` and `graph_merges`. Invariants: both ends of
a relation are there and of its namespace; an id stands in an episode's `related_memories` exactly
while a relation between the two has no end.
"""

from aegis.memory.graph.models import (
    Built,
    Entity,
    Merge,
    Neighbourhood,
    Node,
    NodeRef,
    Path,
    Relation,
)

__all__ = ["Built", "Entity", "Merge", "Neighbourhood", "Node", "NodeRef", "Path", "Relation"]
