"""Histograms of response times: buckets that grow by a tenth, after DDSketch.

Masson, Rim, Lee: DDSketch, VLDB 2019 (https://arxiv.org/abs/1908.10693), with γ = 1.1: a percentile
read from the buckets is at most (γ - 1) / (γ + 1) = 4.8 % off. The database counts with the same
formula (`aegis_usage_bucket`); a test compares both. Pure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GROWTH", "RELATIVE_ERROR", "bucket_of", "percentile"]

GROWTH: Final = 1.1
RELATIVE_ERROR: Final = (GROWTH - 1) / (GROWTH + 1)


def bucket_of(response_ms: int) -> int:
    """Return the bucket of a response time, from 1."""
    if response_ms <= 0:
        return 1
    return 2 + math.ceil(math.log(response_ms) / math.log(GROWTH))


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Return the response time that `share` of the calls stay within; None without calls.

    The rank is ceil(share · n): the value is within 4.8 % of that call's.
    """
    total = sum(counts)
    if total <= 0:
        return None
    rank = max(math.ceil(share * total), 1)
    for bucket, count in enumerate(counts, 1):
        rank -= count
        if rank <= 0:
            return _middle(bucket)
    return _middle(len(counts))


def _middle(bucket: int) -> float:
    if bucket <= 2:
        # 0 and 1 ms are alone in theirs.
        return float(bucket - 1)
    return 2 * GROWTH ** (bucket - 2) / (1 + GROWTH)
