"""What was believed on a day is found by indexes, and is what reading everything would find."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aegis.db import Database
from aegis.errors import AegisError
from aegis.memory import Memory
from aegis.memory.store import fact_reading
from tests.memory.filling import indexed_afterwards
from tests.memory.past import FILL, LIST, MODEL, ROWS, SEARCH, START, slowly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from aegis.config import Settings
    from aegis.db import Connection
    from aegis.memory.embedding import Embedder
    from tests.conftest import Cluster

pytestmark = pytest.mark.servers("18", "16")


@pytest.fixture(scope="module")
def long_past(cluster: Cluster, template: str) -> Iterator[str]:
    """A database of facts with a past, in a namespace too large to be read; copied, not used."""
    name = f"facts_past_{cluster.major}"
    dsn = cluster.create_database(name, template)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        params = {"namespace": "default", "rows": ROWS, "model": MODEL, "start": START}
        with indexed_afterwards(conn, "idx_semantic_embedding_minilm"):
            conn.execute(FILL[0].replace(" % ", " %% ").encode(), params)
            for statement in FILL[1:]:
                conn.execute(statement.encode())
        conn.execute("VACUUM (ANALYZE) semantic_memory")
        conn.execute("VACUUM (ANALYZE) fact_history")
    yield name
    cluster.admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # pyright: ignore


@pytest.fixture
async def past_db(cluster: Cluster, long_past: str, settings: Settings) -> AsyncIterator[Database]:
    with cluster.database(long_past) as dsn:
        async with await Database.open(dsn, settings, min_size=1) as database:
            yield database


async def some_fact(conn: Connection, place: int) -> tuple[str, str]:
    (row,) = await slowly(
        conn,
        "SELECT concept || ' ' || content, embedding::text FROM semantic_memory "
        "ORDER BY id OFFSET %(place)s LIMIT 1",
        place=place,
    )
    return row


@pytest.mark.parametrize("by_vector", [True, False], ids=["both arms", "words"])
async def test_the_past_of_a_large_namespace_is_what_reading_all_of_it_finds(
    past_db: Database, monkeypatch: pytest.MonkeyPatch, by_vector: bool
) -> None:
    used: list[object] = []
    original = fact_reading.search_past

    async def watched(*args: Any, **kwargs: Any) -> Any:
        used.append(found := await original(*args, **kwargs))
        return found

    monkeypatch.setattr(fact_reading, "search_past", watched)
    chance = random.Random(3)
    shared = asked = 0
    for days in (150, 200, 300, 400, 599, 630, 700):
        as_of = START + timedelta(days=days)
        valid_at = chance.choice([as_of, None, as_of - timedelta(days=25)])
        for _ in range(4):
            async with past_db.transaction() as conn:
                place = chance.randrange(int(ROWS * 0.9 * min(days, 600) / 600))
                said, vector = await some_fact(conn, place)
                # What it said formerly, and what another one said that is gone.
                query = f"what of {said} old{place - place % 10 + 3}?"
                asked_for: dict[str, Any] = {
                    "namespace": "default",
                    "query": query,
                    "vector": vector if by_vector else None,
                    "limit": 10,
                    "as_of": as_of,
                    "valid_at": valid_at,
                }
                model = MODEL if by_vector else None
                found = await fact_reading.search_facts(conn, embedding_model=model, **asked_for)
                exact = await slowly(conn, SEARCH, model=model, **asked_for)
                facts = await fact_reading.get_facts(
                    conn, [row[0] for row in found], namespace="default", as_of=as_of
                )
            assert found[0][0] == exact[0][0]
            assert {fact.id for fact in facts} == {row[0] for row in found}
            scores = {row[0]: row[1:] for row in exact}
            for row in found:
                if row[0] in scores:
                    assert row[1:] == pytest.approx(scores[row[0]], abs=1e-6)
            shared += len({row[0] for row in found} & scores.keys())
            asked += len(exact)
    assert len(used) == 28
    # Too few facts hold one of the words, now and then: then all are read after all.
    assert used.count(None) <= (0 if by_vector else 9)
    assert shared / asked > (0.9 if by_vector else 0.3)


@pytest.mark.parametrize("days", [1, 20, 150, 400, 630, 700])
async def test_pages_of_the_past_are_those_that_reading_all_of_it_gives(
    past_db: Database, days: int
) -> None:
    as_of = START + timedelta(days=days)
    filters: list[dict[str, Any]] = [
        {},
        {"category": "odd"},
        {"tags": ["t"]},
        {"concept": "subject3"},
        {"concept": "subject3", "category": "odd", "tags": ["t"]},
        {"concept": "nobody"},
    ]
    for given_filters, (limit, offset), valid_at in itertools.product(
        filters, [(50, 0), (20, 30)], [as_of, None]
    ):
        asked: dict[str, Any] = {
            "concept": None,
            "category": None,
            "tags": [],
            "limit": limit,
            "offset": offset,
            "namespace": "default",
            "as_of": as_of,
            "valid_at": valid_at,
            **given_filters,
        }
        async with past_db.transaction() as conn:
            found = await fact_reading.list_facts(conn, **asked)
            slow = await slowly(conn, LIST, **asked | {"tags": asked["tags"] or None})
        assert [(fact.id, fact.content) for fact in found] == slow
        assert all(fact.embedded for fact in found)


async def test_words_that_a_fact_had_and_facts_that_are_gone_are_found_as_of_then(
    past_db: Database,
) -> None:
    memory = Memory(past_db, None, namespace="default")
    before = START + timedelta(days=400)
    # Number 7_603 was recorded on day 380, and reworded 40 days later; 7_607 deleted on day 440.
    assert [h.fact.id for h in await memory.facts.recall("old7603", k=1, as_of=before)] == [7_603]
    (hit,) = await memory.facts.recall("rare7607", k=1, as_of=before)
    assert (hit.fact.id, hit.fact.content) == (7_607, "known since word47 rare7607")
    gone = START + timedelta(days=690)
    assert 7_607 not in [h.fact.id for h in await memory.facts.recall("rare7607", as_of=gone)]
    assert 7_603 not in [h.fact.id for h in await memory.facts.recall("old7603", as_of=gone)]
    (hit,) = await memory.facts.recall("rare7603", k=1, as_of=gone)
    assert hit.fact.content.endswith("rare7603")


async def test_a_question_about_yesterday_reads_a_small_part_of_a_large_namespace(
    past_db: Database,
) -> None:
    async with past_db.transaction() as conn:
        said, _ = await some_fact(conn, 77)
    as_of = START + timedelta(days=659)
    asked: dict[str, Any] = {
        "namespace": "default",
        "query": said,
        # The graph of vectors is passed over by the planner where there are so few.
        "vector": None,
        "limit": 10,
        "as_of": as_of,
        "valid_at": as_of,
    }

    async def rows(work: Callable[[Connection], Any]) -> int:
        counted = (
            "SELECT sum(seq_tup_read + idx_tup_fetch)::int FROM pg_stat_user_tables "
            "WHERE relname IN ('semantic_memory', 'fact_history')"
        )
        # One connection: each tells what it read itself.
        async with past_db.connection() as conn:
            # A table of so few pages is read whole rather than looked up in.
            await conn.execute("SET enable_seqscan = off")
            await conn.execute("SELECT pg_stat_force_next_flush()")
            ((before,),) = await slowly(conn, counted)
            await work(conn)
            await conn.execute("SELECT pg_stat_force_next_flush()")
            ((after,),) = await slowly(conn, counted)
            await conn.execute("RESET enable_seqscan")
        return after - before

    async def search(conn: Connection) -> None:
        await fact_reading.search_facts(conn, embedding_model=None, **asked)

    async def slow_search(conn: Connection) -> None:
        await slowly(conn, SEARCH, model=None, **asked)

    async def page(conn: Connection) -> None:
        await fact_reading.list_facts(
            conn,
            namespace="default",
            concept=None,
            category=None,
            tags=[],
            limit=20,
            offset=0,
            as_of=as_of,
            valid_at=as_of,
        )

    assert await rows(slow_search) > ROWS * 0.9
    assert await rows(search) < ROWS / 2
    assert await rows(page) < ROWS / 10


SAID = ("lives in Rome", "lives in Oslo", "likes tea", "has a cat")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["say", "say", "update", "delete", "undo", "tag"]),
        st.integers(0, 5),
        st.sampled_from(SAID),
        st.sampled_from(["Ann", "Bob"]),
    ),
    max_size=14,
)


@given(steps=STEPS)
@example(
    steps=[
        ("say", 0, SAID[0], "Ann"),
        ("update", 0, SAID[2], "Bob"),
        ("delete", 0, SAID[0], "Ann"),
        ("undo", 0, SAID[0], "Ann"),
    ]
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_whatever_happened_to_facts_the_past_is_found_as_reading_all_of_it_finds_it(
    db: Database,
    embedder: Embedder,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[str, int, str, str]],
) -> None:
    monkeypatch.setattr(fact_reading, "SMALL", 0)
    namespace = f"n{next(_NUMBERS)}"
    facts = Memory(db, embedder, namespace=namespace).facts
    ids: list[int] = []
    moments: list[datetime] = []
    for action, number, said, concept in steps:
        with suppress(AegisError, ZeroDivisionError):
            match action:
                case "say":
                    ids.append((await facts.record(concept, said)).id)
                case "update":
                    await facts.update(ids[number % len(ids)], content=said, concept=concept)
                case "tag":
                    await facts.update(ids[number % len(ids)], tags=[said])
                case "delete":
                    await facts.delete(ids[number % len(ids)])
                case _:
                    await facts.undo(ids[number % len(ids)])
        async with db.transaction() as conn:
            ((moment,),) = await slowly(conn, "SELECT clock_timestamp()")
        moments.append(moment)
    vector = str([float(x) for x in (await embedder.embed(["Ann: lives in Rome"]))[0]])
    for moment in moments:
        asked: dict[str, Any] = {
            "namespace": namespace,
            "query": "Where does Ann live, and with which cat?",
            "vector": vector,
            "as_of": moment,
            "valid_at": moment,
        }
        async with db.transaction() as conn:
            everything = await slowly(conn, SEARCH, model=MODEL, limit=100, **asked)
            for limit in {len(everything), 1} - {0}:
                found = await fact_reading.search_facts(
                    conn, embedding_model=MODEL, limit=limit, **asked
                )
                assert [row[0] for row in found] == [row[0] for row in everything[:limit]]
                for one, other in zip(found, everything, strict=False):
                    assert one[1:] == pytest.approx(other[1:], abs=1e-5)


_NUMBERS = itertools.count()
