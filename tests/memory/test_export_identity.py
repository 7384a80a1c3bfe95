"""Whatever memory accepts comes back the same from an export, in a database that knew nothing."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aegis.db import Database
from aegis.memory import Memory, NewEpisode, NewFact
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
        )
        if fields["outcome"] != "pending":
            await memory.decisions.resolve(
                decision.id,
                fields["outcome"],
                details=fields["details"],
                lessons=fields["lessons"],
                feedback=fields["feedback"],
            )


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
    for row in itertools.chain(*rows):
        row["id"] = 0
        if "related_memories" in row:
            row["related_memories"] = [order[other] for other in row["related_memories"]]
        if row.get("episode_id") is not None:
            row["episode_id"] = order[row["episode_id"]]
        if str(row.get("source_id")).startswith("export:"):
            row["source_id"] = None  # what had no key has its origin for one
    return rows


@given(
    episodes=st.lists(EPISODES, max_size=4),
    facts=st.lists(FACTS, max_size=3),
    made=st.lists(DECISIONS, max_size=2),
)
@example(episodes=[], facts=[], made=[])
@settings(
    max_examples=25,
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
) -> None:
    name = names()
    here = Memory(db, None, namespace=name)
    await fill(here, episodes, facts, made)
    await export_file(here, tmp_path / "x.jsonl")
    with cluster.database(template) as url:
        async with await Database.open(url, settings, min_size=1) as other:
            there = Memory(other, None, namespace=name)
            report = await import_path(there, "jsonl", tmp_path / "x.jsonl")
            expected = await content(here)
            assert report.recorded == sum(map(len, expected))
            assert (report.skipped, report.broken_count, report.dangling) == (0, 0, 0)
            assert await content(there) == expected
