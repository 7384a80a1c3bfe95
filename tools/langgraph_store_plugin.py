"""A pytest plugin that puts `AegisStore` where LangGraph's tests make their stores.

Loaded by `tools.langgraph_store_tests`, never by our own tests.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
import types
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import create_autospec

import psycopg
import pytest
from psycopg.rows import dict_row

import aegis
from aegis.config import load_settings
from aegis.db import migrate
from aegis.langgraph import AegisStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

#: Why a test is left out, by a part of its name.
LEFT_OUT = {
    "async_batch": "of LangGraph's batching class, which this store is none of",
    "dedupe_ops": "of LangGraph's batching class, which this store is none of",
    "get_text_at_path": "of a function of LangGraph's",
    "validate_op_namespace": "of a function of LangGraph's",
    "escape_like_literal": "of a function of LangGraph's",
    "namespace_match_pattern": "of a function of LangGraph's",
    "nonnull_migrations": "of the other store's own statements",
    "abatch_uses_single_pool_checkout": "of the other store's own pool",
    "invalid_namespace_only_fails_its_own_call": "of LangGraph's batching class",
    "l2": "distance_type: this store knows cosine, and says so",
    "inner_product": "distance_type: this store knows cosine, and says so",
    "no_running_loop": "this store may be called without `async` beside a running loop",
    "sync_methods_reject": "this store may be called without `async` beside a running loop",
}

_numbers = itertools.count()
_shared: dict[str, Any] = {}


def pytest_configure() -> None:
    """Stand in for what only tests that are left out need."""
    mock = types.ModuleType("pytest_mock")
    mock.MockerFixture = object  # type: ignore[attr-defined]
    sys.modules.setdefault("pytest_mock", mock)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put our store into each module, and leave out what does not ask a store."""
    for item in items:
        module: Any = item.getparent(pytest.Module).obj  # type: ignore[union-attr]
        for name, ours in STANDING_IN.items():
            if hasattr(module, name):
                setattr(module, name, ours)
        conftest = sys.modules.get("tests.conftest")
        if conftest is not None:
            conftest.AsyncConnection = Nowhere  # type: ignore[attr-defined]
        why = next((why for part, why in LEFT_OUT.items() if part in item.name), None)
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def mocker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the tests use of pytest-mock's: to watch a method that goes on working."""

    def spy(place: Any, name: str) -> Any:
        watched = create_autospec(getattr(place, name), side_effect=getattr(place, name))
        monkeypatch.setattr(place, name, watched)
        return watched

    return types.SimpleNamespace(spy=spy)


@pytest.fixture(scope="session", autouse=True)
def _client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A throw-away server, and a client that every store of the tests shares."""
    root = Path(os.environ["AEGIS_STORE_TESTS_ROOT"])
    # Its package is called `tests`, as the archive's own is.
    spec = importlib.util.spec_from_file_location("aegis_cluster", root / "tests/cluster.py")
    assert spec is not None
    assert spec.loader is not None
    cluster = importlib.util.module_from_spec(spec)
    sys.modules["aegis_cluster"] = cluster
    spec.loader.exec_module(cluster)
    settings = load_settings({}, data_dir=tmp_path_factory.mktemp("data"))
    with cluster.throwaway_cluster(cluster.wheel_bin_dir()) as dsn:
        migrate.upgrade(dsn)
        with aegis.connect(dsn, settings=settings) as client:
            _shared.update(client=client, dsn=dsn)
            yield


class Store(AegisStore):
    """Ours, with what the tests of other stores call to prepare theirs."""

    MIGRATIONS: tuple[str, ...] = ()

    def __init__(self, *, index: Any = None, ttl: Any = None, name: str | None = None) -> None:
        #: A database of its own in those tests, a namespace of its own here.
        self.name = name or f"store-{next(_numbers)}"
        super().__init__(_shared["client"], index=index or False, ttl=ttl, namespace=self.name)

    def setup(self) -> None:
        """Nothing is missing."""

    @classmethod
    @contextmanager
    def from_conn_string(
        cls, conn_string: str, *, index: Any = None, ttl: Any = None, **_: Any
    ) -> Generator[Store]:
        """Give a store whose namespace is the name of the database."""
        yield cls(index=index, ttl=ttl, name=conn_string.rsplit("/", 1)[-1])

    @contextmanager
    def _cursor(self) -> Generator[_Cursor]:
        with psycopg.connect(_shared["dsn"], autocommit=True) as conn:
            yield _Cursor(conn.cursor(row_factory=dict_row), self.name)


class AsyncStore(Store):
    """The same, prepared by coroutines."""

    async def setup(self) -> None:  # type: ignore[override]
        """Nothing is missing."""

    async def start_ttl_sweeper(self, *args: Any) -> None:  # type: ignore[override]
        """Sweep now and then."""
        super().start_ttl_sweeper(*args)

    async def stop_ttl_sweeper(self, *args: Any) -> bool:  # type: ignore[override]
        """End the sweeper."""
        return super().stop_ttl_sweeper(*args)

    @classmethod
    @asynccontextmanager
    async def from_conn_string(  # type: ignore[override]
        cls, conn_string: str, *, index: Any = None, ttl: Any = None, **_: Any
    ) -> AsyncGenerator[AsyncStore]:
        """Give a store whose namespace is the name of the database."""
        yield cls(index=index, ttl=ttl, name=conn_string.rsplit("/", 1)[-1])

    @asynccontextmanager
    async def _cursor(self) -> AsyncGenerator[_AsyncCursor]:  # type: ignore[override]
        with psycopg.connect(_shared["dsn"], autocommit=True) as conn:
            yield _AsyncCursor(_Cursor(conn.cursor(row_factory=dict_row), self.name))


class _Cursor:
    """Runs what the tests look at their table with on ours."""

    def __init__(self, cursor: Any, name: str) -> None:
        self._cursor, self._name = cursor, name

    def execute(self, statement: str, params: Any = ()) -> None:
        if statement.startswith("DROP TABLE"):
            return
        ours = statement.replace("UPDATE store ", "UPDATE store_items ")
        ours = ours.replace("FROM store ", "FROM store_items ").replace(
            "prefix = %s", f"namespace = '{self._name}' AND array_to_string(path, '.') = %s"
        )
        self._cursor.execute(ours, params)

    def fetchone(self) -> Any:
        return self._cursor.fetchone()


class _AsyncCursor:
    def __init__(self, cursor: _Cursor) -> None:
        self._cursor = cursor

    async def execute(self, statement: str, params: Any = ()) -> None:
        self._cursor.execute(statement, params)

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()


class Nowhere:
    """A connection to the server that those tests expect: nothing is made or dropped there."""

    @classmethod
    def connect(cls, *_: Any, **__: Any) -> Nowhere:
        return cls()

    def __await__(self) -> Generator[Any, None, Nowhere]:
        yield from ()
        return self

    def __enter__(self) -> Nowhere:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    async def __aenter__(self) -> Nowhere:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def execute(self, *_: Any) -> Nowhere:
        return self


STANDING_IN: dict[str, Any] = {
    "InMemoryStore": Store,
    "PostgresStore": Store,
    "AsyncPostgresStore": AsyncStore,
    "Connection": Nowhere,
    "AsyncConnection": Nowhere,
}
