"""Recall is a function of what is stored: no order of recording, and no order of pages, changes it.

Of two that say the same the one recorded first is the original; that alone hangs on the order, and
texts are told apart here.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aegis.memory import Memory
from aegis.memory.echoes import normalised
from aegis.memory.models import NewEpisode
from tests.memory.change.conftest import WordEmbedder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Database

pytestmark = pytest.mark.servers("18", "16")

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MODEL = "stable"
QUESTIONS = ("who drank tea", "tea on 1 May 2026", "the of and")
MODES = ("hybrid", "text", "vector", "time")
slow = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
#: Few words, so that many texts answer equally well.
TEXTS = st.lists(
    st.lists(st.sampled_from(["tea", "cat", "boat", "rain", "snow"]), min_size=1, max_size=4).map(
        " ".join
    ),
    min_size=1,
    max_size=45,
    unique_by=normalised,
)
ALIKE = [" ".join(words) for words in itertools.permutations(["tea", "cat", "boat", "rain"])] + [
    " ".join(words) for words in itertools.permutations(["tea", "cat", "boat"])
]


def episodes(texts: Sequence[str], *, minutes: int = 90) -> list[NewEpisode]:
    return [
        NewEpisode(
            event_type="note",
            summary=text,
            source_id=str(n),
            timestamp=NOON - timedelta(minutes=minutes * n),
            session_id=f"s{n // 4}" if n % 7 else None,
            importance="high" if n % 5 == 0 else "medium",
        )
        for n, text in enumerate(texts)
    ]


async def answers(memory: Memory) -> list[Any]:
    """Return what each question finds in each mode, told by what does not hang on ids."""
    found: list[Any] = []
    for question, mode, k in itertools.product(QUESTIONS, MODES, (10,)):
        if mode == "vector" and question == QUESTIONS[2]:
            continue
        hits = await memory.recall(question, mode=mode, k=k, asked_at=NOON)  # pyright: ignore
        found.append(
            [(hit.episode.source_id, hit.score, hit.why, tuple(hit.parts)) for hit in hits]
        )
    return found


@pytest.fixture
def fresh(db: Database) -> Callable[[], Memory]:
    numbers = itertools.count()
    embedder = WordEmbedder(MODEL, 12)
    return lambda: Memory(db, embedder, namespace=f"n{next(numbers)}")


@slow
@given(texts=TEXTS, seed=st.integers(0, 99))
@example(texts=ALIKE, seed=3)
async def test_the_order_of_recording_makes_no_difference(
    fresh: Callable[[], Memory], texts: list[str], seed: int
) -> None:
    stored = episodes(texts)
    one, other = fresh(), fresh()
    await one.record_many(stored)
    shuffled = Random(seed).sample(stored, len(stored))
    await other.record_many(shuffled[::2])
    await other.record_many(shuffled[1::2])
    assert await answers(other) == await answers(one)


async def test_the_order_of_pages_makes_no_difference(
    db: Database, fresh: Callable[[], Memory]
) -> None:
    memory = fresh()
    # Some of one time, and some that say the same: ids tell them apart.
    stored = episodes([*ALIKE, *ALIKE[:12], "tea", "tea"], minutes=0) + episodes(ALIKE[:9])
    await memory.record_many([NewEpisode(**_without_source(e), source_id=None) for e in stored])

    async def found() -> list[Any]:
        return [
            [(hit.episode.id, hit.score, tuple(hit.parts)) for hit in hits]
            for question, mode in itertools.product(QUESTIONS[:2], MODES)
            for hits in [await memory.recall(question, mode=mode, asked_at=NOON)]  # pyright: ignore
        ]

    before = await found()
    for order in ("id DESC", "md5(id::text)"):
        async with db.transaction() as conn:
            cursor = await conn.execute(f"SELECT id FROM episodic_memory ORDER BY {order}")  # pyright: ignore
            for (row_id,) in await cursor.fetchall():
                # A new version of the row, behind all that there are.
                await conn.execute(
                    "UPDATE episodic_memory SET details = '{}' WHERE id = %s", [row_id]
                )
        async with db.connection() as conn:
            await conn.execute("VACUUM (FULL, ANALYZE) episodic_memory")
        assert await found() == before


def _without_source(episode: NewEpisode) -> dict[str, Any]:
    names = ("event_type", "summary", "timestamp", "session_id", "importance")
    return {name: getattr(episode, name) for name in names}
