"""What is left of clear values: in dumps, in files, in logs, in the planner's samples."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from aegis.errors import InvalidInput
from tests.cluster import wheel_bin_dir
from tests.conftest import WHEELS
from tests.security.columns.conftest import ACCOUNT, customers
from tests.statements import rows

if TYPE_CHECKING:
    import pytest

    from aegis.billing import Billing
    from aegis.db import Database
    from aegis.security.columns import Encryption

#: A word that stands nowhere else.
WORD: Final = "Qwxyzzmarker"


async def _with_word(db: Database, billing: Billing) -> None:
    # Enough for the planner to keep samples.
    await customers(billing, 40, name=WORD, email=f"{WORD}@example.org", address=f"{WORD}\nTown")
    await rows(db, "ANALYZE billing_accounts")


def _files(dsn: str) -> list[Path]:
    """Return the files of the database and of what the cluster shares, but not of the log."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
        row = conn.execute(
            "SELECT current_setting('data_directory'), oid "
            "FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    folder = Path(row[0])
    found = [*(folder / "base" / str(row[1])).iterdir(), *(folder / "global").iterdir()]
    return [path for path in found if path.is_file()]


def _holding(dsn: str) -> list[str]:
    return [path.name for path in _files(dsn) if WORD.encode() in path.read_bytes()]


async def test_files_and_dumps_hold_no_clear_value_once_tables_are_rewritten(
    db: Database, dsn: str, billing: Billing, encryption: Encryption
) -> None:
    await _with_word(db, billing)
    assert len(_holding(dsn)) >= 2, "the table, and the planner's samples"
    await encryption.enable(*ACCOUNT)
    assert _holding(dsn), "old rows are there until the table is rewritten"
    assert await encryption.rewrite() == []
    assert _holding(dsn) == []
    programs = wheel_bin_dir(WHEELS["18"])
    dump = subprocess.run(
        [programs / "pg_dump", "--dbname", dsn], capture_output=True, check=True
    ).stdout
    assert b"aegis:v1:" in dump
    assert WORD.encode() not in dump
    # Not a word that cannot be found: it is there in clear.
    assert (await billing.account("c0")).name == WORD


async def test_logs_hold_no_clear_value(
    db: Database,
    billing: Billing,
    encryption: Encryption,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="aegis")
    caplog.set_level(logging.DEBUG, logger="psycopg")
    await _with_word(db, billing)
    await encryption.enable(*ACCOUNT)
    await encryption.rotate()
    await billing.accounts(email=f"{WORD}@example.org")
    try:
        await rows(db, f"UPDATE billing_accounts SET name = '{WORD}'")
    except InvalidInput as error:
        assert WORD not in error.message
    await encryption.verify()
    assert WORD not in caplog.text
