"""The revision that lets columns be encrypted: it does not go back over encrypted values."""

from __future__ import annotations

import psycopg
import pytest

from aegis.db import migrate
from aegis.errors import AegisError
from tests.db.rows import execute, value

#: The one before it.
BEFORE = "0027"


SEALED = """
SET session_replication_role = replica;
INSERT INTO billing_accounts (customer_id, name) VALUES ('acme', 'aegis:v1:00000000:AAAA');
"""


def test_going_back_is_refused_while_a_value_is_encrypted(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SEALED)
    with pytest.raises(AegisError, match="aegis security encrypt disable --all first"):
        migrate.downgrade(dsn, BEFORE)
    assert value(dsn, "SELECT count(*) FROM encrypted_columns") == 0
    execute(dsn, "DELETE FROM billing_accounts")
    migrate.downgrade(dsn, BEFORE)
    assert value(dsn, "SELECT to_regclass('encrypted_columns') IS NULL")
    assert value(dsn, "SELECT to_regprocedure('aegis_column_hash(text, bytea)') IS NULL")
    migrate.upgrade(dsn)
    assert value(dsn, "SELECT to_regclass('encrypted_columns') IS NOT NULL")
