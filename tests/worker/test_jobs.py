"""Jobs: run once, in order of priority, one of a key; retried, cancelled, taken over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aegis.errors import Conflict, InvalidInput, NotFound, Unavailable
from aegis.worker import current_job
from aegis.worker.jobs import JobsKind
from aegis.worker.models import NewJob
from tests.worker.conftest import ended, working

if TYPE_CHECKING:
    from aegis.client import Aegis

LEASE: dict[str, Any] = {"lease_s": 30.0}


async def nothing(_: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments


def kind_of(client: Aegis) -> JobsKind:
    client.functions.add("nothing", nothing)
    return JobsKind(client.db, client, client.functions)


async def let_leases_run_out(client: Aegis) -> None:
    async with client.db.connection() as conn:
        await conn.execute(
            "UPDATE jobs SET lease_until = now() - INTERVAL '1 s' WHERE state = 'running'"
        )


async def test_a_job_runs_and_its_result_is_kept(client: Aegis) -> None:
    async def add(_: Any, arguments: dict[str, Any]) -> int:
        return arguments["a"] + arguments["b"]

    client.functions.add("add", add)
    async with working(client):
        job = await client.jobs.enqueue("add", arguments={"a": 2, "b": 3})
        assert job.state == "waiting"
        done = await ended(client, job.id)
    assert (done.state, done.result, done.attempts, done.error) == ("completed", 5, 1, None)


async def test_the_most_urgent_is_claimed_first_and_the_future_never(client: Aegis) -> None:
    kind = kind_of(client)
    later = datetime.now(UTC) + timedelta(hours=1)
    given = [
        NewJob(function="nothing", arguments={"n": 1}),
        NewJob(function="nothing", arguments={"n": 2}, priority=9),
        NewJob(function="nothing", arguments={"n": 3}, priority=9, due_at=later),
        NewJob(function="nothing", arguments={"n": 4}, priority=0),
    ]
    made = await client.jobs.enqueue_many(given)
    claims = await kind.claim("w", limit=2, **LEASE)
    assert [claim.id for claim in claims] == [str(made[1].id), str(made[0].id)]
    assert [claim.id for claim in await kind.claim("w", limit=9, **LEASE)] == [str(made[3].id)]
    assert await kind.claim("w", limit=9, **LEASE) == []
    due_s = await kind.next_due()
    # The leases run out before that.
    assert due_s is not None
    assert 0 < due_s <= 30


async def test_one_key_runs_once_at_a_time_over_all_workers(client: Aegis) -> None:
    kind = kind_of(client)
    given = [NewJob(function="nothing", key=key) for key in ("a", "a", "b", "a")]
    made = await client.jobs.enqueue_many(given)
    first = await kind.claim("one", limit=9, **LEASE)
    assert [claim.id for claim in first] == [str(made[0].id), str(made[2].id)]
    assert await kind.claim("two", limit=9, **LEASE) == []
    assert await kind.next_due() == 0
    await kind.run(first[0])
    second = await kind.claim("two", limit=9, without_keys=["c"], **LEASE)
    assert [claim.id for claim in second] == [str(made[1].id)]
    await kind.run(second[0])
    assert await kind.claim("two", limit=9, without_keys=["a"], **LEASE) == []


async def test_two_claims_of_one_key_at_one_moment_give_one(client: Aegis) -> None:
    kind = kind_of(client)
    for _ in range(10):
        await client.jobs.enqueue_many([NewJob(function="nothing", key="k") for _ in range(4)])
        taken = await asyncio.gather(*(kind.claim(f"w{n}", limit=1, **LEASE) for n in range(4)))
        claims = [claim for some in taken for claim in some]
        assert len(claims) == 1
        await kind.run(claims[0])


async def test_claims_at_once_share_the_jobs_and_none_twice(client: Aegis) -> None:
    kind = kind_of(client)
    await client.jobs.enqueue_many([NewJob(function="nothing") for _ in range(300)])
    taken: list[str] = []

    async def take(owner: str) -> None:
        while claims := await kind.claim(owner, limit=7, **LEASE):
            taken.extend(claim.id for claim in claims)

    await asyncio.gather(*(take(f"w{n}") for n in range(6)))
    assert len(taken) == len(set(taken)) == 300


async def test_a_dead_workers_job_is_taken_over_and_its_late_outcome_refused(
    client: Aegis,
) -> None:
    kind, other = kind_of(client), kind_of(client)
    job = await client.jobs.enqueue("nothing", key="k", arguments={"n": 1})
    (old,) = await kind.claim("dead", limit=1, **LEASE)
    assert await other.claim("new", limit=1, **LEASE) == []
    await let_leases_run_out(client)
    (new,) = await other.claim("new", limit=1, **LEASE)
    assert (new.id, new.token) == (old.id, old.token + 1)
    # The one that was taken for dead comes back: it keeps, changes and hands back nothing.
    assert await kind.renew([old], lease_s=30) == set()
    await kind.release([old])
    still = await client.jobs.get(job.id)
    assert (still.state, still.token, still.lease_owner) == ("running", new.token, "new")
    await other.run(new)
    done = await client.jobs.get(job.id)
    assert (done.state, done.token, done.attempts) == ("completed", new.token, 2)


async def test_an_outcome_under_an_old_token_changes_nothing(client: Aegis) -> None:
    kind, other = kind_of(client), kind_of(client)
    job = await client.jobs.enqueue("nothing")
    (old,) = await kind.claim("dead", limit=1, **LEASE)
    await let_leases_run_out(client)
    (new,) = await other.claim("new", limit=1, **LEASE)
    await kind.run(old)
    still = await client.jobs.get(job.id)
    assert (still.state, still.lease_owner, still.token) == ("running", "new", new.token)


async def test_a_job_that_kills_its_workers_is_given_up(client: Aegis) -> None:
    kind = kind_of(client)
    job = await client.jobs.enqueue("nothing", max_attempts=2)
    for attempt in (1, 2):
        (claim,) = await kind.claim("w", limit=1, **LEASE)
        assert claim.token == attempt
        await let_leases_run_out(client)
    assert await kind.claim("w", limit=1, **LEASE) == []
    failed = await client.jobs.get(job.id)
    assert (failed.state, failed.attempts) == ("failed", 2)
    assert failed.error == "Its worker was lost in the last of its attempts."


async def test_handed_back_it_is_due_at_once_and_no_attempt_was_made(client: Aegis) -> None:
    kind = kind_of(client)
    await client.jobs.enqueue("nothing")
    (claim,) = await kind.claim("w", limit=1, **LEASE)
    await kind.release([claim])
    assert await kind.next_due() == 0
    (again,) = await kind.claim("x", limit=1, **LEASE)
    assert (again.id, again.token) == (claim.id, claim.token + 1)
    assert (await client.jobs.get(int(again.id))).attempts == 1


async def test_a_failure_is_tried_again_later_and_then_for_good(client: Aegis) -> None:
    async def fails(_: Any, __: dict[str, Any]) -> None:
        raise Unavailable("not now")

    client.functions.add("fails", fails)
    kind = kind_of(client)
    job = await client.jobs.enqueue("fails", max_attempts=2)
    (claim,) = await kind.claim("w", limit=1, **LEASE)
    await kind.run(claim)
    waiting = await client.jobs.get(job.id)
    assert (waiting.state, waiting.error) == ("waiting", "not now [unavailable]")
    assert waiting.due_at > datetime.now(UTC) + timedelta(seconds=2)
    assert await kind.claim("w", limit=1, **LEASE) == []
    async with client.db.connection() as conn:
        await conn.execute("UPDATE jobs SET due_at = now()")
    (claim,) = await kind.claim("w", limit=1, **LEASE)
    await kind.run(claim)
    assert (await client.jobs.get(job.id)).state == "failed"
    again = await client.jobs.retry(job.id)
    assert (again.state, again.attempts, again.error) == ("waiting", 0, None)
    with pytest.raises(Conflict, match="is waiting"):
        await client.jobs.retry(job.id)


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (InvalidInput("wrong"), "wrong [invalid_input]"),
        (object(), "result is not JSON"),
        ("nul \0 inside", "result holds a NUL"),
        (float("nan"), "result is not JSON"),
        ("x" * 1_000_001, "result has 1,000,003 bytes"),
    ],
)
async def test_what_would_fail_again_fails_at_once(client: Aegis, what: Any, error: str) -> None:
    async def odd(_: Any, __: dict[str, Any]) -> Any:
        if isinstance(what, Exception):
            raise what
        return what

    client.functions.add("odd", odd)
    kind = kind_of(client)
    job = await client.jobs.enqueue("odd")
    (claim,) = await kind.claim("w", limit=1, **LEASE)
    await kind.run(claim)
    failed = await client.jobs.get(job.id)
    assert failed.state == "failed"
    assert failed.error is not None
    assert error in failed.error


async def test_a_defect_is_told_in_one_line_without_nul(client: Aegis) -> None:
    async def broken(_: Any, __: dict[str, Any]) -> None:
        raise ValueError("a\nb\0c" + "x" * 9_000)

    client.functions.add("broken", broken)
    kind = kind_of(client)
    job = await client.jobs.enqueue("broken", max_attempts=1)
    (claim,) = await kind.claim("w", limit=1, **LEASE)
    await kind.run(claim)
    error = (await client.jobs.get(job.id)).error
    assert error is not None
    assert error.startswith("ValueError: a b cxxx")
    assert len(error) == 2_000


async def test_an_attempt_has_its_time_and_no_more(client: Aegis) -> None:
    async def sleeps(_: Any, __: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    client.functions.add("sleeps", sleeps)
    kind = kind_of(client)
    job = await client.jobs.enqueue("sleeps", timeout_s=1, max_attempts=1)
    (claim,) = await kind.claim("w", limit=1, **LEASE)
    await kind.run(claim)
    assert (await client.jobs.get(job.id)).error == "It took longer than 1 s. [timeout]"


async def test_a_unique_key_is_one_job(client: Aegis) -> None:
    client.functions.add("nothing", nothing)
    made = await asyncio.gather(
        *(client.jobs.enqueue("nothing", unique_key="u", arguments={"n": 1}) for _ in range(5))
    )
    assert len({job.id for job in made}) == 1
    with pytest.raises(Conflict, match="another call"):
        await client.jobs.enqueue("nothing", unique_key="u", arguments={"n": 2})
    many = [NewJob(function="nothing", unique_key=key) for key in ("u", "v", "v")]
    assert [job.unique_key for job in await client.jobs.enqueue_many(many)] == ["v"]


async def test_a_job_of_a_function_that_this_worker_lacks_waits_for_another(
    client: Aegis,
) -> None:
    kind = kind_of(client)
    async with client.db.connection() as conn:
        await conn.execute("INSERT INTO jobs (function) VALUES ('of.a.newer.version')")
    assert await kind.claim("w", limit=1, **LEASE) == []
    assert await kind.next_due() is None


async def test_cancelled_while_it_waits_it_never_runs(client: Aegis) -> None:
    kind = kind_of(client)
    job = await client.jobs.enqueue("nothing")
    assert (await client.jobs.cancel(job.id)).state == "cancelled"
    assert await kind.claim("w", limit=1, **LEASE) == []
    with pytest.raises(Conflict, match="is cancelled"):
        await client.jobs.cancel(job.id)
    with pytest.raises(NotFound):
        await client.jobs.cancel(job.id + 1)


async def test_functions_know_which_attempt_they_are(client: Aegis) -> None:
    async def who(_: Any, __: dict[str, Any]) -> list[Any]:
        claim = current_job.get()
        return [claim.id, claim.token]

    client.functions.add("who", who)
    kind = kind_of(client)
    job = await client.jobs.enqueue("who")
    (claim,) = await kind.claim("w", limit=1, **LEASE)
    await kind.run(claim)
    assert (await client.jobs.get(job.id)).result == [str(job.id), 1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"function": "no.such"}, "not registered"),
        ({"function": "nothing", "priority": 10}, "priority is 10"),
        ({"function": "nothing", "priority": True}, "priority is True"),
        ({"function": "nothing", "max_attempts": 0}, "max_attempts is 0"),
        ({"function": "nothing", "timeout_s": 0}, "timeout_s is 0"),
        ({"function": "nothing", "key": ""}, "key is ''"),
        ({"function": "nothing", "key": "a\0"}, "key is"),
        ({"function": "nothing", "unique_key": "x" * 201}, "unique_key has 201"),
        ({"function": "nothing", "arguments": [1]}, "arguments is"),
        ({"function": "nothing", "arguments": {"a": "\0"}}, "NUL"),
        ({"function": "nothing", "arguments": {"a": float("inf")}}, "not JSON"),
        ({"function": "nothing", "due_at": datetime(2026, 1, 1)}, "add a zone"),  # noqa: DTZ001
        ({"function": "nothing", "colour": "red"}, "no such field"),
    ],
)
async def test_what_cannot_be_a_job_is_refused(
    client: Aegis, fields: dict[str, Any], message: str
) -> None:
    client.functions.add("nothing", nothing)
    with pytest.raises(InvalidInput, match=message):
        await client.jobs.enqueue(**fields)
    assert await client.jobs.list() == []


async def test_arguments_nested_too_deep_are_refused(client: Aegis) -> None:
    client.functions.add("nothing", nothing)
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(InvalidInput, match="deeper than 64"):
        await client.jobs.enqueue("nothing", arguments={"a": deep})


async def test_a_function_that_blocks_is_refused(client: Aegis) -> None:
    with pytest.raises(InvalidInput, match="async def"):
        client.functions.add("blocks", lambda _, __: None)  # type: ignore[arg-type, return-value]


async def test_jobs_are_listed_by_pages(client: Aegis) -> None:
    client.functions.add("nothing", nothing)
    made = await client.jobs.enqueue_many([NewJob(function="nothing") for _ in range(5)])
    first = await client.jobs.list(limit=2, states=["waiting"])
    second = await client.jobs.list(limit=9, before=first[-1].id, function="nothing")
    assert [job.id for job in (*first, *second)] == [job.id for job in reversed(made)]
    assert await client.jobs.list(states=["running"]) == []
    with pytest.raises(InvalidInput, match="state is 'odd'"):
        await client.jobs.list(states=["odd"])
