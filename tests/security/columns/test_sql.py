"""The hash of equality in SQL: on every server, and by pgcrypto's own hmac() where that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from aegis.db.dump import DEBIAN
from aegis.security.columns.sealing import Ring
from tests.cluster import throwaway_cluster
from tests.security.columns.conftest import customers
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.billing import Billing
    from aegis.db import Database
    from aegis.security.columns import Encryption

pytestmark = pytest.mark.servers("18", "16")

COLUMN: Final = "billing_accounts.email"
RING: Final = Ring({"0badcafe": bytes(range(32))}, source="the test")
TEXTS: Final = (
    "",
    "ann@example.org",
    "  ANN@Example.ORG\t\n",
    "ÄNN@exämple.org",
    "A\u0308nn@exa\u0308mple.org",
    "W\u030a",
    "ẞß ſ İ K",
    "\u00a0ann\u00a0",
    "日本" * 500,
    "\U0001f600",
)
FUNCTION: Final = Path(__file__).parents[3] / (
    "src/aegis/db/migrations/sql/0028_aegis_column_hash.sql"
)


async def test_sql_comes_to_the_same_hash(db: Database) -> None:
    key = RING.hash_key("0badcafe", COLUMN)
    for text in TEXTS:
        ((found,),) = await rows(db, "SELECT aegis_column_hash(%s, %s)", text, key)
        assert f"0badcafe:{found}" == RING.hash("0badcafe", COLUMN, text), text
    assert await rows(db, "SELECT aegis_column_hash(NULL, '')") == [(None,)]


async def test_a_statement_of_ones_own_finds_a_customer(
    db: Database, billing: Billing, encryption: Encryption
) -> None:
    await customers(billing, 3)
    await encryption.enable(COLUMN)
    key_id, key = await encryption.hash_key(COLUMN)
    found = await rows(
        db,
        "SELECT customer_id FROM billing_accounts "
        "WHERE email_hash = %s || ':' || aegis_column_hash('C1@example.ORG', %s)",
        key_id,
        key,
    )
    assert found == [("c1",)]
    (wanted,) = await encryption.hashes(COLUMN, "c1@example.org")
    assert await rows(
        db, "SELECT customer_id FROM billing_accounts WHERE email_hash = %s", wanted
    ) == [("c1",)]


async def test_the_servers_of_the_wheels_have_no_pgcrypto(db: Database) -> None:
    # Were it there one day, `hmac` could be offered; until then sha256() does.
    found: Any = await rows(
        db, "SELECT count(*) FROM pg_available_extensions WHERE name = 'pgcrypto'"
    )
    assert found == [(0,)]


def test_pgcrypto_comes_to_the_same_hash() -> None:
    """On Debian's server: `postgresql-contrib` has the extension."""
    (newest, *_) = sorted(DEBIAN.glob("*/lib/pgcrypto.so"), reverse=True)
    key = RING.hash_key("0badcafe", COLUMN)
    with (
        throwaway_cluster(newest.parents[1] / "bin") as dsn,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        conn.execute("CREATE EXTENSION pgcrypto")
        conn.execute(FUNCTION.read_bytes())
        for text in TEXTS:
            row = conn.execute(
                """
                SELECT
                    aegis_column_hash(%(text)s, %(key)s),
                    encode(
                        hmac(
                            convert_to(
                                normalize(
                                    lower(
                                        normalize(btrim(%(text)s, E' \\t\\r\\n'), NFC) COLLATE "C"
                                    ),
                                    NFC
                                ),
                                'UTF8'
                            ),
                            %(key)s,
                            'sha256'
                        ),
                        'hex'
                    )
                """,
                {"text": text, "key": key},
            ).fetchone()
            assert row is not None
            assert row[0] == row[1]
            assert f"0badcafe:{row[1]}" == RING.hash("0badcafe", COLUMN, text)
