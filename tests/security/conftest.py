"""Databases with roles: made by `aegis security apply`'s own code, on the tests' servers."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from aegis.config import Settings, load_settings
from aegis.security.roles.description import names
from aegis.security.roles.service import Roles

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from aegis.security.roles.models import Kind
    from tests.conftest import Cluster

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A database and the roles that were made for it."""

    dsn: str
    settings: Settings
    names: dict[Kind, str]

    def url(self, role: Kind | str) -> str:
        """Return the address for one of the roles; the tests' servers ask no password."""
        return make_conninfo(self.dsn, user=self.names.get(role, role))  # type: ignore[call-overload]

    def roles(self) -> Roles:
        return Roles(self.dsn, self.settings)

    def connect(self, role: Kind | str) -> psycopg.Connection:
        return psycopg.connect(self.url(role), autocommit=True)

    def admin(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True)


@contextmanager
def named(cluster: Cluster, dsn: str, folder: Path) -> Generator[Guarded]:
    """Yield a database whose roles have names of their own; they are gone at the end."""
    prefix = f"t{next(_numbers)}_aegis"
    settings = load_settings({}, data_dir=folder, role_prefix=prefix, database_url=dsn)
    try:
        yield Guarded(dsn=dsn, settings=settings, names=names(prefix))
    finally:
        _drop_roles(cluster, dsn, prefix)


def _drop_roles(cluster: Cluster, dsn: str, prefix: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        found = conn.execute(
            "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s) ORDER BY 1", (prefix,)
        ).fetchall()
        for (name,) in found:
            conn.execute(sql.SQL("REASSIGN OWNED BY {} TO aegis").format(sql.Identifier(name)))
            conn.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
    for (name,) in found:
        cluster.admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def bare(cluster: Cluster, dsn: str, tmp_path: Path) -> Iterator[Guarded]:
    """A database for which no roles were made yet."""
    with named(cluster, dsn, tmp_path / "data") as guarded:
        yield guarded


@pytest.fixture
def guarded(bare: Guarded) -> Guarded:
    """A database with its roles, the test's own."""
    asyncio.run(bare.roles().apply())
    return bare


@pytest.fixture(scope="module")
def shared(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """A database with its roles, for tests that change nothing in it."""
    with (
        cluster.database(template) as dsn,
        named(cluster, dsn, tmp_path_factory.mktemp("roles")) as guarded,
    ):
        asyncio.run(guarded.roles().apply())
        yield guarded
