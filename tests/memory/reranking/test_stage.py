"""Recall with a second stage: whatever the reranker does, the memories come, and in order."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.memory import Memory
from aegis.memory.models import Episode, Hit, NewEpisode, ScorePart
from aegis.memory.reranking import open_reranker
from aegis.memory.reranking.stage import fuse
from tests.memory.endpoint import Endpoint, Reply, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aegis.config import Settings
    from aegis.db import Database

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
TEXTS = tuple(f"Invoice {i} went to the customer of street {i}" for i in range(12))


def favouring(wanted: str) -> Callable[[dict[str, Any]], Reply]:
    """Return what answers that one text is far better than the others."""

    def answer(body: dict[str, Any]) -> Reply:
        rows = [
            {"index": i, "relevance_score": 0.99 if wanted in text else 0.01}
            for i, text in enumerate(body["documents"])
        ]
        return Reply(body=json.dumps({"results": rows}).encode())

    return answer


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint(url="", answer=favouring("street 3"))) as running:
        yield running


class _Settled:
    """A database with other settings than it was opened with."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self.settings = settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


async def stored(db: Database, endpoint: Endpoint, **changes: Any) -> tuple[Memory, Memory]:
    """Return a memory with the reranker, and one without on the same episodes."""
    values = {"reranker": "http", "reranker_url": endpoint.url, "reranker_budget_ms": 20_000}
    settings = replace(db.settings, **(values | changes))
    plain = Memory(db, None, namespace="default")
    await plain.record_many(
        [NewEpisode(event_type="note", summary=text, timestamp=NOON) for text in TEXTS]
    )
    second = open_reranker(settings)
    other: Any = _Settled(db, settings)
    return Memory(other, None, namespace="default", reranker=second), plain


def texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.episode.summary for hit in hits]


async def test_the_reranker_lifts_what_it_thinks_best_from_below_k(
    db: Database, endpoint: Endpoint
) -> None:
    memory, plain = await stored(db, endpoint)
    assert texts(await plain.recall("invoice of the customer", k=2)) == [TEXTS[11], TEXTS[10]]
    hits = await memory.recall("invoice of the customer", k=2)
    assert texts(hits)[0] == TEXTS[3]
    assert hits.warnings == []
    assert len(endpoint.asked[0]["documents"]) == len(TEXTS)
    part = next(part for part in hits[0].parts if part.arm == "rerank")
    assert (part.rank, part.detail) == (1, "0.99")
    assert "rank 1 for the reranker (0.99)" in hits[0].why
    for hit in hits:
        assert hit.score == pytest.approx(math.fsum(part.score for part in hit.parts))


async def test_its_word_is_weighed_and_weight_nothing_changes_nothing(
    db: Database, endpoint: Endpoint
) -> None:
    memory, plain = await stored(db, endpoint, reranker_weight=0.0)
    hits = await memory.recall("invoice of the customer", k=12)
    assert texts(hits) == texts(await plain.recall("invoice of the customer", k=12))


async def test_only_the_top_is_read_and_the_rest_still_comes(
    db: Database, endpoint: Endpoint
) -> None:
    memory, _ = await stored(db, endpoint, reranker_top=5)
    endpoint.answer = favouring("street 8")
    hits = await memory.recall("invoice of the customer", k=12)
    assert len(endpoint.asked[0]["documents"]) == 5
    assert sorted(texts(hits)) == sorted(TEXTS)
    assert texts(hits)[0] == TEXTS[8]
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


async def test_what_only_fills_up_is_not_read_and_stays_last(
    db: Database, endpoint: Endpoint
) -> None:
    memory, _ = await stored(db, endpoint)
    hits = await memory.recall("street 4 street 7", k=12)
    found = [hit for hit in hits if hit.parts[0].arm != "fill"]
    assert len(endpoint.asked[0]["documents"]) == len(found)
    assert len(hits) == 12
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(status=429), "HTTP 429"),
        (Reply(status=500), "HTTP 500"),
        (Reply(status=401), "refuses the key"),
        (Reply(hang_up=True), "cannot be reached"),
        (Reply(body=b"oops"), "no usable answer"),
        (Reply(body=b'{"results": []}'), "0 scores for 12 texts"),
    ],
)
async def test_a_reranker_that_fails_leaves_the_order_of_the_first_stage(
    db: Database, endpoint: Endpoint, reply: Reply, says: str
) -> None:
    memory, plain = await stored(db, endpoint)
    endpoint.first = [reply]
    hits = await memory.recall("invoice of the customer", k=5)
    assert texts(hits) == texts(await plain.recall("invoice of the customer", k=12))[:5]
    (warning,) = hits.warnings
    assert "order without the reranker" in warning
    assert says in warning
    assert not [part for hit in hits for part in hit.parts if part.arm == "rerank"]


async def test_a_reranker_that_never_answers_costs_its_budget_and_then_nothing(
    db: Database, endpoint: Endpoint
) -> None:
    # The server holds every answer back until the test is over: were the budget no budget, this
    # test would not end.
    memory, plain = await stored(db, endpoint, reranker_budget_ms=20)
    endpoint.answer = lambda _: Reply(stall=True)
    expected = texts(await plain.recall("invoice of the customer", k=12))[:5]
    for _ in range(3):
        hits = await memory.recall("invoice of the customer", k=5)
        assert texts(hits) == expected
        assert "within 20 ms (AEGIS_RERANKER_BUDGET_MS)" in hits.warnings[0]
    asked = len(endpoint.asked)
    hits = await memory.recall("invoice of the customer", k=5)
    assert texts(hits) == expected
    assert "left alone for 30 s" in hits.warnings[0]
    assert len(endpoint.asked) == asked
    block = await memory.context("invoice of the customer")
    assert block.ids
    assert "left alone" in block.warnings[0]


async def test_other_modes_keep_the_order_that_they_promise(
    db: Database, endpoint: Endpoint
) -> None:
    memory, plain = await stored(db, endpoint)
    assert texts(await memory.recall(mode="time", k=3)) == texts(
        await plain.recall(mode="time", k=3)
    )
    assert endpoint.asked == []


async def test_a_reranker_of_ones_own_is_held_to_the_same_promises(
    db: Database, settings: Settings
) -> None:
    class Odd:
        async def score(self, question: str, texts: Sequence[str]) -> list[float]:
            return [math.nan] * len(texts)

        async def aclose(self) -> None: ...

    memory = Memory(db, None, namespace="default", reranker=Odd())
    await memory.record_many([NewEpisode(event_type="note", summary=text) for text in TEXTS])
    hits = await memory.recall("invoice", k=3)
    assert len(hits) == 3
    assert "no usable scores" in hits.warnings[0]


def _hit(number: int, score: float) -> Hit:
    episode = Episode(
        id=number,
        namespace="n",
        session_id=None,
        timestamp=NOON,
        event_type="note",
        summary=f"text {number}",
        details=None,
        context=None,
        importance="medium",
        tags=[],
        related_memories=[],
        decision=None,
        metadata=None,
        source_id=None,
        embedding_model=None,
        embedded=False,
        created_at=NOON,
        updated_at=None,
    )
    part = ScorePart(arm="words", score=score, rank=number, detail="text")
    return Hit(episode=episode, score=score, parts=[part])


_scored = st.lists(
    st.tuples(st.floats(-50, 50), st.floats(allow_nan=False, allow_infinity=False)),
    min_size=2,
    max_size=20,
)


@given(_scored, st.floats(0, 10))
def test_fusion_keeps_every_hit_and_its_parts_sum_to_its_score(
    scored: list[tuple[float, float]], weight: float
) -> None:
    hits = [_hit(number, ours) for number, (ours, _) in enumerate(scored, 1)]
    fused = fuse(hits, [theirs for _, theirs in scored], weight=weight)
    assert [hit.episode.id for hit in fused] == [hit.episode.id for hit in hits]
    for hit in fused:
        assert math.isfinite(hit.score)
        assert hit.score == pytest.approx(math.fsum(part.score for part in hit.parts))


@given(_scored)
def test_the_scale_of_a_reranker_does_not_matter(scored: list[tuple[float, float]]) -> None:
    hits = [_hit(number, ours) for number, (ours, _) in enumerate(scored, 1)]
    theirs = [max(-1e6, min(1e6, score)) for _, score in scored]
    once = [hit.score for hit in fuse(hits, theirs, weight=1)]
    again = [hit.score for hit in fuse(hits, [4 * score for score in theirs], weight=1)]
    assert once == pytest.approx(again)


def test_of_equal_memories_the_reranker_decides_and_a_far_better_one_stays_ahead() -> None:
    equal = [_hit(1, 1.0), _hit(2, 1.0), _hit(3, -8.0)]
    fused = {hit.episode.id: hit.score for hit in fuse(equal, [0.1, 0.9, 0.5], weight=1)}
    assert fused[2] > fused[1] > fused[3]
    same = fuse([_hit(1, 1.0), _hit(2, 1.0)], [0.1, 0.9], weight=1)
    assert same[1].score > same[0].score
