"""Which lines of a page stand elsewhere, and how a page reads whose lines stand in any order."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["ANYWHERE", "arranged", "moved", "moving"]

#: Instead of lines that move: all of them do.
ANYWHERE = "*"


def moved(old: Sequence[str], new: Sequence[str]) -> set[str]:
    """Return the fewest lines without which what both texts say stands in the same order.

    A line that one of them says more often is left out of it: it came or went.
    """
    before, after = Counter(old), Counter(new)
    even = {line for line, count in before.items() if after[line] == count}
    places: dict[tuple[str, int], int] = {}
    seen: Counter[str] = Counter()
    for at, line in enumerate(old):
        if line in even:
            places[line, seen[line]] = at
            seen[line] += 1
    seen.clear()
    order: list[tuple[int, str]] = []
    for line in new:
        if line in even:
            order.append((places[line, seen[line]], line))
            seen[line] += 1
    kept = _longest_rise([place for place, _ in order])
    return {line for at, (_, line) in enumerate(order) if at not in kept}


def moving(line: str, moves: Collection[str]) -> bool:
    """Return whether a line may stand anywhere."""
    return line in moves or ANYWHERE in moves


def arranged(lines: Sequence[str], moves: Collection[str]) -> list[str]:
    """Return lines in one order whichever they stood in: the fixed ones, then those that move."""
    if not moves:
        return list(lines)
    fixed: list[str] = []
    loose: list[str] = []
    for line in lines:
        (loose if moving(line, moves) else fixed).append(line)
    return fixed + sorted(loose)


def _longest_rise(numbers: Sequence[int]) -> set[int]:
    """Return where the members of a longest increasing subsequence are (patience sorting)."""
    ends: list[int] = []
    at_end: list[int] = []
    before: list[int] = []
    for at, number in enumerate(numbers):
        pile = bisect_left(ends, number)
        before.append(at_end[pile - 1] if pile else -1)
        ends[pile : pile + 1] = [number]
        at_end[pile : pile + 1] = [at]
    found: set[int] = set()
    at = at_end[-1] if at_end else -1
    while at >= 0:
        found.add(at)
        at = before[at]
    return found
