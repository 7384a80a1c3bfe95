"""One namespace that holds nearly everything, and whether the planner knows that.

Searches of a namespace are planned by how large it is believed to be. Where the statistics do not
say that one holds nearly all, a large one counts as small, and small ones as large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.memory.audit.report import Example, Repaired
from aegis.memory.store import audit as store
from aegis.memory.store import search, statistics
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection, Database

__all__ = ["Skew", "find_skew", "repair_skew"]

#: From which share on a namespace holds nearly everything, beside how many others.
_SHARE, _OTHERS = 0.9, 2
#: How far off the planner's share may be.
_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """A namespace that holds nearly everything, unknown to the planner."""

    namespace: str
    episodes: int
    total: int
    #: Share of the episodes, 0 to 1, that the planner believes it has; None where it believes none.
    believed: float | None

    def example(self) -> Example:
        """Return it as a row of a finding."""
        believed = "nothing" if self.believed is None else f"{self.believed:.0%}"
        return Example(
            table="episodic_memory",
            id=None,
            namespace=self.namespace,
            excerpt=f"{self.episodes:,} of {self.total:,} episodes; believed: {believed}",
        )


async def find_skew(conn: Connection, counts: Sequence[tuple[str, int]]) -> Skew | None:
    """Return the namespace that holds nearly everything, unless the statistics say so.

    `counts` are all namespaces with their episodes, the largest first.
    """
    total = sum(count for _, count in counts)
    if len(counts) <= _OTHERS or counts[0][1] <= _SHARE * total:
        return None
    name, most = counts[0]
    believed = await store.read_believed_share(conn, name)
    if believed is not None and abs(believed - most / total) <= _TOLERANCE:
        return None
    return Skew(namespace=name, episodes=most, total=total, believed=believed)


async def repair_skew(db: Database, namespace: str | None, dry_run: bool) -> Repaired:
    """Have the planner's statistics and the counts of words made anew.

    It is held where the statistics say the same afterwards: the login may not analyze the table.
    """
    async with db.transaction() as conn:
        found = await find_skew(conn, await store.list_namespaces(conn))
    if found is not None and namespace not in (None, found.namespace):
        found = None
    left = found
    if found is not None and not dry_run:
        async with audited(db) as conn:
            await statistics.analyze_episodes(conn)
            if found.episodes > search.SMALL_NAMESPACE:
                await statistics.sample_namespace(
                    conn, found.namespace, small=search.SMALL_NAMESPACE
                )
            left = await find_skew(conn, await store.list_namespaces(conn))
            if left is None:
                place = Private(found.namespace)
                note(conn, "memory.repair", "check", "namespaces_skew", rows=1, namespace=place)
    rows = int(found is not None)
    held = 0 if dry_run else int(left is not None)
    return Repaired(
        kind="namespaces_skew",
        dry_run=dry_run,
        rows=rows - held,
        held=held,
        examples=[] if found is None else [found.example()],
        undo=None,
    )
