"""A server that a test stops in the middle of long work, with a table that takes its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from aegis.config import load_settings
from aegis.db import migrate
from aegis.ops.backup.crypto import new_key
from tests.cluster import Handle, handled_cluster, reachable_folder, wheel_bin_dir
from tests.trouble.freezing import run_sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings

KEY = new_key()


@pytest.fixture(scope="module")
def server() -> Iterator[Handle]:
    with handled_cluster(wheel_bin_dir()) as handle:
        run_sql(handle.dsn, "CREATE DATABASE still TEMPLATE template0")
        url = make_conninfo(handle.dsn, dbname="still")
        migrate.upgrade(url)
        run_sql(
            url,
            """
            CREATE TABLE big AS
            SELECT i, repeat(md5(i::text), 40) AS t
            FROM generate_series(1, 60000) AS i
            """,
        )
        yield handle


@pytest.fixture
def url(server: Handle) -> str:
    return make_conninfo(server.dsn, dbname="still")


@pytest.fixture
def settings(url: str) -> Iterator[Settings]:
    with reachable_folder() as folder:
        yield load_settings(
            {}, data_dir=folder / "data", database_url=url, embedder="none", backup_keys=KEY,
            connect_timeout_s=2.0, pool_timeout_s=2.0,
        )  # fmt: skip
