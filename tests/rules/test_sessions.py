"""What lasts longer than a transaction is done on a connection that keeps its session."""

from __future__ import annotations

import re

from tests.rules.source import ROOT

SRC = ROOT / "src" / "aegis"

#: A lock, a setting, a temporary table or notifications of a session.
_LASTING = re.compile(
    r"pg_(?:try_)?advisory_lock(?:_shared)?\("
    r"|set_config\([^()]*(?:\([^()]*\)[^()]*)*, false\)"
    r"|execute\(\s*[fr]?\"SET (?!LOCAL|CONSTRAINTS|TRANSACTION)"
    r"|\"SET ROLE|\"LISTEN |CREATE TEMP|WITH HOLD"
)

#: Who says it, and how it comes by a session of its own: by `Database.session`, `owner` or
#: `dedicated`, or by `admin_connection`; all of these refuse a pooler by transactions.
_HOW = {
    "db/admin.py": "admin_connection itself",
    "db/lease.py": "dedicated",
    "db/opening.py": "settings of sessions, by sessions alone; TimeZone, which PgBouncer keeps",
    "db/vector_indexes.py": "owner, of whoever builds",
    "memory/store/consolidation_marks.py": "session",
    "memory/store/erasures.py": "owner",
    "memory/store/graphiti.py": "session",
    "memory/store/indexing.py": "owner",
    "memory/store/spares.py": "session",
    "ops/backup/creating.py": "admin_connection",
    "ops/health/running.py": "only without such a pooler",
    "ops/maintenance/doing.py": "owner",
    "ops/maintenance/history.py": "owner",
    "ops/maintenance/service.py": "owner",
    "ops/restore/loading.py": "admin_connection",
    "ops/restore/server.py": "admin_connection",
    "ops/stats/statements.py": "a table of one transaction (ON COMMIT DROP)",
    "security/columns/store/rewriting.py": "session",
    "security/columns/store/state.py": "session",
    "workflows/store/listening.py": "session",
}


def test_who_needs_a_session_is_known() -> None:
    found = {
        path.relative_to(SRC).as_posix()
        for path in SRC.rglob("*.py")
        if "migrations" not in path.parts and _LASTING.search(path.read_text())
    }
    assert found == set(_HOW)
