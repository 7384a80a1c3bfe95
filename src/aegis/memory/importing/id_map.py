"""Which new id each old one of a file became."""

from __future__ import annotations

from array import array
from bisect import bisect_left

__all__ = ["IdMap"]


class IdMap:
    """Old id → new id, in eight bytes an entry: exports are in the order of their ids."""

    def __init__(self) -> None:
        self._old = array("i")
        self._new = array("i")
        self._out_of_order: dict[int, int] = {}

    def add(self, old: int, new: int) -> None:
        """Note what an id became."""
        if self._old and old <= self._old[-1]:
            self._out_of_order[old] = new
        else:
            self._old.append(old)
            self._new.append(new)

    def find(self, old: int) -> int | None:
        """Return what an id became, or None."""
        at = bisect_left(self._old, old)
        if at < len(self._old) and self._old[at] == old:
            return self._new[at]
        return self._out_of_order.get(old)
