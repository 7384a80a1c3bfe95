"""Recall of questions that name a time: what it gains, what it says, what it never costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import InvalidInput
from aegis.memory import Memory, timing
from aegis.memory.models import NewEpisode
from aegis.memory.store import search_time
from tests.memory.conftest import START

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import Hit

ASKED = datetime(2024, 6, 19, 15, 30, tzinfo=UTC)


async def record(memory: Memory, said: dict[str, str], **fields: Any) -> list[int]:
    """Record each text at noon of its day (`said` maps days to texts)."""
    episodes = [
        NewEpisode(
            event_type="note",
            summary=text,
            timestamp=datetime.fromisoformat(f"{day}T12:00:00+00:00"),
            **fields,
        )
        for day, text in said.items()
    ]
    return (await memory.record_many(episodes)).ids


DINNERS = {
    "2023-02-10": "Had dinner with Maria at the harbour",
    "2023-05-12": "Had dinner with Maria at the market",
    "2023-09-01": "Had dinner with Maria at the station",
    "2024-05-20": "Had dinner with Maria at the museum",
}


def days(hits: Sequence[Hit]) -> list[str]:
    return [f"{hit.episode.timestamp:%Y-%m-%d}" for hit in hits]


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("Where did I have dinner with Maria in May 2023?", "2023-05-12"),
        ("Where did I have dinner with Maria last May?", "2024-05-20"),
        ("Where did I have dinner with Maria on 10 February 2023?", "2023-02-10"),
        ("Where did I have dinner with Maria in September 2023?", "2023-09-01"),
        ("Where did I have dinner with Maria 30 days ago?", "2024-05-20"),
    ],
)
async def test_of_equal_answers_the_one_from_the_time_that_is_named_comes_first(
    memory: Memory, question: str, best: str
) -> None:
    await record(memory, DINNERS)
    hits = await memory.recall(question, k=4, asked_at=ASKED)
    assert days(hits)[0] == best
    assert len(hits) == 4


async def test_the_same_words_mean_another_time_when_they_are_asked_later(memory: Memory) -> None:
    await record(memory, DINNERS)
    question = "Where did I have dinner with Maria last May?"
    early = await memory.recall(question, k=1, asked_at=datetime(2023, 7, 1, tzinfo=UTC))
    late = await memory.recall(question, k=1, asked_at=datetime(2024, 7, 1, tzinfo=UTC))
    assert (days(early), days(late)) == (["2023-05-12"], ["2024-05-20"])


async def test_why_names_the_time_that_was_understood(memory: Memory) -> None:
    await record(memory, DINNERS)
    (hit,) = await memory.recall("dinner with Maria in May 2023", k=1, asked_at=ASKED)
    part = next(part for part in hit.parts if part.arm == "time")
    assert (part.detail, part.rank) == ("2023-05-01 to 2023-05-31 (May 2023)", 1)
    assert "by its time (2023-05-01 to 2023-05-31: May 2023)" in hit.why
    assert hit.score == pytest.approx(sum(p.score for p in hit.parts))


async def test_what_a_memory_tells_of_is_found_by_when_it_happened(memory: Memory) -> None:
    said = {
        "2023-08-15": "I went to the parade yesterday, and it was loud",
        "2023-08-30": "I went to the parade, and it was loud",
    }
    await record(memory, said)
    hits = await memory.recall("Who went to the parade on 14 August 2023?", k=2, asked_at=ASKED)
    assert days(hits) == ["2023-08-15", "2023-08-30"]


async def test_a_question_of_nothing_but_a_time_is_answered_from_that_time(
    plain_memory: Memory,
) -> None:
    said = {f"2024-06-{day:02}": f"Wrote chapter {day}" for day in range(1, 19)}
    await record(plain_memory, said)
    hits = await plain_memory.recall("What happened on 5 June 2024?", k=1, asked_at=ASKED)
    assert days(hits) == ["2024-06-05"]
    block = await plain_memory.context("What happened on 5 June 2024?", asked_at=ASKED)
    assert "Wrote chapter 5" in block.text.splitlines()[0]


async def test_a_time_is_a_wish_and_no_filter(memory: Memory) -> None:
    await record(memory, DINNERS)
    hits = await memory.recall("dinner at the harbour in 2019", k=4, asked_at=ASKED)
    assert days(hits)[0] == "2023-02-10"
    assert len(hits) == 4
    assert not [part for hit in hits for part in hit.parts if part.arm == "time"]


async def test_a_question_without_a_time_asks_the_database_nothing_about_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(memory, DINNERS)
    expected = days(await memory.recall("dinner with Maria", k=4, asked_at=ASKED))

    async def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("asked for times")

    monkeypatch.setattr(search_time, "find_timely", refuse)
    hits = await memory.recall("dinner with Maria", k=4, asked_at=ASKED)
    assert days(hits) == expected
    with pytest.raises(AssertionError, match="asked for times"):
        await memory.recall("dinner with Maria in May 2023", asked_at=ASKED)


async def test_the_arm_of_time_keeps_to_the_filter_and_the_namespace(plain_memory: Memory) -> None:
    await record(plain_memory, {"2024-06-05": "kept"}, session_id="a", tags=["x"])
    await record(plain_memory, {"2024-06-05": "other session"}, session_id="b")
    await record(plain_memory, {"2024-06-05": "elsewhere"}, namespace="other", session_id="a")
    question = "What happened on 5 June 2024?"
    hits = await plain_memory.recall(question, k=5, asked_at=ASKED, session_id="a")
    assert [hit.episode.summary for hit in hits] == ["kept"]
    hits = await plain_memory.recall(question, k=5, asked_at=ASKED, tags=["x"])
    assert [hit.episode.summary for hit in hits] == ["kept"]
    until = datetime(2024, 6, 5, tzinfo=UTC)
    assert await plain_memory.recall(question, k=5, asked_at=ASKED, until=until) == []


async def test_an_echo_is_left_to_the_other_arms(plain_memory: Memory) -> None:
    original = await plain_memory.record(
        "note", "Sold the boat", timestamp=datetime(2024, 6, 5, 12, tzinfo=UTC)
    )
    echo = await plain_memory.record(
        "note", "sold the boat!", timestamp=datetime(2024, 6, 5, 13, tzinfo=UTC)
    )
    assert (echo.metadata or {})["echo_of"] == [original.id]
    hits = await plain_memory.recall("What happened on 5 June 2024?", k=1, asked_at=ASKED)
    assert [hit.episode.id for hit in hits] == [original.id]


async def test_asked_at_needs_a_zone_and_mode_vector_takes_no_notice_of_times(
    memory: Memory, embedder: Embedder
) -> None:
    await record(memory, DINNERS)
    with pytest.raises(InvalidInput, match="asked_at"):
        await memory.recall("dinner", asked_at=datetime(2024, 1, 1))  # noqa: DTZ001
    hits = await memory.recall("dinner in May 2023", mode="vector", k=4, asked_at=ASKED)
    assert {part.arm for hit in hits for part in hit.parts} == {"vector"}


async def test_in_a_large_namespace_a_day_is_found_whatever_the_words(
    large_db: Database, embedder: Embedder
) -> None:
    memory = Memory(large_db, embedder, namespace="default")
    later = START + timedelta(days=70)
    for number, text in enumerate(("Fed the owl", "Oiled the gate", "Lost a glove")):
        at = later + timedelta(hours=number)
        await memory.record("note", text, timestamp=at, session_id="later")
    asked = START + timedelta(days=100)
    hits = await memory.recall(f"What happened on {later:%d %B %Y}?", k=3, asked_at=asked)
    assert {hit.episode.timestamp.date() for hit in hits} == {later.date()}


async def test_a_long_time_is_looked_at_in_all_its_parts(
    plain_memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "_ROWS", 24)
    first = {"2023-01-02": "Wrote about ravens"}
    rest = {
        f"2023-{month:02}-{day:02}": f"Wrote page {month}-{day}"
        for month in range(3, 13)
        for day in range(1, 29)
    }
    await record(plain_memory, first | rest, session_id="s")
    async with plain_memory.database.transaction() as conn:
        spans = [(datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))]
        found = await search_time.find_timely(
            conn,
            where=plain_memory._filter(None, None, None, None, (), (), None),  # pyright: ignore[reportPrivateUsage]
            parts=timing._cut(spans),  # pyright: ignore[reportPrivateUsage]
            rows=1,
            words=["'raven'"],
            vector=None,
            space=None,
            limit=1,
        )
    texts = [(await plain_memory.get(row_id)).summary for row_id in found]
    assert "Wrote about ravens" in texts
