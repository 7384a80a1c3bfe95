"""What decisions carry, what they teach, and which ones want to be looked at again."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.memory import DecisionEpisode
from aegis.memory.store.reviews import list_due

if TYPE_CHECKING:
    from aegis.db import Connection, Database
    from aegis.memory import Decision, Memory
    from aegis.memory.embedding import Embedder

pytestmark = pytest.mark.servers("18", "16")

_THEN = datetime(2026, 5, 1, 9, tzinfo=UTC)


async def decide(memory: Memory, task: str = "Which queue?", **fields: Any) -> Decision:
    chosen = fields.pop("chosen_option", "postgres")
    values: dict[str, Any] = {"alternatives": [chosen, "none"], "reasoning": "because"} | fields
    return await memory.decisions.record(task, chosen_option=chosen, **values)


async def age(memory: Memory, decision: Decision, days: float) -> None:
    async with memory.database.transaction() as conn:
        await conn.execute(
            "UPDATE decision_outcomes SET created_at = now() - make_interval(secs => %s) "
            "WHERE id = %s",
            [days * 86_400, decision.id],
        )


async def test_a_decision_carries_what_it_was_made_with(plain_memory: Memory) -> None:
    cause = await plain_memory.record("error", "the queue lost a job")
    doubt = await plain_memory.record("note", "redis was fine elsewhere")
    made = await decide(
        plain_memory,
        confidence=1,
        review_at=_THEN.astimezone(timezone(timedelta(hours=2))),
        episodes=[{"episode_id": doubt.id, "role": "against"}, cause.id],
    )
    assert made.episodes == [
        DecisionEpisode(episode_id=cause.id, role="context"),
        DecisionEpisode(episode_id=doubt.id, role="against"),
    ]
    assert (made.confidence, made.review_at) == (1.0, _THEN)
    assert await plain_memory.decisions.get(made.id) == made
    assert await plain_memory.decisions.list() == [made]
    resolved = await plain_memory.decisions.resolve(made.id, "success")
    assert (resolved.episodes, resolved.confidence) == (made.episodes, 1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"confidence": math.nan}, "confidence is nan"),
        ({"confidence": -0.01}, "confidence is -0.01"),
        ({"confidence": 1.01}, "confidence is 1.01"),
        ({"confidence": True}, "confidence is True"),
        ({"confidence": "0.5"}, "confidence is '0.5'"),
        ({"review_at": datetime(2026, 5, 1)}, "no time zone"),  # noqa: DTZ001
        ({"review_at": "soon"}, "review_at is 'soon'"),
        ({"episodes": 3}, "episodes is 3"),
        ({"episodes": "12"}, "episodes is '12'"),
        ({"episodes": ["1"]}, r"episodes\[0\].episode_id is '1'"),
        ({"episodes": [0]}, r"episodes\[0\].episode_id is 0"),
        ({"episodes": [2**31]}, r"episodes\[0\].episode_id is"),
        ({"episodes": [{"role": "trigger"}]}, r"episodes\[0\].episode_id is None"),
        ({"episodes": [{"episode_id": 1, "role": "boss"}]}, "role is 'boss'; use one of trigger"),
        ({"episodes": [{"episode_id": 1, "why": "x"}]}, r"episodes\[0\] has why"),
        ({"episodes": [1, {"episode_id": 1}]}, "episodes names 1 twice"),
        ({"episodes": list(range(1, 202))}, "at most 200"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_left(
    plain_memory: Memory, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await decide(plain_memory, **fields)
    assert await plain_memory.decisions.list() == []
    assert await plain_memory.list() == []


async def test_episodes_of_nobody_or_of_others_cannot_lead_to_a_decision(
    plain_memory: Memory,
) -> None:
    foreign = await plain_memory.record("note", "x", namespace="other")
    own = await plain_memory.record("note", "y")
    for bad in (foreign.id, 9999):
        with pytest.raises(NotFound, match=f"no episode {bad} in namespace 'default'"):
            await decide(plain_memory, episodes=[own.id, bad])
    assert await plain_memory.decisions.list() == []
    assert [e.id for e in await plain_memory.list()] == [own.id]


async def test_the_database_itself_refuses_what_is_no_confidence(
    plain_memory: Memory, db: Database
) -> None:
    made = await decide(plain_memory)
    for value in ("NaN", "1.5", "-1", "Infinity"):
        with pytest.raises(InvalidInput, match="ck_decision_outcomes_confidence"):
            async with db.transaction() as conn:
                await conn.execute(
                    "UPDATE decision_outcomes SET confidence = %s::float8 WHERE id = %s",
                    [value, made.id],
                )


async def test_links_go_with_the_episode_and_with_the_decision(plain_memory: Memory) -> None:
    one, two = [await plain_memory.record("note", f"n{n}") for n in range(2)]
    made = await decide(plain_memory, episodes=[one.id, two.id])
    await plain_memory.delete(one.id)
    assert [e.episode_id for e in (await plain_memory.decisions.get(made.id)).episodes] == [two.id]
    await plain_memory.decisions.delete(made.id)
    async with plain_memory.database.transaction() as conn:
        cursor = await conn.execute("SELECT count(*) FROM decision_episodes")
        assert await cursor.fetchone() == (0,)


async def test_words_may_come_after_the_outcome_but_no_second_outcome_and_no_new_confidence(
    plain_memory: Memory,
) -> None:
    made = await decide(plain_memory, confidence=0.9)
    await plain_memory.decisions.update(made.id, lessons_learned="early")
    resolved = await plain_memory.decisions.resolve(made.id, "failure")
    assert resolved.lessons_learned == "early"
    changed = await plain_memory.decisions.update(
        made.id, lessons_learned="late", user_feedback="negative", review_at=_THEN
    )
    assert (changed.lessons_learned, changed.user_feedback) == ("late", "negative")
    assert (changed.outcome_status, changed.review_at) == ("failure", _THEN)
    assert (await plain_memory.decisions.update(made.id, review_at=None)).review_at is None
    with pytest.raises(InvalidInput, match="confidence cannot be updated"):
        await plain_memory.decisions.update(made.id, confidence=0.1)
    with pytest.raises(Conflict):
        await plain_memory.decisions.resolve(made.id, "success")


async def test_advice_counts_similar_decisions_only(memory: Memory) -> None:
    cause = await memory.record("error", "jobs were lost")
    good = await decide(memory, "Which queue for the mailer?", episodes=[cause.id])
    bad = await decide(memory, "Which queue for invoices?", chosen_option="Redis")
    open_ = await decide(memory, "Which job queue?", chosen_option="redis.")
    lunch = await decide(memory, "What is for lunch?", chosen_option="soup")
    await memory.decisions.resolve(good.id, "success", lessons="Index the lock column.")
    await memory.decisions.resolve(bad.id, "failure", feedback="negative")
    await memory.decisions.resolve(lunch.id, "success")

    advice = await memory.decisions.advise(
        "Which queue should the reports use?", options=["REDIS", "Postgres"]
    )

    assert advice.considered == 4
    assert {p.decision_id for p in advice.precedents} == {good.id, bad.id, open_.id}
    redis, postgres = advice.options
    assert (redis.chosen, redis.failure, redis.pending, redis.success_rate) == (2, 1, 1, 0)
    assert (postgres.chosen, postgres.success, postgres.success_rate) == (1, 1, 1)
    assert [n.lessons_learned for n in postgres.lessons] == ["Index the lock column."]
    assert [n.user_feedback for n in redis.lessons] == ["negative"]
    assert postgres.episode_ids == sorted([cause.id, good.episode_id or 0])
    assert advice.others == []


async def test_advice_without_a_similar_decision_invents_nothing(memory: Memory) -> None:
    await decide(memory, "What is for lunch?", chosen_option="soup")
    advice = await memory.decisions.advise("Which index for vectors?", options=["hnsw"])
    assert (advice.considered, advice.precedents, advice.others) == (1, [], [])
    assert "nothing to go by" in advice.summary
    assert [(r.chosen, r.success_rate, r.interval) for r in advice.options] == [(0, None, None)]


async def test_advice_goes_by_words_without_an_embedder(plain_memory: Memory) -> None:
    made = await decide(plain_memory, "Which queue for the mailer?")
    await decide(plain_memory, "What is for lunch?", chosen_option="soup")
    advice = await plain_memory.decisions.advise("a queue for invoices")
    assert [(p.decision_id, p.similarity) for p in advice.precedents] == [(made.id, 0.5)]
    assert (await plain_memory.decisions.advise("what should there be?")).precedents == []


async def test_advice_goes_by_words_while_the_embedder_is_away(
    memory: Memory, absent_embedder: Embedder
) -> None:
    from aegis.memory import Memory as MemoryClass

    made = await decide(memory, "Which queue for the mailer?")
    away = MemoryClass(memory.database, absent_embedder, namespace="default")
    advice = await away.decisions.advise("which mailer queue?")
    assert [(p.decision_id, p.similarity) for p in advice.precedents] == [(made.id, 1.0)]


async def test_advice_never_crosses_namespaces(plain_memory: Memory) -> None:
    await decide(plain_memory, namespace="other")
    assert (await plain_memory.decisions.advise("Which queue?")).considered == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"question": " "}, "question is empty"),
        ({"question": "x" * 20_001}, "at most 20,000"),
        ({"question": "x\0"}, "NUL"),
        ({"options": []}, r"options is \[\]"),
        ({"options": "ab"}, "options is 'ab'"),
        ({"options": ["a", ""]}, r"options\[1\] is empty"),
        ({"options": ["a"] * 101}, "at most 100"),
        ({"min_similarity": math.nan}, "min_similarity is nan"),
        ({"k": 0}, "k is 0"),
    ],
)
async def test_advice_refuses_what_makes_no_sense(
    plain_memory: Memory, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        values: dict[str, Any] = {"question": "q"} | fields
        await plain_memory.decisions.advise(**values)


async def test_calibration_counts_resolved_decisions_with_a_confidence(
    plain_memory: Memory,
) -> None:
    for confidence, outcome in ((0.9, "success"), (0.9, "partial"), (0.2, "failure"), (0.5, None)):
        made = await decide(plain_memory, confidence=confidence)
        if outcome:
            await plain_memory.decisions.resolve(made.id, outcome)  # pyright: ignore[reportArgumentType]
    silent = await decide(plain_memory)
    await plain_memory.decisions.resolve(silent.id, "success")
    foreign = await decide(plain_memory, confidence=0.4, namespace="other")
    await plain_memory.decisions.resolve(foreign.id, "success", namespace="other")

    found = await plain_memory.decisions.calibration()

    assert (found.decisions, found.successes, found.partials) == (3, 1, 1)
    assert [(b.low, b.decisions, b.success_share) for b in found.bins] == [
        (0.2, 1, 0.0),
        (0.9, 2, 0.5),
    ]
    assert found.brier_score == pytest.approx((0.01 + 0.81 + 0.04) / 3)
    assert found.expected_calibration_error == pytest.approx((0.2 + 2 * 0.4) / 3)
    with pytest.raises(InvalidInput, match="bins is 0"):
        await plain_memory.decisions.calibration(bins=0)


async def test_due_lists_what_ought_to_be_known_oldest_first(plain_memory: Memory) -> None:
    now = datetime.now(UTC)
    late = await decide(plain_memory, review_at=now - timedelta(hours=1))
    later = await decide(plain_memory, review_at=now - timedelta(days=30))
    ahead = await decide(plain_memory, review_at=now + timedelta(hours=1))
    old, young, done = [await decide(plain_memory) for _ in range(3)]
    await age(plain_memory, ahead, 300)
    await age(plain_memory, old, 14.1)
    await age(plain_memory, young, 13.9)
    await age(plain_memory, done, 99)
    await plain_memory.decisions.resolve(done.id, "partial")

    due = await plain_memory.decisions.due()

    assert [d.id for d in due] == [later.id, old.id, late.id]
    assert [d.id for d in await plain_memory.decisions.due(days=13)] == [
        later.id,
        old.id,
        young.id,
        late.id,
    ]


async def test_pages_of_due_decisions_hold_each_once_though_some_are_resolved_meanwhile(
    plain_memory: Memory,
) -> None:
    made = [await decide(plain_memory, review_at=_THEN) for _ in range(5)]
    # A row of the first schema's may have no time at all, nor a status.
    async with plain_memory.database.transaction() as conn:
        await conn.execute(
            "UPDATE decision_outcomes SET created_at = NULL, review_at = NULL, "
            "outcome_status = NULL WHERE id = %s",
            [made[4].id],
        )
    seen: list[int] = []
    after = None
    while page := await plain_memory.decisions.due(limit=2, after=after):
        seen += [d.id for d in page]
        after = (page[-1].review_at or page[-1].created_at, page[-1].id)
        await plain_memory.decisions.resolve(page[0].id, "success")
    assert seen == [made[4].id, *(d.id for d in made[:4])]


@pytest.mark.parametrize("days", [0, -1, 36_501, 1.5, True])
async def test_due_refuses_an_age_that_is_none(plain_memory: Memory, days: Any) -> None:
    with pytest.raises(InvalidInput, match="days is"):
        await plain_memory.decisions.due(days=days)


async def test_due_reads_its_index_in_order_among_20000_decisions(conn: Connection) -> None:
    await conn.execute(
        """
        INSERT INTO decision_outcomes (
            task_context, alternatives, chosen_option, reasoning, namespace, outcome_status,
            created_at, review_at
        )
        SELECT 'task ' || n, '["a"]', 'a', 'r', 'agent-' || n % 5,
               CASE WHEN n % 3 = 0 THEN 'pending' ELSE 'success' END,
               now() - make_interval(hours => n),
               CASE WHEN n % 2 = 0 THEN now() + make_interval(hours => n - 15000) END
        FROM generate_series(1, 20000) AS n
        """
    )
    await conn.execute("ANALYZE decision_outcomes")
    asked: list[Any] = []

    class Noted(psycopg.AsyncCursor[Any]):
        """Keeps what it is asked."""

        async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            asked.append((query, params))
            return await super().execute(query, params, **options)

    conn.cursor_factory = Noted
    arguments: dict[str, Any] = {"namespace": "agent-0", "days": 14, "limit": 20}
    first = await list_due(conn, after=None, **arguments)
    last = (first[-1].review_at or first[-1].created_at, first[-1].id)
    second = await list_due(conn, after=last, **arguments)
    conn.cursor_factory = psycopg.AsyncCursor
    assert len({d.id for d in first + second}) == 40
    assert len(asked) == 2
    for statement, values in asked:
        cursor = await conn.execute("EXPLAIN (ANALYZE, BUFFERS OFF) " + statement, values)
        plan = "\n".join(row[0] for row in await cursor.fetchall())
        assert "Index Scan using idx_decision_outcomes_due " in plan, plan
        # Each row's few links are sorted by themselves, in the part below.
        decisions = plan.partition("SubPlan")[0]
        assert "Sort" not in decisions, plan
        # It stops at the page's end, and does not look at what is open but not due.
        assert "Rows Removed by Filter" not in decisions, plan


async def test_links_are_found_by_index_both_ways(conn: Connection) -> None:
    await conn.execute(
        """
        INSERT INTO episodic_memory (event_type, summary)
        SELECT 'note', 'n' || n FROM generate_series(1, 500) AS n
        """
    )
    await conn.execute(
        """
        INSERT INTO decision_outcomes (task_context, alternatives, chosen_option, reasoning)
        SELECT 't', '["a"]', 'a', 'r' FROM generate_series(1, 500)
        """
    )
    await conn.execute(
        """
        INSERT INTO decision_episodes (decision_id, episode_id, role)
        SELECT d.id, e.id, 'context'
        FROM decision_outcomes d, episodic_memory e
        WHERE (d.id + e.id) % 25 = 0
        """
    )
    await conn.execute("ANALYZE decision_episodes")
    for column, index in (
        ("decision_id", "decision_episodes_pkey"),
        ("episode_id", "idx_decision_episodes_episode_id"),
    ):
        cursor = await conn.execute(
            f"EXPLAIN SELECT role FROM decision_episodes WHERE {column} = 7".encode()
        )
        plan = "\n".join(row[0] for row in await cursor.fetchall())
        assert f"using {index}" in plan or f"Bitmap Index Scan on {index}" in plan, plan
