"""Rows are written with what they tell of, or neither is; nothing secret or personal is in them."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from aegis.config import Settings
from aegis.db import Database
from aegis.errors import AegisError, ConfigError, InvalidInput, NotFound
from aegis.security.audit import store
from aegis.security.audit.actor import Actor, acting_as, login
from aegis.security.audit.encoding import Private
from aegis.security.audit.recording import append, audited, make_note, note
from aegis.security.audit.service import AuditLog
from tests.security.audit.conftest import fill

pytestmark = pytest.mark.servers("18", "16")


async def test_a_row_says_who_did_what_to_which_thing(db: Database, log: AuditLog) -> None:
    who = Actor(kind="key", face="http", id="key-7", request_id="r-1")
    with acting_as(who):
        async with audited(db) as conn:
            note(conn, "keys.issue", "key", "key-9", customer="acme", rate_limit=5)
    (row,) = await log.list()
    assert (row.seq, row.action, row.object_kind, row.object_id) == (
        1,
        "keys.issue",
        "key",
        "key-9",
    )
    assert (row.actor_kind, row.actor_id, row.face, row.request_id) == (
        "key",
        "key-7",
        "http",
        "r-1",
    )
    assert row.details == {"customer": "acme", "rate_limit": 5}
    assert await log.get(1) == row


async def test_a_program_is_known_by_its_login(db: Database, log: AuditLog) -> None:
    await fill(db, 1)
    (row,) = await log.list()
    assert (row.actor_kind, row.actor_id) == ("library", login())


async def test_a_change_that_is_rolled_back_leaves_no_row(db: Database, log: AuditLog) -> None:
    await fill(db, 1)
    with pytest.raises(ZeroDivisionError):
        async with audited(db) as conn:
            note(conn, "keys.revoke", "key", "a")
            raise ZeroDivisionError
    assert [row.seq for row in await log.list()] == [1]
    await fill(db, 1)
    assert (await log.verify()).problems == 0


async def test_a_row_that_cannot_be_written_takes_its_change_back(
    db: Database, settings: Settings
) -> None:
    settings.data_dir.mkdir(parents=True)
    (settings.data_dir / "key-secret").write_text("too short")
    with pytest.raises(ConfigError):
        async with audited(db) as conn:
            await conn.execute("CREATE TABLE scratch ()")
            note(conn, "keys.revoke", "key", "a")
    async with db.transaction() as conn:
        cursor = await conn.execute("SELECT to_regclass('scratch')")
        assert await cursor.fetchone() == (None,)


async def test_a_note_without_its_transaction_is_a_defect_that_shows(db: Database) -> None:
    async with db.transaction() as conn:
        with pytest.raises(RuntimeError, match="outside"):
            note(conn, "keys.revoke", "key", "a")
    with pytest.raises(RuntimeError, match="no action"):
        make_note("keys.eat", "key")  # pyright: ignore[reportArgumentType]


async def test_private_texts_are_digests_that_can_be_looked_for(
    db: Database, log: AuditLog
) -> None:
    async with audited(db) as conn:
        note(conn, "memory.hold", "namespace", Private("alice"), namespace=Private("alice"))
        note(conn, "memory.hold", "namespace", Private("bob"))
    bob, alice = await log.list()
    assert "alice" not in str(alice)
    assert alice.details["namespace"] == alice.object_id != bob.object_id
    assert await log.list(object="namespace:alice") == [alice]
    assert await log.list(object="namespace:carol") == []


async def test_details_are_made_harmless_and_still_verify(db: Database, log: AuditLog) -> None:
    odd = {
        "token": "secret_token=abcdefghijklmnop",
        "key": "sk-" + "a" * 30,
        "zero": "a\0b",
        "half": "\ud800",
        "long": "x" * 10_000,
        "many": list(range(1_000)),
        "deep": [[[[[["x"]]]]]],
        "float": 0.1,
        "exact": Decimal("1.10"),
        "huge": 10**30,
        "at": datetime(2026, 6, 1, tzinfo=UTC),
        "ünï": "日本\n\u2028",
        "set": {"b", "a"},
        "no": None,
        "yes": True,
    }
    async with audited(db) as conn:
        note(conn, "keys.update", "key", "\0", **odd)
    (row,) = await log.list()
    assert "abcdefghijklmnop" not in str(row.details)
    assert "a" * 30 not in str(row.details)
    assert row.details["float"] == "0.1"
    assert row.details["exact"] == "1.10"
    assert row.details["huge"] == str(10**30)
    assert row.details["set"] == ["a", "b"]
    assert len(row.details["many"]) == 51
    assert len(row.details["long"]) <= 300
    assert (await log.verify()).problems == 0


async def test_the_guards_refuse_every_change(db: Database, log: AuditLog) -> None:
    await fill(db, 3)
    for statement in (
        "UPDATE audit_log SET action = 'x'",
        "DELETE FROM audit_log WHERE seq = 3",
        "TRUNCATE audit_log",
        "UPDATE audit_head SET seq = 1",
        "UPDATE audit_head SET log_id = gen_random_uuid(), seq = 9",
        "DELETE FROM audit_head",
        "TRUNCATE audit_head",
        "TRUNCATE audit_seals",
        "SET LOCAL session_replication_role = replica; DELETE FROM audit_log",
    ):
        with pytest.raises(AegisError):
            async with db.transaction() as conn:
                for part in statement.split("; "):
                    await conn.execute(part.encode())
    assert (await log.verify()).problems == 0


async def test_rows_are_filtered_and_paged(db: Database, log: AuditLog) -> None:
    await fill(db, 5)
    async with audited(db) as conn:
        note(conn, "billing.credit", "entry", 7)
    assert [row.seq for row in await log.list(limit=2)] == [6, 5]
    assert [row.seq for row in await log.list(limit=2, before=5)] == [4, 3]
    assert [row.seq for row in await log.list(action="billing.credit")] == [6]
    assert [row.seq for row in await log.list(action="keys.*", limit=1)] == [5]
    assert [row.seq for row in await log.list(object="key:key-2")] == [3]
    assert [row.seq for row in await log.list(actor="library", object="entry")] == [6]
    assert await log.list(actor="operator") == []
    now = datetime.now(UTC)
    assert await log.list(since=now + timedelta(days=1)) == []
    assert len(await log.list(until=now + timedelta(days=1))) == 6
    for wrong in ({"limit": 0}, {"action": "keys.eat"}, {"object": ":x"}, {"before": 0}):
        with pytest.raises(InvalidInput):
            await log.list(**wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput):
        await log.list(since=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(NotFound):
        await log.get(99)


async def test_appending_at_once_makes_one_chain_without_gaps(db: Database, log: AuditLog) -> None:
    async def work(name: int) -> None:
        for number in range(10):
            try:
                async with audited(db) as conn:
                    note(conn, "keys.update", "key", f"{name}-{number}")
                    note(conn, "keys.update", "key", f"{name}-{number}-again")
                    if number % 3 == 0:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass

    await asyncio.gather(*(work(name) for name in range(6)))
    found = await log.verify()
    assert (found.problems, found.rows, found.through_seq) == (0, 72, 72)
    rows = await log.list(limit=100)
    assert all(a.recorded_at >= b.recorded_at for a, b in itertools.pairwise(rows))


async def test_a_connection_that_dies_while_it_holds_the_head_leaves_it_whole(
    db: Database, log: AuditLog
) -> None:
    await fill(db, 2)

    async def die() -> None:
        async with db.transaction() as conn:
            await append(conn, db.settings, [make_note("keys.revoke", "key", "x")])
            cursor = await conn.execute("SELECT pg_backend_pid()")
            row = await cursor.fetchone()
            assert row is not None
            async with db.transaction() as other:
                await other.execute("SELECT pg_terminate_backend(%s)", row)
            await conn.execute("SELECT 1")

    for _ in range(3):
        with pytest.raises((AegisError, psycopg.Error)):
            await die()
    await fill(db, 1)
    found = await log.verify()
    assert (found.problems, found.rows) == (0, 3)


async def test_whoever_appends_waits_for_no_lock_of_its_caller(db: Database) -> None:
    """Two that lock rows in opposite orders before they append do not stand in each other's way."""
    async with db.transaction() as conn:
        await conn.execute("CREATE TABLE scratch AS SELECT 'a' AS id, 0 AS n UNION SELECT 'b', 0")

    async def change(one: str) -> None:
        for _ in range(20):
            async with audited(db) as conn:
                note(conn, "keys.update", "key", one)
                await conn.execute("UPDATE scratch SET n = n + 1 WHERE id = %s", (one,))

    await asyncio.gather(*(change(one) for one in ("a", "b", "a", "b")))
    async with db.transaction() as conn:
        assert (await store.get_head(conn)).seq == 80


async def test_another_secret_signs_and_older_rows_still_verify(
    db: Database, settings: Settings, log: AuditLog
) -> None:
    from aegis.vault import Vault

    await fill(db, 2)
    Vault(settings).add()
    await fill(db, 2)
    assert (await log.verify()).problems == 0
    # A process that has another secret is one that nobody knows.
    stranger = replace(settings, key_secret="z" * 40)
    async with db.transaction() as conn:
        await append(conn, stranger, [make_note("keys.revoke", "key", "x")])
    found = await log.verify()
    assert [(f.kind, f.seq) for f in found.findings if f.severity == "problem"] == [
        ("unknown_secret", 5)
    ]
