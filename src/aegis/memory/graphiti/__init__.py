"""Episodes into a Graphiti graph, through graphiti-core's own client.

Owns `graphiti_failures` and `episodic_memory.graphiti_synced_at`. Invariant: the time is set only
after Graphiti took the episode as it is now; a repeat replaces what it made before.
"""

from aegis.memory.graphiti.models import Failure, Forgotten, Synced, SyncState

__all__ = ["Failure", "Forgotten", "SyncState", "Synced"]
