"""Verification: each outcome, their order, what is counted and what is not."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from aegis.errors import ConfigError, InvalidInput, Unavailable
from aegis.keys import Keys, Limit
from aegis.keys.secret import make_key
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

SOON = timedelta(days=1)


async def code(keys: Keys, key: str, **arguments: Any) -> str:
    found = await keys.verify(key, **arguments)
    assert found.valid == (found.code == "VALID")
    return found.code


async def test_valid_call_is_told_whose_key_it_is_and_what_is_left(keys: Keys) -> None:
    issued = await keys.issue("acme", name="Reports", environment="test", scopes=["a:b"])
    found = await keys.verify(issued.key, scope="a:b")
    assert (found.valid, found.code, found.checked) == (True, "VALID", True)
    assert (found.key_id, found.customer_id) == (issued.record.id, "acme")
    assert (found.environment, found.name, found.tier) == ("test", "Reports", "free")
    (limit,) = found.limits
    assert (limit.name, limit.limit, limit.window_s, limit.remaining) == ("requests", 60, 60, 59)
    assert limit.reset_s == 1.0
    assert found.quota is not None
    assert (found.quota.limit, found.quota.remaining, found.quota.overage) == (1000, 999, 0)
    assert found.quota.resets_at.day == 1
    assert found.quota.resets_at > datetime.now(UTC)


async def test_outcomes_come_in_the_stated_order(keys: Keys, db: Database) -> None:
    issued = await keys.issue(
        "acme", scopes=["a:b"], rate_limit=1, monthly_quota=1, expires_at=datetime.now(UTC) + SOON
    )
    key, key_id = issued.key, issued.record.id
    # Everything is wrong at once; one after the other is put right.
    assert await code(keys, key, scope="a:b") == "VALID"
    await rows(db, f"UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = '{key_id}'")
    await keys.disable(key_id)
    unknown = make_key("live", bytes(32))
    assert await code(keys, unknown, scope="c:d") == "NOT_FOUND"
    assert await code(keys, key, scope="c:d") == "DISABLED"
    await keys.enable(key_id)
    assert await code(keys, key, scope="c:d") == "EXPIRED"
    await keys.expire(key_id, None)
    assert await code(keys, key, scope="c:d") == "FORBIDDEN"
    assert await code(keys, key, scope="a:b") == "QUOTA_EXCEEDED"
    await keys.quota.grant(key_id, 10)
    limited = await keys.verify(key, scope="a:b")
    assert limited.code == "RATE_LIMITED"
    assert limited.retry_after_s is not None
    assert 58 < limited.retry_after_s <= 60
    assert limited.quota is not None
    assert limited.quota.remaining == 10


async def test_refused_call_is_counted_nowhere(keys: Keys) -> None:
    issued = await keys.issue("acme", rate_limit=5, monthly_quota=10)
    assert await code(keys, issued.key, cost=6) == "RATE_LIMITED"
    assert await code(keys, issued.key, cost=11) == "QUOTA_EXCEEDED"
    assert await code(keys, issued.key, scope="x") == "FORBIDDEN"
    found = await keys.verify(issued.key, cost=5)
    assert (found.code, found.limits[0].remaining) == ("VALID", 0)
    assert (await keys.quota.balance(issued.record.id)).used == 5


async def test_cost_above_the_limit_is_told_that_waiting_does_not_help(keys: Keys) -> None:
    issued = await keys.issue("acme", rate_limit=5, tier="enterprise")
    found = await keys.verify(issued.key, cost=6)
    assert (found.code, found.retry_after_s, found.limits[0].exceeded) == (
        "RATE_LIMITED", None, True,
    )  # fmt: skip


async def test_cost_of_nothing_looks_and_takes_nothing(keys: Keys) -> None:
    issued = await keys.issue("acme", rate_limit=1)
    assert await code(keys, issued.key) == "VALID"
    found = await keys.verify(issued.key, cost=0)
    assert (found.code, found.limits[0].remaining) == ("VALID", 0)


async def test_several_limits_are_taken_all_or_none(keys: Keys) -> None:
    issued = await keys.issue("acme", tier="enterprise")
    limits = [
        Limit(name="burst", limit=10, window_s=60),
        Limit(name="tokens", limit=100, window_s=86_400, cost=60),
    ]
    first = await keys.verify(issued.key, limits=limits)
    assert [(x.name, x.remaining) for x in first.limits] == [
        ("requests", 5999),
        ("burst", 9),
        ("tokens", 40),
    ]
    second = await keys.verify(issued.key, limits=limits)
    assert second.code == "RATE_LIMITED"
    assert [x.name for x in second.limits if x.exceeded] == ["tokens"]
    assert second.retry_after_s is not None
    assert 17_000 < second.retry_after_s <= 17_280
    # The others have lost nothing by the refusal.
    third = await keys.verify(issued.key, limits=limits[:1])
    assert (third.limits[1].name, third.limits[1].remaining) == ("burst", 8)


async def test_limit_of_the_key_goes_before_the_limit_of_the_call(keys: Keys) -> None:
    own = {"tokens": {"limit": 3, "window_s": 3600}}
    issued = await keys.issue("acme", limits=own)
    asked = [{"name": "tokens", "limit": 1000, "window_s": 1}]
    found = await keys.verify(issued.key, limits=asked)
    assert (found.limits[1].limit, found.limits[1].window_s, found.limits[1].remaining) == (
        3, 3600, 2,
    )  # fmt: skip


async def test_calls_at_once_share_a_statement_and_a_limit(keys: Keys) -> None:
    issued = await keys.issue("acme", rate_limit=20)
    found = await asyncio.gather(*(keys.verify(issued.key) for _ in range(50)))
    assert [f.code for f in found].count("VALID") == 20
    remaining = sorted(f.limits[0].remaining for f in found if f.valid)
    assert remaining == list(range(20))


@pytest.mark.parametrize(
    ("granted", "needed", "allowed"),
    [
        ([], None, True), ([], "a", False), (["a:b"], "a:b", True), (["a:b"], "a:c", False),
        (["a:*"], "a:c", True), (["a:*"], "a:b:c", True), (["a:*"], "ab:c", False),
        (["a:*"], "a", False), (["*"], "x:y", True), (["a"], "a:b", False),
        (["a:b:*"], "a:b:c", True), (["b", "a"], "a", True),
    ],
)  # fmt: skip
async def test_scopes(keys: Keys, granted: list[str], needed: str | None, allowed: bool) -> None:
    issued = await keys.issue("acme", scopes=granted)
    assert await code(keys, issued.key, scope=needed) == ("VALID" if allowed else "FORBIDDEN")


class Untouched:
    """A database that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the database was asked ({name})")


async def test_mistyped_key_is_refused_without_a_question(keys: Keys) -> None:
    issued = await keys.issue("acme")
    assert await code(keys, "anything") == "NOT_FOUND"
    keys._verifier._db = cast("Database", Untouched())
    wrong = issued.key[:-1] + ("a" if issued.key[-1] != "a" else "b")
    for text in (
        wrong,
        issued.key[:-1],
        "",
        "x" * 10_000,
        "\x00",
        "\ud800",
        "Bearer x",
        "' OR 1=1",
    ):
        assert await code(keys, text) == "NOT_FOUND"


async def test_refusal_is_repeated_from_memory_and_ends_with_the_change(keys: Keys) -> None:
    issued = await keys.issue("acme", rate_limit=1)
    disabled = await keys.issue("acme")
    await keys.disable(disabled.record.id)
    assert await code(keys, disabled.key) == "DISABLED"
    assert await code(keys, issued.key) == "VALID"
    first = await keys.verify(issued.key)
    database, keys._verifier._db = keys._verifier._db, cast("Database", Untouched())
    again = await keys.verify(issued.key)
    assert again.code == first.code == "RATE_LIMITED"
    assert again.retry_after_s is not None
    assert first.retry_after_s is not None
    assert again.retry_after_s < first.retry_after_s
    assert await code(keys, disabled.key) == "DISABLED"
    keys._verifier._db = database
    await keys.enable(disabled.record.id)
    assert await code(keys, disabled.key) == "VALID"


async def test_clock_that_was_set_back_admits_nothing_more_and_locks_nobody_out(
    keys: Keys, db: Database
) -> None:
    issued = await keys.issue("acme", rate_limit=60)
    assert await code(keys, issued.key, cost=10) == "VALID"
    # To the row, a clock that was set back by a day is a last call a day ahead.
    await rows(db, "UPDATE api_key_meters SET rate_at = rate_at + 86400000000")
    found = await keys.verify(issued.key)
    assert (found.code, found.limits[0].remaining) == ("RATE_LIMITED", 0)
    assert found.retry_after_s is not None
    assert found.retry_after_s <= 1.0
    await rows(db, "UPDATE api_key_meters SET rate_backlog = 59 * 60000000::bigint, rate_at = %s",
               int(datetime.now(UTC).timestamp() * 1e6) + 500_000)  # fmt: skip
    keys._verifier.forget()
    found = await keys.verify(issued.key)
    # Half a second ahead: half a call is waited for again, none is given twice.
    assert found.limits[0].remaining == 0


async def test_month_in_the_future_goes_on(keys: Keys, db: Database) -> None:
    issued = await keys.issue("acme", monthly_quota=2)
    assert await code(keys, issued.key) == "VALID"
    await rows(db, "UPDATE api_key_meters SET period = period + interval '1 month'")
    assert await code(keys, issued.key) == "VALID"
    assert await code(keys, issued.key) == "QUOTA_EXCEEDED"
    balance = await keys.quota.balance(issued.record.id)
    assert (balance.used, balance.remaining) == (2, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cost": -1}, {"cost": 10**7}, {"cost": True}, {"cost": 1.5}, {"scope": ""},
        {"scope": "a b"}, {"scope": "*"}, {"scope": 7}, {"limits": [{"name": "x"}]},
        {"limits": [{"name": "x", "limit": 0, "window_s": 1}]},
        {"limits": [{"name": "x", "limit": -1, "window_s": 1}]},
        {"limits": [{"name": "x", "limit": 1, "window_s": 10**9}]},
        {"limits": [{"name": "requests", "limit": 1, "window_s": 1}]},
        {"limits": [{"name": "a\x00", "limit": 1, "window_s": 1}]},
        {"limits": [{"name": "x", "limit": 1, "window_s": 1}] * 2},
        {"limits": [{"name": "x", "limit": 1, "window_s": 1, "colour": "red"}]},
        {"limits": ["x"]}, {"limits": {"name": "x"}},
    ],
)  # fmt: skip
async def test_question_that_makes_no_sense_is_refused(
    keys: Keys, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        await keys.verify("aegis_live_x", **arguments)


async def test_commit_waits_for_the_disk_where_quota_is_spent_and_only_there(
    keys: Keys, db: Database
) -> None:
    from aegis.keys.store.verification import verify_calls

    billed, free = await keys.issue("a"), await keys.issue("b", tier="enterprise")
    (secret,) = keys._vault.secrets()

    before = (await rows(db, "SHOW synchronous_commit"))[0][0]
    async with db.transaction() as conn:
        await conn.execute("SET LOCAL synchronous_commit = on")
        for key, cost, lazily, expected in (
            (billed.key, 1, True, "on"),
            (free.key, 1, False, "on"),
            (free.key, 1, True, "off"),
        ):
            request = f'[{{"number": 0, "hashes": ["{secret.hash(key)}"], "costs": [{cost}]}}]'
            await verify_calls(conn.cursor(), request, lazily=lazily)
            row = await (await conn.execute("SHOW synchronous_commit")).fetchone()
            assert row == (expected,)
    assert (await rows(db, "SHOW synchronous_commit"))[0][0] == before


async def settled(keys: Keys) -> None:
    """Let statements end that may still answer, on a connection that they have."""
    while keys._verifier._running:
        await asyncio.wait(keys._verifier._running)


class Down:
    """A database that does not answer."""

    def transaction(self) -> Any:
        raise Unavailable("It does not answer.", code="db_unreachable")

    connection = transaction


async def test_database_down_refuses_calls_unless_told_otherwise(
    db: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    closed = Keys(db, settings)
    issued = await closed.issue("acme")
    assert await code(closed, issued.key) == "VALID"
    await settled(closed)
    closed._verifier._db = cast("Database", Down())
    with pytest.raises(Unavailable, match="does not answer"):
        await closed.verify(issued.key)

    opened = Keys(db, replace(settings, keys_when_down="open"))
    assert await code(opened, issued.key) == "VALID"
    await settled(opened)
    opened._verifier._db = cast("Database", Down())
    with caplog.at_level(logging.WARNING, logger="aegis.keys"):
        found = await opened.verify(issued.key)
    assert (found.valid, found.checked, found.key_id) == (True, False, None)
    assert "keys.unchecked" in caplog.text
    assert issued.key not in caplog.text
    # A slip of the pen is one in any weather.
    assert await code(opened, issued.key[:-1] + "é") == "NOT_FOUND"


async def test_database_that_hangs_counts_as_down(db: Database, settings: Settings) -> None:
    keys = Keys(db, replace(settings, keys_timeout_s=0.2))
    issued = await keys.issue("acme")
    await keys.verify(issued.key)
    async with db.transaction() as conn:
        await conn.execute("SELECT FROM api_key_meters FOR UPDATE")
        with pytest.raises(Unavailable) as told:
            await keys.verify(issued.key)
    assert told.value.code == "keys_timeout"
    assert await code(keys, issued.key) == "VALID"


async def test_answer_that_nobody_expected_leaves_no_caller_waiting(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aegis.keys.store import verification

    issued = await keys.issue("acme", tier="enterprise")
    real, calls = verification.verify_calls, 0

    async def broken_once(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        found = await real(*arguments, **named)
        return [found[0]._replace(number=7)] if calls == 1 else found

    monkeypatch.setattr(verification, "verify_calls", broken_once)
    async with asyncio.timeout(20):
        found = await asyncio.gather(
            *(keys.verify(issued.key) for _ in range(600)), return_exceptions=True
        )
    refused = [f for f in found if isinstance(f, BaseException)]
    assert {f.code for f in refused if isinstance(f, Unavailable)} == {"keys_cut_off"}
    assert 0 < len(refused) <= 256


async def test_key_that_somebody_holds_keeps_no_other_key_waiting(keys: Keys, db: Database) -> None:
    held, free = await keys.issue("acme"), await keys.issue("acme")
    for issued in (held, free):
        assert await code(keys, issued.key) == "VALID"
    async with db.transaction() as conn:
        await conn.execute(
            "SELECT FROM api_key_meters WHERE api_key_id = %s FOR UPDATE", [held.record.id]
        )
        waiting = asyncio.create_task(keys.verify(held.key))
        # Those of the same statement wait with it; the next ones do not wait for it.
        while not keys._verifier._in_flight:
            await asyncio.sleep(0)
        for _ in range(20):
            assert await code(keys, free.key) == "VALID"
        assert not waiting.done()
    assert (await waiting).code == "VALID"


async def test_caller_who_gives_up_does_not_disturb_the_others(keys: Keys) -> None:
    issued = await keys.issue("acme")
    tasks = [asyncio.create_task(keys.verify(issued.key)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [f for f in found[1::2] if isinstance(f, BaseException)] == []


async def test_keys_hashed_with_a_secret_that_is_not_here_are_told_so(
    keys: Keys, db: Database, settings: Settings
) -> None:
    issued = await keys.issue("acme")
    other = Keys(db, replace(settings, key_secret="x" * 40))
    with pytest.raises(ConfigError) as told:
        await other.verify(issued.key)
    assert told.value.code == "key_secret_missing"
    assert "x" * 40 not in told.value.message


async def test_new_secret_takes_over_key_by_key(keys: Keys, settings: Settings) -> None:
    issued = await keys.issue("acme")
    (first,) = await keys.secrets()
    await keys.add_secret()
    found = {s.id: (s.keys, s.current) for s in await keys.secrets()}
    assert found[first.id] == (1, False)
    assert await code(keys, issued.key) == "VALID"
    found = {s.id: (s.keys, s.current) for s in await keys.secrets()}
    assert found[first.id] == (0, False)
    assert (settings.data_dir / "key-secret").stat().st_mode & 0o777 == 0o600
