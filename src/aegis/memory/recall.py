"""Recall: find what answers a question, rank it, say why.

Four statements: the question in the terms of the namespace, what the arms find, what the ranking
needs to know of it, the winners' rows. Between them plain arithmetic (`ranking`). The embedder is
asked beside the first one, and when it fails the other arms answer. There is no transaction:
each statement sees what is committed either way, and its two round trips cost a tenth of an answer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis.errors import AegisError, InvalidInput
from aegis.memory import validate
from aegis.memory.beside import beside
from aegis.memory.dates import understand
from aegis.memory.echoes import without_echoes
from aegis.memory.hits import SPARE, hits_of, newest
from aegis.memory.models import Hits, ScorePart
from aegis.memory.question_words import plan_words
from aegis.memory.ranking import (
    Question,
    Ranked,
    idf_of_counts,
    load_weights,
    rank,
)
from aegis.memory.spaces import (
    Second,
    also_near,
    disagreement,
    fill_in,
    raise_disagreement,
    space_of_given,
    vectors_of,
)
from aegis.memory.store import search, statistics
from aegis.memory.timing import READ_CHARACTERS, timely_ids, weigh_times

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection, Database
    from aegis.memory.candidates import Candidates
    from aegis.memory.dates import TimeSpan
    from aegis.memory.embedding import Embedder
    from aegis.memory.embedding.patience import Patience
    from aegis.memory.models import EpisodeFilter, Hit, Metric, Mode
    from aegis.memory.store.search import QuestionFacts, Space

__all__ = ["MAX_K", "Asked", "gather", "recall"]

MAX_K = 1_000

#: Longer questions are cut here: what follows adds words, not meaning.
_MAX_QUERY = 20_000
#: How many memories the words and the vector hand to the ranking, at least, and how many of their
#: neighbours on either side come with each.
_SMALL_ARMS = (30, 30, 2)
_LARGE_ARMS = (20, 30, 1)
_SAMPLE_AGAIN_DAYS = 1.0
#: Signs of fewer dimensions than these say too little about a vector.
_SKETCHED_DIMENSIONS = 128
#: How wide HNSW is searched: a fused answer does not hang on the last neighbour, a pure one does.
_EF_FUSED, _EF_VECTOR = 64, 150

_NO_VECTOR = "The embedder did not answer in time; what was found was found by words."

_log = logging.getLogger("aegis.memory")


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
    patience: Patience | None = None,
) -> Hits:
    """Return the `k` episodes that answer best, best first: fewer only where there are fewer.

    `patience` bounds the wait for the question's vector; None waits as long as it takes.

    Raises:
        InvalidInput: nothing to search for, or a value out of range.
        Unavailable: the database does not answer; or mode `vector` and the embedder does not.
    """
    _check(query, vector, k, mode, metric)
    text = _clean(query)
    if mode == "time":
        async with db.transaction() as conn:
            return Hits(await newest(conn, replace(where, alive=True), k, but=[], echoes=True))
    facts: QuestionFacts | None = None
    if embedder is None or vector is not None or mode == "text":
        found, space, second = await _vector(embedder, text, vector, mode, patience)
    else:
        # What the database says of the words does not wait for the vector.
        async with beside(_facts(db, text, where, mode)) as reading:
            found, space, second = await _vector(embedder, text, vector, mode, patience)
            facts = await reading
    if mode == "vector" and found is None:
        raise_disagreement(embedder)
        raise InvalidInput(
            "There is no vector to search with: no embedder answers. Give a vector, or use mode "
            "text.",
            code="no_vector",
        )
    asked = Asked(
        query=text,
        vector=found,
        space=space,
        k=k,
        mode=mode,
        metric=metric,
        where=where,
        now=now,
        times=understand(text, now) if mode != "vector" else (),
        second=second,
    )
    hits, stale = await _answer(db, asked, facts)
    if stale and await _sample(db, asked):
        hits, _ = await _answer(db, asked)
    missed = embedder is not None and found is None and mode != "text"
    return Hits(hits, warnings=[disagreement(embedder) or _NO_VECTOR] if missed else [])


def _check(
    query: str | None, vector: Sequence[float] | None, k: int, mode: Mode, metric: Metric
) -> None:
    validate.check_mode(mode, metric)
    validate.check_limit("k", k, most=MAX_K)
    if vector is not None:
        validate.check_vector("vector", vector)
    if mode == "time":
        return
    if not (query or "").strip(" \t\r\n\0") and (vector is None or mode == "text"):
        raise InvalidInput("query is empty; say what to look for, or use mode time.")


def _clean(query: str | None) -> str:
    """Return the question as PostgreSQL takes it: no NUL, no lone surrogates, not endless."""
    text = (query or "")[:_MAX_QUERY].replace("\0", " ").strip()
    return text.encode("utf-8", "replace").decode("utf-8")


async def _vector(
    embedder: Embedder | None,
    text: str,
    vector: Sequence[float] | None,
    mode: Mode,
    patience: Patience | None,
) -> tuple[str | None, Space | None, Second | None]:
    """Return the question's vector in pgvector's text form, and what it may be compared with."""
    if mode == "text":
        return None, None, None
    if vector is not None:
        # Nine digits are what a float32 has.
        literal = "[" + ",".join([f"{float(x):.9g}" for x in vector]) + "]"
        return literal, await space_of_given(embedder, len(vector)), None
    return await vectors_of(embedder, text, patience)


async def _facts(db: Database, text: str, where: EpisodeFilter, mode: Mode) -> QuestionFacts:
    async with db.reading() as conn:
        return await _read(conn, db, text, where, mode)


async def _read(
    conn: Connection, db: Database, text: str, where: EpisodeFilter, mode: Mode
) -> QuestionFacts:
    return await search.read_question(
        conn, query=text, namespace=where.namespace or "", ef_search=_width(db, mode)
    )


def _width(db: Database, mode: Mode) -> int:
    return db.settings.hnsw_ef_search or (_EF_VECTOR if mode == "vector" else _EF_FUSED)


async def _answer(
    db: Database, asked: Asked, facts: QuestionFacts | None = None
) -> tuple[list[Hit], bool]:
    """Return the hits, and whether the namespace's words ought to be sampled again."""
    async with db.reading() as conn:
        if facts is None:
            facts = await _read(conn, db, asked.query, asked.where, asked.mode)
        elif facts.iterative and facts.episodes > search.SMALL_NAMESPACE:
            await search.set_width(conn, ef_search=_width(db, asked.mode))
        if facts.expired:
            asked = replace(asked, where=replace(asked.where, alive=True))
        if asked.mode == "vector":
            ranked = await _nearest(conn, asked, facts)
        else:
            ranked = await _fused(conn, asked, facts)
        hits = await hits_of(conn, ranked, asked.k, distinct=asked.mode != "vector")
        if len(hits) < asked.k:
            last = hits[-1].score if hits else 0.0
            but = [hit.episode.id for hit in hits]
            hits += await newest(conn, asked.where, asked.k - len(hits), but=but, score=last)
        hits = without_echoes(hits)
    sampled = facts.sampled_days_ago
    if sampled is None:
        return hits, facts.episodes > search.SMALL_NAMESPACE
    return hits, sampled > _SAMPLE_AGAIN_DAYS


async def _fused(conn: Connection, asked: Asked, facts: QuestionFacts) -> list[Ranked]:
    candidates, question = await gather(conn, asked, facts)
    now_s = asked.now.timestamp()
    timely = weigh_times(asked.times, candidates, asked.now.tzinfo)
    return rank(
        candidates,
        question,
        load_weights(),
        now_s=now_s,
        limit=asked.k + SPARE,
        timely=timely,
    )


async def gather(
    conn: Connection, asked: Asked, facts: QuestionFacts
) -> tuple[Candidates, Question]:
    """Return what the arms found with its neighbours, and the question weighed."""
    small = facts.episodes <= search.SMALL_NAMESPACE
    words, idf, caps = plan_words(facts, small=small)
    worded, near, depth = _SMALL_ARMS if small else _LARGE_ARMS
    worded, near = max(worded, asked.k + SPARE), max(near, asked.k)
    approximate = _approximate(facts, asked)
    sketched = not approximate and _sketched(facts, asked)
    while True:
        found = await search.find_candidates(
            conn,
            where=asked.where,
            words=words,
            idf=[None] * len(words) if small else idf,
            caps=caps,
            facts=facts,
            vector=asked.vector,
            space=asked.space,
            approximate=approximate,
            sketched=sketched,
            worded_limit=worded,
            near_limit=near,
        )
        if not (approximate or sketched) or asked.space is None or found.near >= near:
            break
        # The index gave up on a filter that lets little through; then there is little to scan.
        approximate = sketched = False
    if small:
        idf = idf_of_counts(found.word_counts, facts.episodes)
    ids = found.ids
    if asked.times:
        ids = await timely_ids(conn, asked, words, but=ids)
    if asked.second is not None:
        also = await also_near(
            conn,
            asked.second,
            where=asked.where,
            metric="cosine",
            approximate=approximate,
            limit=near,
        )
        ids = list(dict.fromkeys([*ids, *(row_id for row_id, _ in also)]))
    candidates = await search.describe(
        conn,
        ids,
        where=asked.where,
        words=words,
        vector=asked.vector,
        space=asked.space,
        depth=depth,
        echoes=not facts.echoes,
        characters=READ_CHARACTERS if asked.times else 0,
    )
    candidates = await fill_in(conn, asked.second, candidates)
    return candidates, Question(words=words, idf=idf, mean_terms=facts.mean_terms)


def _approximate(facts: QuestionFacts, asked: Asked) -> bool:
    """Return whether HNSW is quicker than comparing every vector of the namespace."""
    if not facts.iterative or facts.episodes <= search.SMALL_NAMESPACE:
        return False
    # The index walks the whole table's graph: a row of the namespace in `visits` steps.
    visits = max(_LARGE_ARMS[1], asked.k) * max(facts.table_rows, facts.episodes) / facts.episodes
    return 3 * visits < facts.episodes


def _sketched(facts: QuestionFacts, asked: Asked) -> bool:
    """Return whether sketches tell which vectors of the namespace are worth reading."""
    space = asked.space
    return (
        facts.episodes > search.SMALL_NAMESPACE
        and space is not None
        and space.model is not None
        and not space.mixed
        and space.dimensions >= _SKETCHED_DIMENSIONS
        # What has expired is little; other filters may let none of the best through.
        and not {*search.asked_for(asked.where)} - {"alive"}
    )


async def _nearest(conn: Connection, asked: Asked, facts: QuestionFacts) -> list[Ranked]:
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
    if asked.second is not None:
        found += await also_near(
            conn,
            asked.second,
            where=asked.where,
            metric=asked.metric,
            approximate=approximate,
            limit=asked.k,
        )
        nearest: dict[int, float] = {}
        for row_id, distance in sorted(found, key=lambda pair: pair[1]):
            nearest.setdefault(row_id, distance)
        found = list(nearest.items())[: asked.k]
    ranked: list[Ranked] = []
    for place, (row_id, distance) in enumerate(found, 1):
        score = 1 - distance if asked.metric == "cosine" else -distance
        detail = f"{asked.metric} {score:.4f}"
        part = ScorePart(arm="vector", score=score, rank=place, detail=detail)
        ranked.append(Ranked(row_id, score, lambda part=part: [part]))
    return ranked


async def _sample(db: Database, asked: Asked) -> bool:
    """Sample the namespace's words; a server that takes no writes is no reason to fail."""
    namespace = asked.where.namespace or ""
    try:
        async with db.transaction() as conn:
            return await statistics.sample_namespace(conn, namespace, small=search.SMALL_NAMESPACE)
    except AegisError as error:
        _log.warning("memory.sample_failed", extra={"code": error.code, "why": str(error)})
        return False
