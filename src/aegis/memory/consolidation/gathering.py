"""The few episodes that may be like each new one, and what is like them: a slice at a time.

Bounded: a look-up in the index of words and, where the graph of vectors is quick, one in that, for
each new episode; never a comparison of all with all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.memory.consolidation.drafting import worth_reading
from aegis.memory.consolidation.groups import Pair
from aegis.memory.consolidation.likeness import like, words_of
from aegis.memory.consolidation.wording import Remark
from aegis.memory.indexing import index_name
from aegis.memory.store import consolidation as store
from aegis.memory.store import indexing, search, statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aegis.db import Connection
    from aegis.memory.embedding import Embedder
    from aegis.memory.store.consolidation import Row
    from aegis.memory.store.search_sql import Space

__all__ = ["Reach", "Reader", "find_pairs", "find_reach", "pairs_among", "phrase_query"]

#: Likes that a new episode is held against, at most.
_WORDED, _NEAR = 40, 12
#: Words that look for them, in pairs: two of these have to be shared.
_SOUGHT = 4
#: Below this share of the table the graph finds others' memories for the most part.
_LEAST_SHARE = 0.005
#: Up to here a namespace that the graph does not serve is compared as a whole.
_EXACT = 1_000
#: Share that a word is taken to have that is too rare to be listed.
_RARE = 0.0005
#: Episodes that a reader remembers.
_REMEMBERED = 20_000
#: Likeness by vectors alone needs some common words; fewer than these, and none will do.
_LEAST_COMMON = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How vectors find likes in a namespace: by the graph, by comparing it as a whole, or not."""

    space: Space | None
    exact: bool


async def find_reach(conn: Connection, embedder: Embedder | None, namespace: str) -> Reach:
    """Return how vectors find likes in the namespace at bounded cost."""
    if embedder is None:
        return Reach(space=None, exact=False)
    space = search.Space(model=embedder.model, dimensions=embedder.dimensions)
    facts = await search.read_question(conn, query="", namespace=namespace, ef_search=40)
    if facts.episodes <= _EXACT:
        return Reach(space=space, exact=True)
    index = await indexing.find_index(conn, index_name("episodic_memory", embedder.model))
    share = facts.episodes / max(facts.table_rows, facts.episodes, 1)
    quick = index is not None and index.valid and facts.iterative and share >= _LEAST_SHARE
    return Reach(space=space if quick else None, exact=False)


class Reader:
    """Episodes of a namespace by id, those read lately from memory: likes come up again and again.

    What is no evidence, or is gone, is remembered as None.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._known: dict[int, Remark | None] = {}

    def take(self, rows: Sequence[Row]) -> dict[int, Remark]:
        """Return those of the rows that may be evidence, by id."""
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        # Some were read before, as likes of others.
        found = _as_remarks(row for row in rows if row.id not in self._known)
        self._known |= {row.id: found.get(row.id) for row in rows if row.id not in self._known}
        return {row.id: known for row in rows if (known := self._known[row.id]) is not None}

    async def read(self, conn: Connection, ids: Sequence[int]) -> dict[int, Remark]:
        """Return those of the episodes that may be evidence, by id."""
        missing = [i for i in ids if i not in self._known]
        if missing:
            rows = await store.list_rows(conn, self._namespace, missing)
            self._known |= dict.fromkeys(missing)
            self._known |= _as_remarks(rows)
        return {i: remark for i in ids if (remark := self._known.get(i)) is not None}


def _as_remarks(rows: Iterable[Row]) -> dict[int, Remark]:
    found: dict[int, Remark] = {}
    for row in rows:
        remark = Remark(
            id=row.id,
            at=row.at,
            event_type=row.event_type,
            session_id=row.session_id,
            summary=row.summary,
            words=words_of(row.summary, row.lexemes),
        )
        if worth_reading(remark, bare=row.bare):
            found[row.id] = remark
    return found


async def find_pairs(
    conn: Connection, namespace: str, new: Mapping[int, Remark], reach: Reach, reader: Reader
) -> tuple[list[Pair], dict[int, Remark]]:
    """Return the pairs of a new episode and one that is like it, and all that are in a pair."""
    shares = await statistics.list_shares(
        conn, namespace, sorted({w for r in new.values() for w in r.words.stems})
    )
    sought = {i: q for i, r in new.items() if (q := _query(namespace, r, shares)) is not None}
    ids = sorted(sought)
    found = await store.list_worded(conn, namespace, ids, [sought[i] for i in ids], limit=_WORDED)
    if reach.space is not None:
        found += await store.list_near(
            conn, namespace, sorted(new), space=reach.space, exact=reach.exact, limit=_NEAR
        )
    wanted = {(min(a, b), max(a, b)) for a, b in found}
    missing = sorted({i for pair in wanted for i in pair} - new.keys())
    remarks = {**new, **await reader.read(conn, missing)}
    return await _alike(conn, wanted, remarks), remarks


async def pairs_among(conn: Connection, remarks: Sequence[Remark]) -> list[Pair]:
    """Return which of a few episodes are alike."""
    by_id = {r.id: r for r in remarks}
    ids = sorted(by_id)
    wanted = {(a, b) for place, a in enumerate(ids) for b in ids[place + 1 :]}
    return await _alike(conn, wanted, by_id)


async def _alike(
    conn: Connection, wanted: Iterable[tuple[int, int]], remarks: Mapping[int, Remark]
) -> list[Pair]:
    # Most fail by their words, and their vectors need not be read.
    likely = [
        (a, b)
        for a, b in sorted(wanted)
        if a in remarks and b in remarks and like(remarks[a].words, remarks[b].words, 1.0) > 0
    ]
    cosines = await store.list_cosines(conn, likely) if likely else {}
    pairs: list[Pair] = []
    for a, b in likely:
        likeness = like(remarks[a].words, remarks[b].words, cosines.get((a, b)))
        if likeness > 0:
            pairs.append(Pair(one=a, other=b, likeness=likeness))
    return pairs


def _query(namespace: str, remark: Remark, shares: Mapping[str, float]) -> str | None:
    """Return the tsquery of those that have two of its rarest words; None where it has one word."""
    stems = sorted(
        (w for w in remark.words.stems if len(w) > 2),
        key=lambda w: (shares.get(w, _RARE), -len(w), w),
    )
    if len(stems) < _LEAST_COMMON:
        return None
    # The rarest of all may be its own alone, such as a ticket's number; two of four are shared.
    sought = [search.lexeme_query(w) for w in stems[:_SOUGHT]]
    both = [f"{a} & {b}" for place, a in enumerate(sought) for b in sought[place + 1 :]]
    return f"{_place(namespace)} & ({' | '.join(both)})"


def phrase_query(namespace: str, lexemes: Sequence[str]) -> str:
    """Return the tsquery of episodes of the namespace that have all of these."""
    return " & ".join([_place(namespace), *map(search.lexeme_query, lexemes)])


def _place(namespace: str) -> str:
    return search.lexeme_query(f"\x01{namespace}")
