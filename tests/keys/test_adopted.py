"""Keys of databases that others made: they work, and whatever their rows hold has an outcome."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from aegis.keys import Keys
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


pytestmark = pytest.mark.servers("18", "16")


async def code(keys: Keys, key: str) -> str:
    return (await keys.verify(key)).code


SEEDED = """
INSERT INTO api_keys (customer_id, key_hash, key_prefix{columns})
VALUES ('old', '{digest}', 'sk_old_'{values})
"""


@pytest.mark.parametrize("key", ["sk_old_abcdef", "aegis_live_of-another-age", "clé"])
@pytest.mark.parametrize("upper", [False, True])
async def test_key_of_an_adopted_database_works_and_is_upgraded_on_use(
    keys: Keys, db: Database, key: str, upper: bool
) -> None:
    digest = hashlib.sha256(key.encode()).hexdigest()
    await rows(db, SEEDED.format(columns="", values="", digest=digest.upper() if upper else digest))
    found = await keys.verify(key)
    assert (found.code, found.customer_id, found.environment) == ("VALID", "old", "live")
    # As the seed's defaults have it.
    assert (found.limits[0].limit, found.quota and found.quota.limit) == (60, 1000)
    ((stored,),) = await rows(db, "SELECT key_hash FROM api_keys")
    assert stored.startswith("hmac-sha256-old:")
    assert await code(keys, key) == "VALID"


async def test_upgraded_key_works_in_another_process(
    keys: Keys, db: Database, settings: Settings
) -> None:
    digest = hashlib.sha256(b"sk_old_abcdef").hexdigest()
    await rows(db, SEEDED.format(columns="", values="", digest=digest))
    assert await code(keys, "sk_old_abcdef") == "VALID"
    assert await code(Keys(db, settings), "sk_old_abcdef") == "VALID"
    await keys.add_secret()
    assert await code(Keys(db, settings), "sk_old_abcdef") == "VALID"
    assert [(s.keys, s.current) for s in await keys.secrets()] == [(1, True), (0, False)]


@pytest.mark.parametrize(
    ("columns", "values", "expected"),
    [
        (", tier, rate_limit, monthly_quota", ", NULL, NULL, NULL", ("VALID", 60, 1000)),
        (", tier, rate_limit", ", 'platinum', NULL", ("VALID", 60, 1000)),
        (", tier, rate_limit, monthly_quota", ", 'enterprise', NULL, NULL", ("VALID", 6000, None)),
        (", rate_limit", ", 2147483647", ("VALID", 2147483647, 1000)),
        (", rate_limit", ", -5", ("RATE_LIMITED", 0, 1000)),
        (", monthly_quota", ", 0", ("QUOTA_EXCEEDED", 60, 0)),
        (", enabled", ", FALSE", ("DISABLED", None, None)),
        (", enabled", ", NULL", ("DISABLED", None, None)),
        (", expires_at", ", now() - interval '1 day'", ("EXPIRED", None, None)),
    ],
)
async def test_whatever_an_adopted_row_holds_has_an_outcome(
    keys: Keys, db: Database, columns: str, values: str, expected: tuple[Any, ...]
) -> None:
    digest = hashlib.sha256(b"sk_old_x").hexdigest()
    await rows(db, SEEDED.format(columns=columns, values=values, digest=digest))
    found = await keys.verify("sk_old_x")
    limit = found.limits[0].limit if found.limits else None
    assert (found.code, limit, found.quota.limit if found.quota else None) == expected


async def test_negative_quota_of_an_adopted_row_lets_nothing_pass(keys: Keys, db: Database) -> None:
    digest = hashlib.sha256(b"sk_old_x").hexdigest()
    await rows(db, SEEDED.format(columns=", monthly_quota", values=", -7", digest=digest))
    other = await keys.issue("acme")
    found = await asyncio.gather(keys.verify("sk_old_x"), keys.verify(other.key))
    assert [f.code for f in found] == ["QUOTA_EXCEEDED", "VALID"]
