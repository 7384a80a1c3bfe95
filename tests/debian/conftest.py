"""A server of Debian's packages; `make test-debian` builds its root and names it.

These run apart from the others: the root takes minutes, a superuser and a mirror of Debian.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.db import migrate
from tests.debian.root import Root

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACE = os.environ.get("AEGIS_TEST_DEBIAN_ROOT", "")
if not _PLACE:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def root() -> Root:
    return Root(Path(_PLACE))


@pytest.fixture(scope="session")
def debian(root: Root) -> Iterator[str]:
    """The DSN of a running server that has every extension of the root preloaded."""
    with root.postgres(shared_preload_libraries="pg_stat_statements, pgaudit") as dsn:
        yield dsn


@pytest.fixture
def prod(debian: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of the test's own, with the extensions."""
    name = f"prod_{abs(hash(request.node.name)) % 10**8}"
    with psycopg.connect(debian, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        url = make_conninfo(debian, dbname=name)
        migrate.upgrade(url)
        with psycopg.connect(url, autocommit=True) as conn:
            for extension in ("pg_stat_statements", "hypopg", "pgaudit", "pgcrypto"):
                conn.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}".encode())
        yield url
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
