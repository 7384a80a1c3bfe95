"""Rate limits by GCRA, in whole numbers. Pure: what PostgreSQL counts is told in people's units.

A limit of n units in w microseconds is a bucket that holds n * w: a unit adds w, and every
microsecond takes n away. That is the generic cell rate algorithm (ITU-T I.371) with the
theoretical arrival time kept as a distance from now; in whole numbers no rounding admits or
refuses a call too many. `aegis_drained` and `aegis_verify_calls` in the database do the counting; a
test holds `drained` and `fits` against them.
"""

from __future__ import annotations

from aegis.keys.models import LimitState

__all__ = ["drained", "fits", "state_of"]


def drained(backlog: int, *, elapsed_us: int, limit: int, window_us: int) -> int:
    """Return the backlog `elapsed_us` later; a clock that was set back adds what it takes back."""
    span = window_us + 1
    return min(
        max(backlog - min(max(elapsed_us, -span), span) * limit, 0),
        limit * window_us,
    )


def fits(backlog: int, *, cost: int, limit: int, window_us: int) -> bool:
    """Tell whether `cost` units have room."""
    return cost <= 0 or backlog + cost * window_us <= limit * window_us


def state_of(
    name: str,
    *,
    backlog: int,
    cost: int,
    limit: int,
    window_us: int,
    refused: bool,
    shared: bool = False,
) -> LimitState:
    """Return a limit in people's units; `refused` says that the call was not admitted."""
    room = max(limit * window_us - backlog, 0)
    exceeded = refused and not fits(backlog, cost=cost, limit=limit, window_us=window_us)
    retry_after_s = None
    if exceeded and cost <= limit:
        missing = backlog + cost * window_us - limit * window_us
        retry_after_s = -(-missing // limit) / 1e6
    return LimitState(
        name=name,
        limit=limit,
        window_s=window_us // 1_000_000,
        remaining=room // window_us,
        reset_s=-(-backlog // limit) / 1e6 if limit > 0 else window_us / 1e6,
        retry_after_s=retry_after_s,
        exceeded=exceeded,
        shared=shared,
    )
