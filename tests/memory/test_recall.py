"""Recall on small namespaces: what it finds, how it explains, what it refuses."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.db import execute, fetch_value
from aegis.errors import InvalidInput
from aegis.memory import Memory
from aegis.memory.models import NewEpisode
from aegis.memory.store.search import lexeme_query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection, Database
    from aegis.memory.embedding import Embedder
    from aegis.memory.models import Hit

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)

NOTES = (
    "Deployed the billing service to production",
    "The invoice of March was sent to the customer twice",
    "Rotated the API keys of the staging cluster",
    "Anna prefers green tea over coffee",
    "The nightly backup failed because the disk was full",
    "Wrote the quarterly report about revenue",
)


async def _record(memory: Memory, texts: Sequence[str] = NOTES, **fields: Any) -> list[int]:
    episodes = [
        NewEpisode(event_type="note", summary=text, timestamp=NOON + timedelta(minutes=i), **fields)
        for i, text in enumerate(texts)
    ]
    return (await memory.record_many(episodes)).ids


def _texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.episode.summary for hit in hits]


async def test_recall_finds_by_words_and_by_meaning(memory: Memory) -> None:
    await _record(memory)
    assert _texts(await memory.recall("Which invoice was sent?", k=1)) == [NOTES[1]]
    assert _texts(await memory.recall("What does Anna like to drink?", k=1)) == [NOTES[3]]
    assert _texts(await memory.recall("storage ran out of space", k=1)) == [NOTES[4]]


async def test_every_part_of_the_score_is_named_and_they_sum_to_it(memory: Memory) -> None:
    await _record(memory)
    hits = await memory.recall("Which invoice was sent to whom?", k=6)
    for hit in hits:
        assert hit.score == pytest.approx(math.fsum(part.score for part in hit.parts))
    parts = {part.arm: part for part in hits[0].parts}
    assert parts["words"].detail == "invoic, sent"
    assert parts["words"].rank == 1
    assert (parts["vector"].detail or "").startswith("similarity 0.")


@pytest.mark.parametrize("k", [1, 3, 6, 9])
@pytest.mark.parametrize("query", ["invoice", "zyzzyva", "the of and"])
async def test_exactly_k_come_back_while_there_are_k(
    plain_memory: Memory, query: str, k: int
) -> None:
    await _record(plain_memory)
    hits = await plain_memory.recall(query, k=k)
    assert len(hits) == min(k, len(NOTES)) == len({hit.episode.id for hit in hits})
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_what_no_arm_finds_is_filled_with_the_newest(plain_memory: Memory) -> None:
    await _record(plain_memory)
    hits = await plain_memory.recall("invoice", k=3)
    assert _texts(hits) == [NOTES[1], NOTES[5], NOTES[4]]
    assert [hit.parts[0].arm for hit in hits[1:]] == ["fill", "fill"]


async def test_a_new_memory_is_found_at_once(memory: Memory) -> None:
    await _record(memory)
    episode = await memory.record("note", "The zeppelin is moored in Friedrichshafen")
    assert [hit.episode.id for hit in await memory.recall("zeppelin", k=1)] == [episode.id]


async def test_an_answer_is_found_by_the_question_before_it(plain_memory: Memory) -> None:
    talk = ("Where did you put the bicycle?", "Behind the shed, next to the ladder")
    other = [f"We talked about item number {i} for a while" for i in range(30)]
    await _record(plain_memory, other, session_id="a")
    await _record(plain_memory, talk, session_id="b")
    await _record(plain_memory, other, session_id="c")
    assert set(_texts(await plain_memory.recall("where is the bicycle", k=2))) == set(talk)


async def test_neighbours_of_another_session_lend_nothing(plain_memory: Memory) -> None:
    await _record(plain_memory, ["Where did you put the bicycle?"], session_id="a")
    await _record(plain_memory, ["Behind the shed"], session_id="b")
    hits = await plain_memory.recall("bicycle", k=2)
    assert [hit.parts[0].arm for hit in hits] == ["words", "fill"]


async def test_a_decision_is_found_by_what_was_decided(plain_memory: Memory) -> None:
    await plain_memory.record("decision", "Chose the database", decision="Redis would lose data")
    await _record(plain_memory)
    assert _texts(await plain_memory.recall("redis", k=1)) == ["Chose the database"]


async def test_memories_without_a_vector_are_found_by_their_words(
    db: Database, memory: Memory, plain_memory: Memory
) -> None:
    await _record(plain_memory, ["The unembedded walrus"])
    await _record(memory)
    assert _texts(await memory.recall("walrus", k=1)) == ["The unembedded walrus"]
    async with db.transaction() as conn:
        await execute(conn, "UPDATE episodic_memory SET embedding_model = NULL, embedding = NULL")
    assert len(await memory.recall("walrus", k=7)) == 7


async def test_recall_answers_by_words_while_the_embedder_is_away(
    db: Database, absent_embedder: Embedder, plain_memory: Memory
) -> None:
    await _record(plain_memory)
    memory = Memory(db, absent_embedder, namespace="default")
    assert _texts(await memory.recall("invoice", k=1)) == [NOTES[1]]
    with pytest.raises(InvalidInput, match="no embedder answers") as error:
        await memory.recall("invoice", mode="vector")
    assert error.value.code == "no_vector"


async def test_vectors_of_different_models_are_never_compared(
    db: Database, embedder: Embedder
) -> None:
    vector = (await embedder.embed(["green tea"]))[0].tolist()
    ours = Memory(db, embedder, namespace="default")
    theirs = Memory(db, None, namespace="default")
    await theirs.record("note", "same numbers, other model", embedding=vector, embedding_model="x")
    await _record(ours)
    hits = await ours.recall(mode="vector", vector=vector, k=7)
    assert _texts(hits)[0] == NOTES[3]
    assert (_texts(hits)[-1], hits[-1].parts[0].arm) == ("same numbers, other model", "fill")
    hybrid = await ours.recall("green tea", vector=vector, k=7)
    other = next(hit for hit in hybrid if hit.episode.embedding_model == "x")
    assert "similarity" not in str(other.parts)


async def test_a_vector_meets_only_rows_of_its_own_length(db: Database, memory: Memory) -> None:
    await _record(memory)
    async with db.transaction() as conn:
        await execute(
            conn,
            """
            INSERT INTO episodic_memory (event_type, summary, embedding)
            SELECT 'old', 'adopted ' || i, array_fill(1::real + i, ARRAY[1536])::vector
            FROM generate_series(1, 3) AS i
            """,
        )
    hits = await memory.recall(mode="vector", vector=[1.0] * 1536, k=9)
    assert [hit.parts[0].arm for hit in hits] == ["vector"] * 3 + ["fill"] * 6
    assert {hit.episode.event_type for hit in hits[:3]} == {"old"}


@pytest.mark.parametrize(
    ("metric", "operator"), [("cosine", "<=>"), ("l2", "<->"), ("inner_product", "<#>")]
)
async def test_each_metric_orders_as_its_operator(
    db: Database, memory: Memory, metric: Any, operator: str
) -> None:
    ids = await _record(memory)
    vector = [math.sin(i) * (1 + i % 3) for i in range(384)]
    async with db.transaction() as conn:
        cursor = await conn.execute(
            f"SELECT id FROM episodic_memory ORDER BY embedding {operator} %s::vector",  # pyright: ignore
            [str(vector)],
        )
        expected = [row[0] for row in await cursor.fetchall()]
    hits = await memory.recall(mode="vector", metric=metric, vector=vector, k=len(ids))
    assert [hit.episode.id for hit in hits] == expected


async def test_mode_time_returns_the_newest_first(plain_memory: Memory) -> None:
    await _record(plain_memory)
    assert _texts(await plain_memory.recall(mode="time", k=4)) == list(NOTES[:1:-1])


async def test_mode_text_uses_no_vectors(memory: Memory) -> None:
    await _record(memory)
    hits = await memory.recall("invoice of the customer", mode="text", k=6)
    assert _texts(hits)[0] == NOTES[1]
    assert all(part.arm != "vector" for hit in hits for part in hit.parts)


async def test_what_is_said_twice_makes_room_for_what_is_not(plain_memory: Memory) -> None:
    await _record(plain_memory, ["the tests are red"] * 5 + ["the tests are green again"])
    both = await plain_memory.recall("tests", k=2)
    assert len(set(_texts(both))) == 2
    assert len(await plain_memory.recall("tests", k=6)) == 6


@pytest.mark.parametrize(
    "query",
    [
        "x" * 100_000,
        "word " * 20_000,
        "the and of",
        "it's \"quoted\" & | ! <-> :* ( ) \\ '' \\' $1 %s %(x)s {}",
        "'; DROP TABLE episodic_memory; --",
        "nul \0 inside",
        "🦜🎉 émoji ünïcode 日本語 \u200f",
        "half a pair \ud800",
        "C:\\path\\to\\file http://a.b/c?d=e user@example.org 1.5e3 -7 a-b-c",
    ],
)
async def test_hostile_questions_are_only_questions(memory: Memory, query: str) -> None:
    await _record(memory)
    for mode in ("hybrid", "text"):
        assert len(await memory.recall(query, k=6, mode=mode)) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": ""}, "query is empty"),
        ({"query": " \n\t"}, "query is empty"),
        ({"query": "\0"}, "query is empty"),
        ({"query": None}, "query is empty"),
        ({"query": None, "vector": [1.0], "mode": "text"}, "query is empty"),
        ({"query": "x", "k": 0}, "k is 0"),
        ({"query": "x", "k": 1001}, "k is 1001"),
        ({"query": "x", "k": True}, "k is True"),
        ({"query": "x", "mode": "magic"}, "mode"),
        ({"query": "x", "metric": "hamming"}, "metric"),
        ({"query": "x", "vector": []}, "vector"),
        ({"query": "x", "vector": [float("nan")]}, "vector"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    plain_memory: Memory, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await plain_memory.recall(**arguments)


@pytest.mark.parametrize("lexeme", ["it's", "a\\b", "\\", "'", "''", "\\'", "a & b | !c", "日本"])
async def test_a_lexeme_asks_for_itself_whatever_it_holds(conn: Connection, lexeme: str) -> None:
    found = await fetch_value(
        conn,
        "SELECT array_to_tsvector(ARRAY[%(lexeme)s]) @@ %(query)s::tsquery",
        {"lexeme": lexeme, "query": lexeme_query(lexeme)},
    )
    assert found is True
