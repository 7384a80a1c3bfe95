"""Recall: find what answers a question, rank it, say why.

Five statements: the question in the terms of the namespace, what its words find, what its vector
finds, what the ranking needs to know of it, the winners' rows. Between them plain arithmetic
(`ranking`). The embedder is asked beside the first two, and when it fails the other arms answer.
There is no transaction: each statement sees what is committed either way, and its two round trips
cost a tenth of an answer.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis.errors import AegisError, InvalidInput
from aegis.memory import validate
from aegis.memory.arms import Asked, Reading, gather, nearest, read
from aegis.memory.beside import beside
from aegis.memory.dates import understand
from aegis.memory.echoes import without_echoes
from aegis.memory.hits import SPARE, hits_of, newest
from aegis.memory.models import Hits, ScorePart
from aegis.memory.ranking import Ranked, load_weights, rank
from aegis.memory.spaces import disagreement, raise_disagreement, space_of_given, vectors_of
from aegis.memory.store import search, statistics
from aegis.memory.timing import weigh_times

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection, Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.embedding.patience import Patience
    from aegis.memory.models import EpisodeFilter, Hit, Metric, Mode
    from aegis.memory.spaces import Second
    from aegis.memory.store.search import Space

__all__ = ["MAX_K", "recall"]

MAX_K = 1_000

#: Longer questions are cut here: what follows adds words, not meaning.
_MAX_QUERY = 20_000
_SAMPLE_AGAIN_DAYS = 1.0

#: How wide HNSW is searched: a fused answer does not hang on the last neighbour, a pure one does.
_EF_FUSED, _EF_VECTOR = 64, 150

_NO_VECTOR = "The embedder did not answer in time; what was found was found by words."

_log = logging.getLogger("aegis.memory")


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
    reading: Reading | None = None
    if embedder is None or vector is not None or mode == "text":
        found, space, second = await _vector(embedder, text, vector, mode, patience)
    else:
        # What the database says of the words does not wait for the vector.
        async with beside(_read_beside(db, text, where, mode, k)) as under_way:
            found, space, second = await _vector(embedder, text, vector, mode, patience)
            reading = await under_way
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
    hits, stale = await _answer(db, asked, reading)
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


async def _read_beside(
    db: Database, text: str, where: EpisodeFilter, mode: Mode, k: int
) -> Reading:
    async with db.reading() as conn:
        return await read(conn, query=text, where=where, mode=mode, k=k, ef_search=_width(db, mode))


def _width(db: Database, mode: Mode) -> int:
    return db.settings.hnsw_ef_search or (_EF_VECTOR if mode == "vector" else _EF_FUSED)


async def _answer(
    db: Database, asked: Asked, reading: Reading | None = None
) -> tuple[list[Hit], bool]:
    """Return the hits, and whether the namespace's words ought to be sampled again."""
    async with db.reading() as conn:
        if reading is None:
            reading = await read(
                conn,
                query=asked.query,
                where=asked.where,
                mode=asked.mode,
                k=asked.k,
                ef_search=_width(db, asked.mode),
            )
        elif reading.facts.iterative and not reading.small:
            await search.set_width(conn, ef_search=_width(db, asked.mode))
        asked = replace(asked, where=reading.where)
        if asked.mode == "vector":
            ranked = _by_distance(await nearest(conn, asked, reading.facts), asked.metric)
        else:
            ranked = await _fused(conn, asked, reading)
        hits = await hits_of(conn, ranked, asked.k, distinct=asked.mode != "vector")
        if len(hits) < asked.k:
            last = hits[-1].score if hits else 0.0
            but = [hit.episode.id for hit in hits]
            hits += await newest(conn, asked.where, asked.k - len(hits), but=but, score=last)
        hits = without_echoes(hits)
    sampled = reading.facts.sampled_days_ago
    if sampled is None:
        return hits, not reading.small
    return hits, sampled > _SAMPLE_AGAIN_DAYS


async def _fused(conn: Connection, asked: Asked, reading: Reading) -> list[Ranked]:
    candidates = await gather(conn, asked, reading)
    return rank(
        candidates,
        reading.question,
        load_weights(),
        now_s=asked.now.timestamp(),
        limit=asked.k + SPARE,
        timely=weigh_times(asked.times, candidates, asked.now.tzinfo),
    )


def _by_distance(found: Sequence[tuple[int, float]], metric: Metric) -> list[Ranked]:
    ranked: list[Ranked] = []
    for place, (row_id, distance) in enumerate(found, 1):
        score = 1 - distance if metric == "cosine" else -distance
        detail = f"{metric} {score:.4f}"
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
