"""What a worker holds at this moment: how much of each kind and key, and how much room is left.

Invariant: never more than `concurrency` in all; and while fewer kinds than that have work, one
place is kept for each kind that has none, so that no kind's long work starves another.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from aegis.db.lease import Claim

__all__ = ["Held", "Holding"]


@dataclass(eq=False, slots=True)
class Holding:
    """A claim, the task that runs it, and until when it is surely ours by this machine's clock."""

    claim: Claim
    task: asyncio.Task[None]
    #: `time.monotonic()` of the moment before the lease was taken or renewed.
    renewed: float
    #: Another has it: it is not to be handed back.
    lost: bool = False


class Held:
    """The claims of one worker."""

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        concurrency: int,
        per_kind: Mapping[str, int],
        per_key: Mapping[str, int],
    ) -> None:
        self._kinds = tuple(kinds)
        self._concurrency = concurrency
        self._per_kind = per_kind
        self._per_key = per_key
        self._held: dict[str, dict[tuple[str, int], Holding]] = {kind: {} for kind in kinds}
        self._keys: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
        #: Room given to claims that are under way.
        self._asked: Counter[str] = Counter()

    def count(self) -> int:
        """Return how many claims are held."""
        return sum(len(held) for held in self._held.values())

    def of(self, kind: str) -> list[Holding]:
        """Return what is held of a kind."""
        return list(self._held[kind].values())

    def other_attempts(self, claim: Claim) -> list[Holding]:
        """Return what is held of the same piece under other tokens."""
        held = self._held[claim.kind]
        return [held[key] for key in held if key[0] == claim.id and key[1] != claim.token]

    def take_room(self, kind: str) -> int:
        """Return how many more of a kind may be claimed, and keep that room for it."""
        busy = {name: len(self._held[name]) + self._asked[name] for name in self._kinds}
        left = self._concurrency - sum(busy.values())
        kept = sum(1 for name in self._kinds if name != kind and not busy[name])
        if left > 0:
            # With fewer places than kinds, the first that asks has one.
            left = max(left - kept, 0 if busy[kind] else 1)
        room = max(0, min(left, self._per_kind.get(kind, self._concurrency) - busy[kind]))
        self._asked[kind] += room
        return room

    def give_room(self, kind: str, room: int) -> None:
        """Give back room that `take_room` returned."""
        self._asked[kind] -= room

    def full_keys(self, kind: str) -> list[str]:
        """Return the keys that have as much going on here as they may."""
        most = self._per_key.get(kind)
        if most is None:
            return []
        return [key for key, count in self._keys[kind].items() if count >= most]

    def admits(self, claim: Claim) -> bool:
        """Tell whether a claim's key has room: one batch may bring many of one key."""
        most = self._per_key.get(claim.kind)
        return most is None or claim.key is None or self._keys[claim.kind][claim.key] < most

    def add(self, holding: Holding) -> None:
        """Note that a claim runs."""
        claim = holding.claim
        self._held[claim.kind][claim.id, claim.token] = holding
        if claim.key is not None:
            self._keys[claim.kind][claim.key] += 1

    def remove(self, holding: Holding) -> None:
        """Note that it does not any longer."""
        claim = holding.claim
        self._held[claim.kind].pop((claim.id, claim.token), None)
        if claim.key is not None:
            keys = self._keys[claim.kind]
            keys[claim.key] -= 1
            if keys[claim.key] <= 0:
                del keys[claim.key]
