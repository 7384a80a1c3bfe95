"""The audit of memory: what is doubled, contradictory, junk, orphaned or stale, and its repair.

Owns `memory_quarantine`. Invariant: a repair that deletes or overwrites puts what was there aside
in the same transaction, and `restore` brings it back.
"""
