"""Backups by Debian's programs, which compress with zstd, of a server with foreign extensions."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest

from aegis.config import load_settings
from aegis.errors import ConfigError, OpsError
from aegis.ops.backup.destinations import s3
from aegis.ops.backup.service import Backups
from aegis.ops.restore.models import Wanted
from tests.db.rows import MODERN_ROWS, execute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.config import Settings
    from tests.debian.root import Root

_KEY, _SECRET = "test-key", "test-secret"


@pytest.fixture
def place(root: Root) -> Path:
    """A folder that the programs of the root can see."""
    return root.share


@pytest.fixture
def settings(
    root: Root, prod: str, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    monkeypatch.setenv("PATH", f"{root.clients()}:{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    execute(prod, MODERN_ROWS)
    data = place / tmp_path.name
    yield load_settings({}, data_dir=data, database_url=prod, embedder="none")
    shutil.rmtree(data)


@pytest.fixture
def gateway(root: Root) -> Iterator[dict[str, Any]]:
    """Settings for a radosgw, with a bucket."""
    with root.radosgw(_KEY, _SECRET) as address:
        make: Any = boto3.client
        make(
            "s3", endpoint_url=address, region_name="us-east-1",
            aws_access_key_id=_KEY, aws_secret_access_key=_SECRET,
        ).create_bucket(Bucket="backups")  # fmt: skip
        yield {
            "backup_destination": "s3://backups/aegis",
            "backup_s3_endpoint": address,
            "backup_s3_access_key": _KEY,
            "backup_s3_secret_key": _SECRET,
        }


@pytest.mark.parametrize("format", ["custom", "directory"])
async def test_zstd_is_used_and_comes_back(settings: Settings, debian: str, format: str) -> None:
    backups = Backups(settings)
    jobs = 2 if format == "directory" else 1
    made = await backups.create(replace(backups.wish(), format=format, jobs=jobs))
    assert made.manifest is not None
    assert made.manifest.compression == "zstd:1"
    assert {"hypopg", "pgaudit"} <= set(made.manifest.extensions)
    # This machine's own server lacks the extensions: it says so, and calls nothing proven.
    checked = await backups.verify(made.name, full=True)
    assert checked.verdict == "not_verified"
    restored = await backups.restore(made.name, Wanted(into=f"back_{format}"))
    assert restored.verdict == "verified"
    with psycopg.connect(debian, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {restored.database}".encode())


async def test_a_store_of_another_make_takes_copies_and_gives_them_back(
    settings: Settings, gateway: dict[str, Any]
) -> None:
    backups = Backups(replace(settings, **gateway))
    made = await backups.create()
    await backups.push(made.name)
    assert list(await backups.remote()) == [made.name]
    theirs = Backups(replace(settings, data_dir=settings.data_dir / "other", **gateway))
    fetched = await theirs.pull(made.name)
    assert fetched.manifest == made.manifest
    wrong = Backups(replace(settings, **gateway | {"backup_s3_secret_key": "wrong"}))
    with pytest.raises(ConfigError, match="refuses us") as refused:
        await wrong.push(made.name)
    assert refused.value.code == "backup_destination_refused"


async def test_a_store_that_acknowledges_and_loses_what_it_got_in_parts_is_found_out(
    settings: Settings, gateway: dict[str, Any], monkeypatch: pytest.MonkeyPatch, prod: str
) -> None:
    # The gateway's database store does just that: it answers that the parts are one object now,
    # and then has none of its bytes.
    monkeypatch.setattr(s3, "WHOLE", 1 << 20)
    monkeypatch.setattr(s3, "PART", 5 << 20)
    execute(
        prod,
        """
        CREATE TABLE noise AS
        SELECT string_agg(md5(random()::text || n || i), '')
        FROM generate_series(1, 200) AS n, generate_series(1, 1800) AS i
        GROUP BY n
        """,
    )
    backups = Backups(replace(settings, **gateway))
    made = await backups.create()
    assert made.manifest is not None
    assert sum(file.bytes for file in made.manifest.files) > 5 << 20
    with pytest.raises(OpsError, match="did not give it back") as lost:
        await backups.push(made.name)
    assert lost.value.code == "upload_lost"
    assert list(await backups.remote()) == []
