"""What differs from the schema of the code is named, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.db import migrate
from aegis.db.revision import HEAD
from aegis.errors import InvalidInput
from tests.db.rows import (
    execute,
)

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.servers("18", "16")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("ALTER TABLE workflows ADD COLUMN team text", "column workflows.team is extra: text"),
        ("ALTER TABLE workflows DROP COLUMN status", "column workflows.status is missing"),
        ("DROP INDEX idx_episodic_embedding", "index episodic_memory.idx_episodic_embedding is"),
        ("DROP INDEX idx_api_keys_enabled", "index api_keys.idx_api_keys_enabled is missing"),
        (
            "ALTER TABLE api_keys ALTER COLUMN rate_limit SET DEFAULT 61",
            "column api_keys.rate_limit is integer DEFAULT 61, expected integer DEFAULT 60",
        ),
        (
            "ALTER TABLE api_keys ALTER COLUMN id SET DEFAULT gen_random_uuid()",
            "column api_keys.id is uuid NOT NULL DEFAULT gen_random_uuid(), expected",
        ),
        (
            "ALTER TABLE semantic_memory ALTER COLUMN namespace DROP NOT NULL",
            "column semantic_memory.namespace is text DEFAULT",
        ),
        (
            "ALTER TABLE competitors ALTER COLUMN domain TYPE varchar(300)",
            "column competitors.domain is character varying(300) NOT NULL, expected",
        ),
        (
            "ALTER TABLE claude_sessions DROP CONSTRAINT claude_sessions_session_id_key",
            "constraint claude_sessions.claude_sessions_session_id_key is missing",
        ),
        (
            "ALTER TABLE decision_outcomes DROP CONSTRAINT ck_decision_outcomes_user_feedback",
            "constraint decision_outcomes.ck_decision_outcomes_user_feedback is missing",
        ),
        (
            "DROP INDEX uq_episodic_source_id; "
            "CREATE INDEX uq_episodic_source_id ON episodic_memory (namespace, source_id)",
            "index episodic_memory.uq_episodic_source_id is USING btree (namespace, source_id),",
        ),
        ("DROP TABLE competitor_changes", "table competitor_changes is missing"),
    ],
)
def test_check_names_what_drifted(dsn: str, change: str, line: str) -> None:
    execute(dsn, *change.split("; "))
    (found,) = migrate.check(dsn)
    assert found.startswith(line)


def test_check_leaves_tables_of_others_alone(dsn: str) -> None:
    execute(
        dsn, "CREATE TABLE notes (id int PRIMARY KEY, body text)", "CREATE INDEX ON notes (body)"
    )
    assert migrate.check(dsn) == []


def test_alembic_itself_sees_no_difference_and_would_see_one(dsn: str) -> None:
    from aegis.db.autogenerate import alembic_differences

    def differences() -> list[str]:
        with psycopg.connect(dsn) as conn, migrate.sqlalchemy_connection(conn) as connection:
            return alembic_differences(connection)

    assert differences() == []
    execute(
        dsn,
        "ALTER TABLE workflows ADD COLUMN team text",
        "DROP INDEX idx_semantic_concept",
        "ALTER TABLE competitors ALTER COLUMN enabled SET DEFAULT false",
        "ALTER TABLE competitors ALTER COLUMN name TYPE text",
        "ALTER TABLE competitors ALTER COLUMN domain DROP NOT NULL",
    )
    text = "\n".join(differences())
    for word in ("team", "idx_semantic_concept", "enabled", "modify_type", "modify_nullable"):
        assert word in text


def test_a_revision_is_written_with_the_next_number(
    dsn: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = shutil.copytree(migrate.MIGRATIONS, tmp_path / "100% mine")
    monkeypatch.setattr(migrate, "MIGRATIONS", folder)
    execute(dsn, "ALTER TABLE workflows DROP COLUMN status")
    path = migrate.revision("Give it back", autogenerate=True, dsn=dsn)
    number = f"{int(HEAD) + 1:04d}"
    assert path == folder / "versions" / f"{number}_give_it_back.py"
    text = path.read_text()
    assert "op.add_column" in text
    assert f"down_revision = '{HEAD}'" in text
    assert migrate.head() == number
    with pytest.raises(InvalidInput, match="needs a message"):
        migrate.revision(" ", autogenerate=False, dsn=dsn)
