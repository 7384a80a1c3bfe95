"""The arm of time: candidates from the intervals that a question names, and how close they are.

A question that names no time costs nothing here. One that does costs one statement more, of bounded
size, and the beginnings of its candidates' texts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from aegis.memory.dates.closeness import measure
from aegis.memory.store import search_time
from aegis.memory.store.search import lexeme_query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from aegis.db import Connection
    from aegis.memory.arms import Asked
    from aegis.memory.candidates import Candidates
    from aegis.memory.dates import TimeSpan
    from aegis.memory.dates.closeness import Closeness

__all__ = ["READ_CHARACTERS", "timely_ids", "weigh_times"]

#: Rows that are looked at, in all, and parts that the intervals are cut into, so that the rows of
#: a long one are from all of it.
_ROWS, _PARTS = 320, 24
#: What each of words and vector hands on.
_LIMIT = 10
#: Of a memory's text, as far as it is read for times.
READ_CHARACTERS = 300


async def timely_ids(
    conn: Connection, asked: Asked, words: Sequence[str], *, but: Sequence[int]
) -> list[int]:
    """Return `but` and what the question's times add to it."""
    spans = _within(asked)
    if not spans:
        return list(but)
    parts = _cut(spans)
    found = await search_time.find_timely(
        conn,
        where=asked.where,
        parts=parts,
        words=[lexeme_query(word) for word in words],
        vector=asked.vector,
        space=asked.space,
        rows=max(1, _ROWS // len(parts)),
        limit=_LIMIT,
    )
    known = set(but)
    return [*but, *(row_id for row_id in sorted(found) if row_id not in known)]


def weigh_times(
    spans: Sequence[TimeSpan], candidates: Candidates, zone: tzinfo | None
) -> list[Closeness]:
    """Return how close each candidate is to `spans`; nothing where the question names no time."""
    if not spans or not candidates.ids:
        return []
    return measure(spans, candidates.times, candidates.texts, zone)


def _within(asked: Asked) -> list[tuple[datetime, datetime]]:
    """Return the intervals as far as the filter lets anything of them through."""
    where = asked.where
    bounds = [
        (
            span.since if where.since is None else max(span.since, where.since),
            span.until if where.until is None else min(span.until, where.until),
        )
        for span in asked.times
    ]
    return [(since, until) for since, until in bounds if since < until]


def _cut(spans: Sequence[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Return the intervals in parts of equal length, `_PARTS` in all or a little less."""
    count = max(1, _PARTS // len(spans))
    parts: list[tuple[datetime, datetime]] = []
    for since, until in spans:
        bounds = [since + n * (until - since) / count for n in range(count)] + [until]
        parts += [(a, b) for a, b in pairwise(bounds) if a < b]
    return parts
