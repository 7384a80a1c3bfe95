"""Pictures of pages, scaled down to 32 columns of grey: how much of one differs from another."""

from __future__ import annotations

__all__ = ["COLUMNS", "LEAST", "MOST_ROWS", "difference"]

COLUMNS = 32
MOST_ROWS = 160
#: Of a page, the part that has to look different to be told.
LEAST = 0.03
#: Levels of grey, of 255, that nobody sees a difference in: scaling and anti-aliasing.
_LEVELS = 14


def difference(first: bytes, second: bytes) -> float:
    """Return the part of the larger picture, 0 to 1, that differs; what only one has differs."""
    import numpy as np

    one = np.frombuffer(first, dtype=np.uint8).astype(np.int16)
    other = np.frombuffer(second, dtype=np.uint8).astype(np.int16)
    shared = min(one.size, other.size)
    whole = max(one.size, other.size)
    if whole == 0:
        return 0.0
    differing = int((np.abs(one[:shared] - other[:shared]) > _LEVELS).sum())
    return (differing + whole - shared) / whole
