"""The worker, the jobs that it runs, and the scheduler that makes them.

Owns `jobs`, `schedules`, `workers` and `provider_rates`. Any number of workers on any number of
machines claim due work of every kind (`aegis.db.lease.Kind`) with a lease and a fencing token in
the row itself. Invariant: what a worker runs, it holds; what it does not hold any longer, it can
neither finish nor change.
"""

from aegis.worker.functions import Functions, current_job
from aegis.worker.service import Jobs, Schedules, Workers

# `kinds` and `loop` load every domain that has work: import them where a worker is made.
__all__ = ["Functions", "Jobs", "Schedules", "Workers", "current_job"]
