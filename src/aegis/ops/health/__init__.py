"""Whether the database is well: one check a function, each judged by a threshold of its own.

Owns no table. Invariant: a check never writes, runs alone under a statement time-out, and its
failure is a result of its own (`unknown`, which is not `ok`).
"""

from aegis.ops.health.models import Check, Finding, Report, Result, Seen, State
from aegis.ops.health.service import Health

__all__ = ["Check", "Finding", "Health", "Report", "Result", "Seen", "State"]
