"""What was ranked becomes results: rows with their reasons; what is said twice comes once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.memory.echoes import normalised, originals_of, without_echoes
from aegis.memory.models import Hit, ScorePart
from aegis.memory.reasons import explain
from aegis.memory.store import search

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aegis.db import Connection
    from aegis.memory.models import Episode, EpisodeFilter
    from aegis.memory.ranking import Ranked

__all__ = ["SPARE", "hits_of", "newest"]

#: Results beyond k, to put in the place of what is said twice.
SPARE = 10


async def hits_of(
    conn: Connection, ranked: Sequence[Ranked], k: int, *, distinct: bool
) -> list[Hit]:
    """Return the best `k` with their rows; what is said twice makes room for what is not.

    Of episodes that say the same, the one that was recorded first is the original. A row that was
    deleted a moment ago is left out.
    """
    rows = {row.id: row for row in await search.list_by_ids(conn, [r.id for r in ranked[:k]])}
    originals = _originals(rows.values()) if distinct else set[int]()
    echoes = any(originals_of(row.metadata) for row in rows.values())
    if distinct and (echoes or len(originals) < min(k, len(ranked))):
        spare = await search.list_by_ids(conn, [r.id for r in ranked[k : k + SPARE]])
        rows |= {row.id: row for row in spare}
        originals = _originals(rows.values())
    found = [_hit(rows[r.id], r.score, r.explain()) for r in ranked if r.id in rows]
    if not distinct:
        return found
    first = [hit for hit in found if hit.episode.id in originals]
    # An original that comes behind the first `k` does not hide its echo.
    shown = {hit.episode.id for hit in without_echoes(first)[:k]}
    first = [hit for hit in first if not shown.intersection(originals_of(hit.episode.metadata))]
    again = [hit for hit in found if hit.episode.id not in originals]
    hits = first[:k] + again[: max(0, k - len(first))]
    return sorted(hits, key=lambda hit: -hit.score)


def _originals(episodes: Iterable[Episode]) -> set[int]:
    """Return, of the episodes that say the same, the id of the first."""
    first: dict[str, int] = {}
    for episode in episodes:
        said = normalised(episode.summary) or episode.summary
        first[said] = min(episode.id, first.get(said, episode.id))
    return set(first.values())


def _hit(episode: Episode, score: float, parts: list[ScorePart]) -> Hit:
    why = explain(parts, timestamp=episode.timestamp, importance=episode.importance)
    return Hit(episode=episode, score=score, parts=parts, why=why)


async def newest(
    conn: Connection,
    where: EpisodeFilter,
    k: int,
    *,
    but: Sequence[int],
    score: float = 0.0,
    echoes: bool = False,
) -> list[Hit]:
    """Return the newest, without `but`; their score is that of the last result before them."""
    ids = await search.find_newest(conn, where=where, but=but, limit=k, echoes=echoes)
    rows = {row.id: row for row in await search.list_by_ids(conn, ids)}
    part = [ScorePart(arm="fill", score=score, detail="newest first")]
    return [_hit(rows[i], score, part) for i in ids if i in rows]
