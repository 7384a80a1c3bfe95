"""Figures of the database: now, and over time.

Owns `health_snapshots`, `health_relations`, `health_queries` and `health_statements`. Invariant:
counters are stored as PostgreSQL gave them; what happened in between is computed, and a reset or a
crash of the server never makes it negative. No value of a statement is ever stored.
"""

from aegis.ops.stats.service import Stats

__all__ = ["Stats"]
