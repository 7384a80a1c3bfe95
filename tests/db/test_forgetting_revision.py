"""Revision 0011 goes back and forth without losing what it brought."""

from __future__ import annotations

import pytest

from aegis.db import migrate
from tests.db.rows import MODERN_ROWS, execute, value

pytestmark = pytest.mark.servers("18", "16")

STATE = """
    SELECT jsonb_build_array(
        (SELECT jsonb_agg(to_jsonb(u)) FROM memory_usage u),
        (SELECT jsonb_agg(to_jsonb(h)) FROM memory_holds h),
        (SELECT jsonb_agg(to_jsonb(p)) FROM memory_policies p),
        (SELECT jsonb_agg(to_jsonb(a)) FROM memory_archives a),
        (SELECT jsonb_agg(to_jsonb(e)) FROM memory_erasures e),
        (SELECT jsonb_agg(expires_at ORDER BY id) FROM episodic_memory),
        (SELECT jsonb_agg(expires_at ORDER BY id) FROM semantic_memory)
    )::text
"""


def test_what_forgetting_knows_comes_back(dsn: str) -> None:
    execute(
        dsn,
        MODERN_ROWS,
        "UPDATE episodic_memory SET expires_at = '2030-01-01' WHERE summary = 'modern 1'",
        "UPDATE semantic_memory SET expires_at = '2031-01-01' WHERE content = 'modern 2'",
        "INSERT INTO memory_usage SELECT id, 3, '2026-01-01' FROM episodic_memory WHERE id = 1",
        "INSERT INTO memory_holds SELECT id, 'why' FROM episodic_memory WHERE id = 1",
        "INSERT INTO memory_policies VALUES ('n', 'log', '', 60, 'archive')",
        "INSERT INTO memory_archives (namespace, kind, reason, state, path, ids) "
        "VALUES ('n', 'episode', 'decay', 'complete', '/x', '{1,2}')",
        "INSERT INTO memory_erasures (state, stage, subject, counts) "
        "VALUES ('complete', 'done', 's', '{\"episodic_memory\": 1}')",
    )
    before = value(dsn, STATE)
    migrate.downgrade(dsn, "0008")
    assert value(dsn, "SELECT to_regclass('memory_archives') IS NULL")
    migrate.upgrade(dsn)
    assert value(dsn, STATE) == before
    assert value(dsn, "SELECT to_regclass('aegis_kept_0011') IS NULL")
    assert value(dsn, "SELECT nextval('memory_archives_id_seq')") == 2
    assert migrate.check(dsn) == []
