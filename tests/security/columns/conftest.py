"""Encryption of columns on a database of the test's own, with customers whose data it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from aegis.billing import Billing
from aegis.security.columns import Encryption
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

ACCOUNT: Final = ("billing_accounts.name", "billing_accounts.email", "billing_accounts.address")


@pytest.fixture
def encryption(db: Database, settings: Settings) -> Encryption:
    made = Encryption(db, settings)
    # Pages are few rows, so that a test has several.
    made.page = 3
    return made


@pytest.fixture
def billing(db: Database, settings: Settings) -> Billing:
    return Billing(db, settings)


async def customers(billing: Billing, count: int, **more: Any) -> None:
    """Add customers c0, c1, …"""
    for number in range(count):
        values = {
            "name": f"Customer {number}",
            "email": f"c{number}@Example.org",
            "address": f"Street {number}\nTown",
            **more,
        }
        await billing.set_account(f"c{number}", **values)


async def states(db: Database) -> dict[str, str]:
    """Return the state of each encrypted column."""
    found = await rows(
        db, "SELECT table_name || '.' || column_name, state FROM encrypted_columns ORDER BY 1"
    )
    return dict(found)
