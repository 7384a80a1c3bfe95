"""Optional extensions: listed with what they are for, created where they can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.config import load_settings
from aegis.db import embedded
from aegis.db.extensions import OPTIONAL, ensure_extensions, list_extensions
from aegis.db.query import fetch_value
from tests.cluster import embedded_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aegis.db import Connection

#: What the wheels carry; the one with 16 has no contrib.
CARRIED = {"18": {"pg_stat_statements", "pg_trgm"}, "16": set[str]()}


@pytest.fixture
async def empty(empty_dsn: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(empty_dsn) as connection:
        yield connection


@pytest.mark.servers("18", "16")
async def test_every_optional_extension_is_listed_with_its_purpose_and_cost(
    empty: Connection, server: str
) -> None:
    states = await list_extensions(empty)
    assert [state.extension for state in states] == list(OPTIONAL)
    assert all(state.extension.purpose and state.extension.absence for state in states)
    available = {state.extension.name for state in states if state.available is not None}
    assert available == CARRIED[server]
    assert not any(state.installed for state in states)


@pytest.mark.servers("18", "16")
async def test_ensure_creates_what_the_server_carries_and_passes_over_the_rest(
    empty: Connection, server: str
) -> None:
    states = await ensure_extensions(empty)
    installed = {state.extension.name for state in states if state.installed is not None}
    assert installed == CARRIED[server]
    assert await ensure_extensions(empty) == states


async def test_an_extension_that_cannot_be_created_is_reported_not_raised(
    empty: Connection,
) -> None:
    await empty.execute("SET ROLE pg_monitor")
    problems = {state.extension.name: state.problem for state in await ensure_extensions(empty)}
    assert "permission denied" in (problems["pg_stat_statements"] or "")
    assert problems["pgcrypto"] is None
    assert await fetch_value(empty, "SELECT 1") == 1


async def test_pg_stat_statements_that_was_not_loaded_is_of_no_use(empty: Connection) -> None:
    state = (await ensure_extensions(empty))[0]
    assert state.extension.name == "pg_stat_statements"
    assert not state.usable
    assert "shared_preload_libraries" in (state.problem or "")


async def test_the_embedded_server_has_pg_stat_statements_loaded() -> None:
    with embedded_folder() as data_dir:
        dsn = embedded.start(load_settings({}, data_dir=data_dir)).dsn
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            assert (await ensure_extensions(conn))[0].usable
            assert await fetch_value(conn, "SELECT count(*) > 0 FROM pg_stat_statements")
