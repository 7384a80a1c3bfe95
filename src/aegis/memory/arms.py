"""What the arms find of a question: words, vector and times, and what the ranking knows of it.

The words need no vector, so they are read while the question is embedded (`read`); the rest follows
once it is there (`gather`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from aegis.memory.hits import SPARE
from aegis.memory.question_words import plan_words
from aegis.memory.ranking import Question, idf_of_counts
from aegis.memory.spaces import Second, also_near, fill_in
from aegis.memory.store import misses, search
from aegis.memory.timing import READ_CHARACTERS, timely_ids

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.candidates import Candidates
    from aegis.memory.dates import TimeSpan
    from aegis.memory.models import EpisodeFilter, Metric, Mode
    from aegis.memory.store.search import QuestionFacts, Space

__all__ = ["Asked", "Reading", "gather", "nearest", "read"]


class _Lengths(NamedTuple):
    """How far arms reach."""

    #: Memories that words, and that the vector, hand to the ranking, at least.
    worded: int
    near: int
    #: Neighbours on either side that come with each.
    depth: int


_SMALL, _LARGE = _Lengths(30, 30, 2), _Lengths(20, 30, 1)
#: Signs of fewer dimensions than these say too little about a vector.
_SKETCHED_DIMENSIONS = 128
#: Of one sought, how many vectors are read whose sketches are nearest, and how many at least.
_SKETCHES, _LEAST_SKETCHES = 6, 200
#: Episodes of a namespace from which on its graph may not reach all of them, and how many vectors
#: are read where it did not: so many sketches are less sure than those of some thousand.
_MISSED_FROM, _MISSED_SKETCHES = 100_000, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request after validation; `vector` in pgvector's text form."""

    query: str
    vector: str | None
    space: Space | None
    k: int
    mode: Mode
    metric: Metric
    where: EpisodeFilter
    now: datetime
    #: The times that the question names, seen from `now`.
    times: Sequence[TimeSpan] = ()
    #: The same question in the other space, while rows may carry either model.
    second: Second | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A question's words in the terms of the namespace, and what they found."""

    facts: QuestionFacts
    #: The filter, which lets nothing expired through where there is any.
    where: EpisodeFilter
    question: Question
    #: Ids of memories; none in mode `vector`.
    worded: Sequence[int]

    @property
    def small(self) -> bool:
        """Whether the namespace is searched exactly."""
        return _is_small(self.facts)

    @property
    def lengths(self) -> _Lengths:
        """How far the arms reach in such a namespace."""
        return _SMALL if self.small else _LARGE


async def read(
    conn: Connection, *, query: str, where: EpisodeFilter, mode: Mode, k: int, ef_search: int
) -> Reading:
    """Return what the namespace says of the words, and what they find in it."""
    facts = await search.read_question(
        conn, query=query, namespace=where.namespace or "", ef_search=ef_search
    )
    if facts.expired:
        where = replace(where, alive=True)
    if mode == "vector":
        nothing = Question(words=[], idf=[], mean_terms=facts.mean_terms)
        return Reading(facts=facts, where=where, question=nothing, worded=())
    small = _is_small(facts)
    words, idf, caps = plan_words(facts, small=small)
    worded: Sequence[int] = ()
    if words:
        found = await search.find_worded(
            conn,
            where=where,
            words=words,
            idf=[None] * len(words) if small else idf,
            caps=caps,
            facts=facts,
            limit=max((_SMALL if small else _LARGE).worded, k + SPARE),
        )
        worded = found.ids
        if small:
            idf = idf_of_counts(found.word_counts, facts.episodes)
    question = Question(words=words, idf=idf, mean_terms=facts.mean_terms)
    return Reading(facts=facts, where=where, question=question, worded=worded)


async def gather(conn: Connection, asked: Asked, reading: Reading) -> Candidates:
    """Return what the arms found with its neighbours; `asked.where` counts, not the reading's."""
    facts, words = reading.facts, reading.question.words
    ids = list(reading.worded)
    if asked.vector is not None and asked.space is not None:
        ids += await _near(conn, asked, asked.vector, asked.space, reading)
    ids = list(dict.fromkeys(ids))
    if asked.times:
        ids = await timely_ids(conn, asked, words, but=ids)
    if asked.second is not None:
        also = await also_near(
            conn,
            asked.second,
            where=asked.where,
            metric="cosine",
            approximate=_approximate(facts, asked),
            limit=_wanted(asked, reading),
        )
        ids = list(dict.fromkeys([*ids, *(row_id for row_id, _ in also)]))
    candidates = await search.describe(
        conn,
        ids,
        where=asked.where,
        words=words,
        vector=asked.vector,
        space=asked.space,
        depth=reading.lengths.depth,
        echoes=not facts.echoes,
        characters=READ_CHARACTERS if asked.times else 0,
    )
    return await fill_in(conn, asked.second, candidates)


async def nearest(conn: Connection, asked: Asked, facts: QuestionFacts) -> list[tuple[int, float]]:
    """Return the nearest by vector alone, each with its distance."""
    assert asked.vector is not None
    assert asked.space is not None
    approximate = asked.metric == "cosine" and _approximate(facts, asked)
    while True:
        found = await search.find_nearest(
            conn,
            where=asked.where,
            vector=asked.vector,
            space=asked.space,
            metric=asked.metric,
            approximate=approximate,
            limit=asked.k,
        )
        if len(found) >= asked.k or not approximate:
            break
        approximate = False
    if approximate:
        ids = [row_id for row_id, _ in found]
        more = await _missed(conn, asked, ids, facts, limit=asked.k)
        if more:
            found = await misses.measure(
                conn, [*ids, *more], vector=asked.vector, space=asked.space, limit=asked.k
            )
    if asked.second is None:
        return found
    found += await also_near(
        conn,
        asked.second,
        where=asked.where,
        metric=asked.metric,
        approximate=approximate,
        limit=asked.k,
    )
    best: dict[int, float] = {}
    for row_id, distance in sorted(found, key=lambda pair: pair[1]):
        best.setdefault(row_id, distance)
    return list(best.items())[: asked.k]


async def _near(
    conn: Connection, asked: Asked, vector: str, space: Space, reading: Reading
) -> list[int]:
    wanted = _wanted(asked, reading)
    approximate = _approximate(reading.facts, asked)
    sketches = 0
    if not approximate and _sketched(reading.facts, asked):
        sketches = max(_LEAST_SKETCHES, _SKETCHES * wanted)
    while True:
        found = await search.find_near(
            conn,
            where=asked.where,
            vector=vector,
            space=space,
            facts=reading.facts,
            approximate=approximate,
            sketches=sketches,
            limit=wanted,
        )
        if len(found) >= wanted or not (approximate or sketches):
            break
        # The index gave up on a filter that lets little through; then there is little to scan.
        approximate, sketches = False, 0
    if approximate:
        found += await _missed(conn, asked, found, reading.facts, limit=wanted)
    return found


async def _missed(
    conn: Connection, asked: Asked, found: Sequence[int], facts: QuestionFacts, *, limit: int
) -> list[int]:
    """Return the nearest by sketches, if a sample shows that the graph does not reach them.

    A vector lies in a topic that other vectors link to, or it does not exist for the graph.
    """
    if facts.episodes < _MISSED_FROM or not _sketched(facts, asked):
        return []
    assert asked.vector is not None
    assert asked.space is not None
    missed = await misses.has_missed(
        conn, found, where=asked.where, vector=asked.vector, space=asked.space, facts=facts
    )
    if not missed:
        return []
    return await search.find_near(
        conn,
        where=asked.where,
        vector=asked.vector,
        space=asked.space,
        facts=facts,
        approximate=False,
        sketches=max(_MISSED_SKETCHES, limit),
        limit=limit,
    )


def _wanted(asked: Asked, reading: Reading) -> int:
    return max(reading.lengths.near, asked.k)


def _is_small(facts: QuestionFacts) -> bool:
    return facts.episodes <= search.SMALL_NAMESPACE


def _approximate(facts: QuestionFacts, asked: Asked) -> bool:
    """Return whether HNSW is quicker than comparing every vector of the namespace."""
    if not facts.iterative or _is_small(facts):
        return False
    # The index walks the whole table's graph: a row of the namespace in `visits` steps.
    visits = max(_LARGE.near, asked.k) * max(facts.table_rows, facts.episodes) / facts.episodes
    return 3 * visits < facts.episodes


def _sketched(facts: QuestionFacts, asked: Asked) -> bool:
    """Return whether sketches tell which vectors of the namespace are worth reading."""
    space = asked.space
    return (
        not _is_small(facts)
        and space is not None
        and space.model is not None
        and not space.mixed
        and space.dimensions >= _SKETCHED_DIMENSIONS
        # What has expired is little; other filters may let none of the best through.
        and not {*search.asked_for(asked.where)} - {"alive"}
    )
