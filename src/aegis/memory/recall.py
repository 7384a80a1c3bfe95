"""Recall (provisional: words alone, until the ranking lands)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.errors import InvalidInput
from aegis.memory.models import Hit, ScorePart
from aegis.memory.store import episodes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import EpisodeFilter, Metric, Mode

__all__ = ["recall"]


async def recall(
    db: Database,
    embedder: Embedder | None,
    *,
    query: str | None,
    vector: Sequence[float] | None,
    k: int,
    mode: Mode,
    metric: Metric,
    where: EpisodeFilter,
    now: datetime,
) -> list[Hit]:
    """Return the newest `k` episodes that share a word with `query`."""
    if query is not None and not query.strip():
        raise InvalidInput("query is empty; say what to look for.")
    words = set((query or "").lower().split())
    async with db.transaction() as conn:
        page = await episodes.list_episodes(conn, where, limit=1000)
    ranked = sorted(page, key=lambda e: -len(words & set(e.summary.lower().split())))
    return [
        Hit(episode=e, score=0.0, parts=[ScorePart(arm="words", score=0.0)]) for e in ranked[:k]
    ]
