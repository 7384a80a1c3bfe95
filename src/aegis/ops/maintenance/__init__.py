"""Keeping the database in shape: what needs it first, at quiet hours, without blocking writers.

Owns `maintenance_runs`. Invariant: one process at a time works, each step is a statement of its
own, and whatever line a crash comes behind, the next run finds the database whole and cleans up
what was left.
"""

from aegis.ops.maintenance.models import Done, Outcome, Step
from aegis.ops.maintenance.service import Maintenance

__all__ = ["Done", "Maintenance", "Outcome", "Step"]
