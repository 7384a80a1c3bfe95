"""Columns that are encrypted, decrypted, rotated, verified; what readers and writers notice."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aegis.billing import Billing
from aegis.billing.store import accounts
from aegis.errors import ConfigError, Conflict, InvalidInput, OpsError
from aegis.keyring import new_key
from aegis.security.columns import Columns, Encryption
from tests.security.columns.conftest import ACCOUNT, customers, states
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


async def test_what_is_written_is_encrypted_and_what_is_read_is_clear(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    await customers(billing, 7)
    assert await encryption.enable(*ACCOUNT) == 21
    assert set((await states(db)).values()) == {"encrypted"}
    await billing.set_account("new", name="Neu", email="new@example.org", address="Weg 1")
    stored = await rows(db, "SELECT name, email, address, email_hash FROM billing_accounts")
    assert len(stored) == 8
    assert all(text.startswith("aegis:v1:") for row in stored for text in row[:3])
    assert all(len(row[3]) == 73 for row in stored)
    assert (await billing.account("new")).name == "Neu"
    listed = await billing.accounts()
    assert [a.name for a in listed] == [*(f"Customer {n}" for n in range(7)), "Neu"]
    assert listed[3].address == "Street 3\nTown"


async def test_a_column_is_decrypted_again_as_it_was(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    await customers(billing, 5)
    before = await rows(db, "SELECT * FROM billing_accounts ORDER BY customer_id")
    await encryption.enable(*ACCOUNT)
    assert await encryption.disable(all_columns=True) == 15
    assert await states(db) == {}
    assert await rows(db, "SELECT * FROM billing_accounts ORDER BY customer_id") == before


async def test_copies_are_encrypted_with_what_they_are_copies_of(
    db: Database, encryption: Encryption
) -> None:
    await encryption.enable("billing_accounts.name")
    assert [*await states(db)] == [
        "billing_accounts.name",
        "billing_invoices.customer_name",
        "billing_stripe_outbox.payload",
    ]
    with pytest.raises(Conflict) as refused:
        await encryption.disable("billing_invoices.customer_name")
    assert refused.value.code == "column_has_original"


async def test_absent_and_empty_values_stay_what_they_are(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    await billing.set_account("none", stripe_mode="none")
    await rows(db, "INSERT INTO billing_accounts (customer_id, name) VALUES ('empty', '')")
    await encryption.enable(*ACCOUNT)
    none, empty = await billing.account("none"), await billing.account("empty")
    assert (none.name, none.email, none.address) == (None, None, None)
    assert (empty.name, empty.email) == ("", None)
    assert await rows(
        db, "SELECT starts_with(name, 'aegis:v1:') FROM billing_accounts WHERE name IS NOT NULL"
    ) == [(True,)]
    await billing.set_account("empty", name=None)
    assert (await billing.account("empty")).name is None


@hypothesis_settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(text=st.text(max_size=200))
async def test_any_text_comes_back_or_is_refused(
    db: Database, encryption: Encryption, settings: Settings, text: str
) -> None:
    await encryption.enable("billing_accounts.name")
    columns = Columns(settings)
    async with db.transaction() as conn:
        await accounts.lock_accounts(conn, ["any"])
        try:
            (values,) = await columns.seal(conn, "billing_accounts", [("any", {"name": text})])
        except InvalidInput:
            assert "\0" in text or any("\ud800" <= c <= "\udfff" for c in text)
            return
        await accounts.update_account(conn, "any", values)
    async with db.transaction() as conn:
        found = await accounts.get_account(conn, "any")
    assert found.name is not None
    assert found.name.startswith("aegis:v1:")
    assert columns.reveal("billing_accounts", found).name == text


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udfff"])
async def test_what_postgresql_does_not_keep_is_refused_though_it_would_be_encrypted(
    db: Database, encryption: Encryption, settings: Settings, text: str
) -> None:
    await encryption.enable("billing_accounts.name")
    async with db.transaction() as conn:
        with pytest.raises(InvalidInput, match="PostgreSQL keeps none"):
            await Columns(settings).seal(conn, "billing_accounts", [("any", {"name": text})])


async def test_clear_values_are_read_while_they_are_being_encrypted(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    await customers(billing, 2)
    await encryption.enable("billing_accounts.name")
    await rows(db, "UPDATE encrypted_columns SET state = 'encrypting'")
    await rows(
        db,
        "SET LOCAL session_replication_role = replica; "
        "UPDATE billing_accounts SET name = 'still clear' WHERE customer_id = 'c1'",
    )
    assert [a.name for a in await billing.accounts()] == ["Customer 0", "still clear"]
    assert await encryption.enable("billing_accounts.name") == 1
    assert (await states(db))["billing_accounts.name"] == "encrypted"


async def test_the_database_takes_no_clear_text_from_whoever_does_not_know(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    await customers(billing, 1)
    await encryption.enable("billing_accounts.email")
    for statement in (
        "UPDATE billing_accounts SET email = 'clear@example.org'",
        "INSERT INTO billing_accounts (customer_id, email) VALUES ('x', 'clear@example.org')",
        "INSERT INTO billing_stripe_outbox (kind, customer_id, subject, payload, idempotency_key) "
        """VALUES ('customer', 'c0', 's', '{"email": "clear@example.org"}', 'k')""",
    ):
        with pytest.raises(InvalidInput, match="is encrypted, and takes no clear text") as refused:
            await rows(db, statement)
        assert "clear@" not in refused.value.message
    # What does not touch the value goes through.
    await rows(db, "UPDATE billing_accounts SET stripe_mode = 'none'")
    await rows(db, "UPDATE billing_accounts SET email = NULL")


async def test_nobody_can_type_what_looks_encrypted(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    with pytest.raises(InvalidInput, match="begins with 'aegis:v1:'"):
        await billing.set_account("evil", name="aegis:v1:00000000:AAAA")
    with pytest.raises(InvalidInput, match="takes no encrypted text"):
        await rows(
            db, "INSERT INTO billing_accounts (customer_id, name) VALUES ('evil', 'aegis:v1:x:y')"
        )
    await rows(
        db,
        "SET LOCAL session_replication_role = replica; "
        "INSERT INTO billing_accounts (customer_id, name) VALUES ('evil', 'aegis:v1:x:y')",
    )
    with pytest.raises(Conflict) as refused:
        await encryption.enable("billing_accounts.name")
    assert refused.value.code == "column_looks_encrypted"
    assert await states(db) == {}


async def test_a_value_that_was_moved_or_changed_is_one_error_and_no_page(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    await customers(billing, 3)
    await encryption.enable(*ACCOUNT)
    await rows(
        db,
        "UPDATE billing_accounts a SET name = b.name FROM billing_accounts b "
        "WHERE a.customer_id = 'c1' AND b.customer_id = 'c2'",
    )
    for read in (billing.account("c1"), billing.accounts()):
        with pytest.raises(OpsError, match=r"billing_accounts\.name of 'c1' does not decrypt"):
            await read
    (found,) = [v for v in await encryption.verify() if v.column == "billing_accounts.name"]
    assert (found.damaged, found.good) == (1, False)
    assert found.by_key == {encryption.keys.ring().ids[-1]: 2}
    assert [e.row for e in found.examples] == ["c1"]


async def test_equality_finds_exactly_what_is_equal(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    same = ["Ann@Example.org", " ann@example.ORG", "ann@example.org"]
    other = ["ann@example.com", "bann@example.org", "änn@example.org", "ANN@EXÄMPLE.ORG"]
    for number, email in enumerate([*same, *other]):
        await rows(
            db,
            "INSERT INTO billing_accounts (customer_id, email) VALUES (%s, %s)",
            f"c{number}",
            email,
        )

    async def found(text: str) -> list[str]:
        return [account.customer_id for account in await billing.accounts(email=text)]

    async def check() -> None:
        assert await found("ann@example.org") == ["c0", "c1", "c2"]
        assert await found("a\u0308nn@example.org") == ["c5"]
        assert await found("ann@exÄmple.org") == ["c6"]
        assert await found("ann@exämple.org") == []
        assert await found("nobody@example.org") == []

    await check()
    await encryption.enable("billing_accounts.email")
    await check()
    await encryption.rotate()
    await check()
    await encryption.disable(all_columns=True)
    await check()


async def test_equality_is_found_by_an_index(db: Database) -> None:
    async with db.transaction() as conn:
        await conn.execute("SET LOCAL enable_seqscan = off")
        cursor = await conn.execute(
            "EXPLAIN SELECT FROM billing_accounts WHERE email_hash = ANY (ARRAY['a', 'b'])"
        )
        plan = str(await cursor.fetchall())
    assert "idx_billing_accounts_email_hash" in plan


async def test_rotation_leaves_no_value_of_the_old_key_and_retires_it_only_then(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    await customers(billing, 4)
    await encryption.enable(*ACCOUNT)
    (old,) = encryption.keys.ring().ids
    with pytest.raises(Conflict, match=f"The key {old} is used by billing_accounts.address"):
        await encryption.retire(old)
    assert await encryption.rotate() == 12
    assert encryption.keys.ring().ids[0] == old
    new = encryption.keys.ring().ids[-1]
    assert {v.column: v.by_key for v in await encryption.verify() if v.by_key} == {
        name: {new: 4} for name in ACCOUNT
    }
    assert all(s.older_keys == [] and s.key_id == new for s in await encryption.list())
    await encryption.retire(old)
    assert encryption.keys.ring().ids == (new,)
    assert (await billing.account("c3")).email == "c3@Example.org"


async def test_a_lost_key_is_said_in_one_line_and_never_replaced(
    db: Database, billing: Billing, encryption: Encryption, settings: Settings
) -> None:
    await customers(billing, 2)
    await encryption.enable(*ACCOUNT)
    path = settings.data_dir / "column-keys"
    kept = path.read_text()
    path.unlink()
    for refused in (
        lambda: billing.account("c0"),
        billing.accounts,
        lambda: billing.accounts(email="c0@example.org"),
        lambda: billing.set_account("c0", name="x"),
        lambda: encryption.enable(*ACCOUNT),
        encryption.rotate,
        encryption.verify,
        lambda: encryption.disable(all_columns=True),
    ):
        with pytest.raises(ConfigError, match="without it nobody can read them") as lost:
            await refused()
        assert lost.value.code == "column_key_missing"
    assert not path.exists()
    assert {tuple(s.missing_keys) for s in await encryption.list()} != {()}
    path.write_text(kept)
    assert (await billing.account("c0")).name == "Customer 0"


async def test_another_process_with_other_settings_writes_nothing_clear(
    db: Database, billing: Billing, encryption: Encryption, settings: Settings
) -> None:
    await customers(billing, 1)
    await encryption.enable(*ACCOUNT)
    elsewhere = Billing(db, replace(settings, column_keys=new_key()))
    with pytest.raises(ConfigError, match="AEGIS_COLUMN_KEYS has"):
        await elsewhere.set_account("c0", name="clear")
    assert (await billing.account("c0")).name == "Customer 0"


async def test_keys_of_a_setting_are_rotated_to_its_newest(
    db: Database, settings: Settings
) -> None:
    first, second = new_key(), new_key()
    given = replace(settings, column_keys=first)
    one = Encryption(db, given)
    await customers(Billing(db, given), 2)
    await one.enable(*ACCOUNT)
    with pytest.raises(ConfigError) as refused:
        await one.rotate()
    assert refused.value.code == "column_keys_given"
    both = replace(settings, column_keys=f"{first},{second}")
    assert await Encryption(db, both).rotate() == 6
    alone = Billing(db, replace(settings, column_keys=second))
    assert (await alone.account("c1")).name == "Customer 1"
    assert not (settings.data_dir / "column-keys").exists()


async def test_why_a_column_cannot_be_encrypted_is_said(encryption: Encryption) -> None:
    for name, why in (
        ("episodic_memory.summary", "searched by words"),
        ("api_keys.name", "too short a type"),
        ("alert_channels.shown", "nothing secret"),
        ("nothing.here", "no reader of it would decrypt it"),
    ):
        with pytest.raises(InvalidInput, match=why):
            await encryption.enable(name)


async def test_invoices_and_stripe_get_clear_text_and_the_database_none(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    from tests.billing.conftest import LATER, subscribed, use

    await encryption.enable(*ACCOUNT)
    await customers(billing, 1, stripe_mode="invoices")
    await subscribed(billing, "c0")
    await use(db, "c0", "2026-10-02", 500)
    await billing.run("2026-10", now=LATER)
    (draft,) = await billing.invoices.list(customer_id="c0")
    final = await billing.invoices.finalize(draft.id)
    assert (final.customer_name, final.total_usd) == ("Customer 0", Decimal("5.00"))
    assert "Street 0" in billing.invoices.html(final)
    assert "Customer 0" in billing.invoices.csv([final])
    (listed,) = await billing.invoices.list(customer_id="c0")
    assert listed.customer_address == "Street 0\nTown"
    assert await billing.stripe.queue() >= 1
    queued = [row for row in await billing.stripe.rows() if row.kind == "customer"]
    assert queued[0].payload == {
        "name": "Customer 0",
        "email": "c0@Example.org",
        "metadata": {"aegis_customer_id": "c0"},
    }
    stored = await rows(
        db,
        "SELECT json_agg(i)::text || (SELECT json_agg(o)::text FROM billing_stripe_outbox o) "
        "|| (SELECT json_agg(a)::text FROM billing_accounts a) FROM billing_invoices i",
    )
    text = json.dumps(stored)
    assert "aegis:v1:" in text
    assert not [word for word in ("Customer 0", "Street 0", "Example.org") if word in text]
    assert await encryption.rotate() == 6
    assert (await billing.invoices.get(draft.id)).customer_name == "Customer 0"
    assert await billing.stripe.rows() == await billing.stripe.rows()
    assert all(found.good for found in await encryption.verify())
