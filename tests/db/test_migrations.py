"""The schema's history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.db import fetch_value
from aegis.db.revision import HEAD, schema_state

if TYPE_CHECKING:
    from aegis.db import Connection, Database

pytestmark = pytest.mark.servers("18", "16")


async def test_schema_state_of_the_template_is_current(conn: Connection) -> None:
    status = await schema_state(conn)
    assert (status.state, status.revision) == ("current", HEAD)


async def test_db(db: Database) -> None:
    async with db.transaction() as conn:
        assert await fetch_value(conn, "SELECT count(*) FROM workflows") == 0
