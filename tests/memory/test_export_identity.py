"""Whatever memory accepts comes back the same from an export, in a database that knew nothing."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aegis.db import Database
from aegis.memory import DecisionEpisode, Memory, NewEpisode, NewFact
from aegis.memory.exporting import export_file
from aegis.memory.importing import import_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aegis.config import Settings
    from tests.conftest import Cluster

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
SOMETHING = TEXT.filter(str.strip) | st.sampled_from(
    ["\\N", "\\.", "\ta\\tb\r\n", "\u2028x\u2029\x85\x1ey", '{"a"}', "NULL", "🐘\u0301", "\ufeffx"]
)
NUMBERS = (
    st.integers()
    | st.sampled_from([2**63, -(2**64), 10**1000, -0.0, 5e-324, 1.7976931348623157e308, 0.1])
    | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.none() | st.dictionaries(TEXT, JSON, max_size=3)
#: Zones as far from UTC as PostgreSQL takes them; the edges are those of its text form and ours.
TIMES = st.sampled_from(
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1582, 10, 10, 12, tzinfo=timezone(timedelta(hours=15, minutes=59))),
        datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=-15, seconds=-1))),
    ]
) | st.datetimes(
    datetime(2, 1, 1),  # noqa: DTZ001
    datetime(9998, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
TAGS = st.lists(SOMETHING, max_size=3)
#: What would be an export's own key is kept out: it says that there was none.
KEYS = st.none() | SOMETHING.filter(lambda key: not key.startswith("export:"))

EPISODES = st.builds(
    NewEpisode,
    event_type=SOMETHING,
    summary=SOMETHING,
    timestamp=st.none() | TIMES,
    details=OBJECT,
    context=OBJECT,
    importance=st.sampled_from(["low", "medium", "high", "critical"]),
    tags=TAGS,
    decision=st.none() | SOMETHING,
    metadata=OBJECT,
    session_id=st.none() | SOMETHING,
    source_id=KEYS,
    created_at=st.none() | TIMES,
    updated_at=st.none() | TIMES,
    # What has expired is exported as well, but no list shows it.
    expires_at=st.sampled_from([None, datetime(9998, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]),
    embedding=st.none() | st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3),
    embedding_model=st.just("ours"),
)
FACTS = st.builds(
    NewFact,
    concept=SOMETHING,
    content=SOMETHING,
    category=st.none() | SOMETHING,
    source=st.none() | SOMETHING,
    confidence=st.floats(0, 1),
    metadata=OBJECT,
    tags=TAGS,
    source_id=KEYS,
    created_at=st.none() | TIMES,
    updated_at=st.none() | TIMES,
    expires_at=st.sampled_from([None, datetime(9998, 1, 1, tzinfo=UTC)]),
)
#: Lives of facts: what is learned of a few concepts, in turn, and what becomes of it then.
LIVES = st.lists(
    st.tuples(
        st.sampled_from(["tea", "Ann"]),
        st.sampled_from(["lives in Rome", "lives in Paris", "lives in rome."]),
        st.sampled_from([None, "letter", "mail"]),
        st.sampled_from(["keep", "update", "delete", "undo"]),
    ),
    max_size=4,
)
DECISIONS = st.fixed_dictionaries(
    {
        "task_context": SOMETHING,
        "chosen_option": SOMETHING,
        "alternatives": st.lists(SOMETHING, max_size=3),
        "reasoning": SOMETHING,
        "details": OBJECT,
        "lessons": st.none() | SOMETHING,
        "outcome": st.sampled_from(["pending", "success", "partial", "failure"]),
        "feedback": st.sampled_from([None, "positive", "negative", "neutral"]),
        "of_episode": st.booleans(),
        "led_by": st.booleans(),
        "confidence": st.none() | st.floats(0, 1),
    }
)


@pytest.fixture
def names() -> Callable[[], str]:
    """Names of namespaces that no example has had yet."""
    numbers = itertools.count()
    return lambda: f"n{next(numbers)}"


async def fill(
    memory: Memory, episodes: list[NewEpisode], facts: list[NewFact], made: list[dict[str, Any]]
) -> None:
    ids = (await memory.record_many(episodes)).ids
    if len(ids) > 1:  # one relates to a later one, the later one back to it
        await memory.update(ids[0], related_memories=[ids[-1], ids[0]])
        await memory.update(ids[-1], related_memories=[ids[0]])
    for fact in facts:
        await memory.facts.record_as_given(fact)
    for fields in made:
        decision = await memory.decisions.record(
            fields["task_context"],
            alternatives=[*fields["alternatives"], {"name": fields["chosen_option"], "n": -0.0}],
            chosen_option=fields["chosen_option"],
            reasoning=fields["reasoning"],
            episode_id=ids[0] if ids and fields["of_episode"] else None,
            confidence=fields["confidence"],
            review_at=datetime(2030, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            episodes=[DecisionEpisode(episode_id=ids[-1], role="against")]
            if ids and fields["led_by"]
            else [],
        )
        if fields["outcome"] != "pending":
            await memory.decisions.resolve(
                decision.id,
                fields["outcome"],
                details=fields["details"],
                lessons=fields["lessons"],
                feedback=fields["feedback"],
            )


async def live(memory: Memory, lives: list[tuple[str, str, str | None, str]]) -> None:
    """Let facts be learned, changed, deleted and undone."""
    for concept, said, source, then in lives:
        fact = await memory.facts.record(concept, said, source=source, actor="a")
        if then == "update":
            await memory.facts.update(fact.id, tags=["t"])
        if then in ("delete", "undo"):
            await memory.facts.delete(fact.id)
        if then == "undo":
            await memory.facts.undo(fact.id)


async def lives_of(memory: Memory) -> list[Any]:
    """Return facts with history, sources and vectors, their ids told by their order."""
    async with memory.database.transaction() as conn:
        rows = await (
            await conn.execute(
                """
                SELECT coalesce(f.id, h.fact_id), f.concept, f.content, f.superseded_by,
                       f.embedding::text, h.id, h.action, h.before, h.at, h.actor, h.undoes,
                       s.source, s.content, s.confidence, s.recorded_at, s.step
                FROM (SELECT * FROM semantic_memory WHERE namespace = %(place)s) f
                FULL JOIN (SELECT * FROM fact_history WHERE namespace = %(place)s) h
                    ON h.fact_id = f.id
                LEFT JOIN fact_sources s ON s.fact_id = f.id
                ORDER BY f.id IS NULL, 1, h.id, s.id
                """,
                {"place": memory.namespace},
            )
        ).fetchall()
    facts = {None: None} | {row[0]: n for n, row in enumerate(rows)}
    steps = {0: None, None: None} | {row[5]: n for n, row in enumerate(rows)}
    return [
        (facts[row[0]], row[1], row[2], facts[row[3]], row[4], steps[row[5]], row[6],
         renumbered(row[7], facts, steps), row[8], row[9], steps[row[10]], *row[11:15],
         steps[row[15]])
        for row in rows
    ]  # fmt: skip


def renumbered(before: Any, facts: dict[Any, Any], steps: dict[Any, Any]) -> Any:
    if before is None:
        return None
    before = before | {"id": facts[before["id"]], "namespace": "", "source_id": None}
    # What was deleted later is in neither database.
    before["superseded_by"] = facts.get(before.get("superseded_by"))
    if before.get("sources"):
        before["sources"] = [
            source
            | {
                "id": 0,
                "namespace": "",
                "fact_id": facts[source["fact_id"]],
                "step": steps[source["step"]],
            }
            for source in before["sources"]
        ]
    return before


async def vectors_of(memory: Memory) -> list[Any]:
    async with memory.database.transaction() as conn:
        cursor = await conn.execute(
            "SELECT embedding::text, embedding_model FROM episodic_memory "
            "WHERE namespace = %s ORDER BY id",
            [memory.namespace],
        )
        return await cursor.fetchall()


async def content(memory: Memory) -> list[list[dict[str, Any]]]:
    """Return every field of everything, by id; ids themselves are told by their order."""
    rows = [
        sorted((asdict(row) for row in found), key=lambda row: row["id"])
        for found in (
            await memory.list(limit=1000),
            await memory.facts.list(limit=1000),
            await memory.decisions.list(limit=1000),
        )
    ]
    order = {row["id"]: number for number, row in enumerate(rows[0])}
    places = {row["id"]: number for number, row in enumerate(rows[1])}
    for row in itertools.chain(*rows):
        row["id"] = 0
        if "related_memories" in row:
            row["related_memories"] = [order[other] for other in row["related_memories"]]
        if row.get("episode_id") is not None:
            row["episode_id"] = order[row["episode_id"]]
        for link in row.get("episodes", ()):
            link["episode_id"] = order[link["episode_id"]]
        if row.get("superseded_by") is not None:
            row["superseded_by"] = places.get(row["superseded_by"])
        if str(row.get("source_id")).startswith("export:"):
            row["source_id"] = None  # what had no key has its origin for one
    return rows


@given(
    episodes=st.lists(EPISODES, max_size=4),
    facts=st.lists(FACTS, max_size=3),
    made=st.lists(DECISIONS, max_size=2),
    lives=LIVES,
)
@example(episodes=[], facts=[], made=[], lives=[])
@example(
    episodes=[],
    facts=[],
    made=[],
    lives=[
        ("Ann", "lives in Rome", "letter", "keep"),
        ("Ann", "lives in rome.", "mail", "update"),
        ("Ann", "lives in Paris", None, "undo"),
        ("tea", "lives in Rome", None, "delete"),
    ],
)
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_export_then_import_into_an_empty_database_changes_nothing(
    db: Database,
    cluster: Cluster,
    template: str,
    settings: Settings,
    tmp_path: Path,
    names: Callable[[], str],
    episodes: list[NewEpisode],
    facts: list[NewFact],
    made: list[dict[str, Any]],
    lives: list[tuple[str, str, str | None, str]],
    format: Literal["jsonl", "parquet"],
) -> None:
    name = names()
    here = Memory(db, None, namespace=name)
    await fill(here, episodes, facts, made)
    await live(here, lives)
    path = tmp_path / f"x.{format}"
    report = await export_file(here, path, vectors=True, format=format)
    items = report.items
    with cluster.database(template) as url:
        async with await Database.open(url, settings, min_size=1) as other:
            there = Memory(other, None, namespace=name)
            done = await import_path(there, format, path)
            expected = await content(here)
            assert done.recorded == items
            assert (done.skipped, done.broken_count) == (0, 0)
            assert await content(there) == expected
            assert await lives_of(there) == await lives_of(here)
            assert await vectors_of(there) == await vectors_of(here)
            again = await import_path(there, format, path)
            assert (again.recorded, again.skipped) == (0, items)
        # And into the database that it came from nothing is imported.
        same = await import_path(here, format, path)
        assert (same.recorded, same.skipped) == (0, items)
