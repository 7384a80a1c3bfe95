"""What is done to the doors themselves is logged: roles, tenants, encrypted columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.db import Database
from aegis.errors import Conflict
from aegis.security.audit.service import AuditLog
from aegis.security.columns import Encryption
from aegis.security.roles.tenants import Tenants

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.security.audit.models import AuditEntry
    from tests.security.conftest import Guarded


async def rows(dsn: str, settings: Settings) -> list[AuditEntry]:
    """Return the log, oldest first, after it was verified."""
    async with await Database.open(dsn, settings, min_size=1) as db:
        log = AuditLog(db, settings)
        await log.head()
        assert (await log.verify()).state == "ok"
        return [*reversed(await log.list())]


async def test_roles_that_are_made_and_made_anew_are_logged_once(bare: Guarded) -> None:
    await bare.roles().apply()
    await bare.roles().apply()
    await bare.roles().apply(rotate=["readonly"])
    first, second = await rows(bare.dsn, bare.settings)
    prefix = bare.settings.role_prefix
    assert (first.action, first.object_id) == ("security.roles_apply", prefix)
    assert first.details["rotated"] == []
    assert first.details["steps"] > 100
    assert second.details == {"steps": 1, "rotated": ["readonly"]}


async def test_tenants_are_logged_without_the_name_of_their_namespace(bare: Guarded) -> None:
    await bare.roles().apply()
    tenants = Tenants(bare.dsn, bare.settings)
    made = await tenants.add("ann", namespace="ann-private", customer_id="acme")
    with pytest.raises(Conflict):
        await tenants.add("ann", namespace="other")
    password = made.password.read_text().strip()
    await tenants.remove("ann")
    _, added, removed = await rows(bare.dsn, bare.settings)
    assert (added.action, added.object_id) == ("security.tenant_add", made.role_name)
    assert added.details["customer"] == "acme"
    assert "ann-private" not in str(added.details)
    assert password not in str(added)
    assert (removed.action, removed.object_id) == ("security.tenant_remove", made.role_name)


async def test_columns_are_logged_from_the_beginning_to_the_key_that_goes(
    db: Database, dsn: str, settings: Settings
) -> None:
    encryption = Encryption(db, settings)
    await encryption.enable("billing_accounts.email")
    (old,) = encryption.keys.ring().ids
    await encryption.rotate()
    with pytest.raises(Conflict):
        await encryption.retire(encryption.keys.ring().ids[-1])
    await encryption.retire(old)
    await encryption.disable("billing_accounts.email")
    found = [(row.action, row.object_id) for row in await rows(dsn, settings)]
    enabled = [name for action, name in found if action == "security.column_enable"]
    assert "billing_accounts.email" in enabled
    # Copies of a column are encrypted with it, and stay so where only it is named.
    assert found == [
        *(("security.column_enable", name) for name in enabled),
        ("security.column_rotate", None),
        ("security.column_retire", old),
        ("security.column_disable", "billing_accounts.email"),
    ]
