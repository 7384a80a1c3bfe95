"""Databases that others made are taken over whole, or not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from aegis.db import adopt, migrate
from aegis.db.revision import HEAD, TABLES
from aegis.errors import OpsError
from tests.db.rows import columns, contents, create_published, execute, value

if TYPE_CHECKING:
    from tests.conftest import Cluster

pytestmark = pytest.mark.servers("18", "16")

PUBLISHED = [name for name in TABLES if name != "infra_anomaly_alerts"]


def catalog(dsn: str) -> str:
    """Return every definition in the database, as one text."""
    return value(
        dsn,
        """
        SELECT string_agg(line, E'\n' ORDER BY line)
        FROM (
            SELECT concat_ws(
                ' ', c.oid::regclass, c.relkind, a.attname,
                format_type(a.atttypid, a.atttypmod), a.attnotnull,
                pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
            ) AS line
            FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE c.relnamespace <> 'information_schema'::regnamespace
              AND c.relnamespace::regnamespace::text !~ '^pg_(temp|toast_temp)'
            UNION ALL SELECT indexdef FROM pg_indexes
            UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint
            UNION ALL SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast_temp)'
            UNION ALL SELECT oid::regprocedure::text FROM pg_proc
            UNION ALL SELECT extname FROM pg_extension
        ) AS lines
        """,
    )


def assert_refused(dsn: str, *fragments: str) -> None:
    """Adoption is refused with these words, and leaves definitions and rows as they were."""
    before = catalog(dsn), contents(dsn, columns(dsn))
    with pytest.raises(OpsError) as refused:
        adopt.adopt(dsn)
    assert refused.value.code == "adopt_refused"
    assert "\n" not in str(refused.value)
    for fragment in fragments:
        assert fragment in str(refused.value)
    assert (catalog(dsn), contents(dsn, columns(dsn))) == before


def test_adopts_the_published_tables_with_every_row_equal(empty_dsn: str) -> None:
    create_published(empty_dsn)
    names = columns(empty_dsn)
    before = contents(empty_dsn, names)
    assert sorted(before) == sorted(PUBLISHED)
    assert all(before.values())

    report = adopt.adopt(empty_dsn)

    assert {t.name: t.state for t in report.tables} == {
        **dict.fromkeys(PUBLISHED, "same"),
        "infra_anomaly_alerts": "missing",
    }
    assert contents(empty_dsn, names) == before
    assert migrate.current(empty_dsn) == HEAD
    assert migrate.check(empty_dsn) == []


def test_new_rows_get_new_ids_after_adoption(empty_dsn: str) -> None:
    create_published(empty_dsn)
    highest = value(empty_dsn, "SELECT max(id) FROM episodic_memory")
    adopt.adopt(empty_dsn)
    fresh = value(
        empty_dsn,
        "INSERT INTO episodic_memory (event_type, summary) VALUES ('error', 'x') RETURNING id",
    )
    assert fresh > highest


def test_adoption_asks_nobody_for_pages(empty_dsn: str) -> None:
    create_published(empty_dsn)
    adopt.adopt(empty_dsn)
    assert value(empty_dsn, "SELECT count(next_check_at) FROM competitor_pages") == 0
    fresh = "INSERT INTO competitor_pages (url) VALUES ('https://a.example/') RETURNING id"
    page = value(empty_dsn, fresh)
    assert value(empty_dsn, "SELECT id FROM competitor_pages WHERE next_check_at <= now()") == page


def test_adopting_twice_changes_nothing_the_second_time(empty_dsn: str) -> None:
    create_published(empty_dsn)
    adopt.adopt(empty_dsn)
    before = catalog(empty_dsn)
    report = adopt.adopt(empty_dsn)
    assert report.notes == ("Aegis manages this database already",)
    assert catalog(empty_dsn) == before


def test_inspect_changes_nothing(empty_dsn: str) -> None:
    create_published(empty_dsn, rows=False)
    before = catalog(empty_dsn)
    report = adopt.inspect(empty_dsn)
    assert report.adoptable
    assert report.status.state == "unversioned"
    assert catalog(empty_dsn) == before


def test_keeps_the_revision_of_another_project_in_a_comment(empty_dsn: str) -> None:
    create_published(empty_dsn)
    execute(
        empty_dsn,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('3f2a9c01beef'), ('0003')",
    )
    assert migrate.state(empty_dsn) == "foreign"
    with pytest.raises(OpsError) as error:
        migrate.upgrade(empty_dsn)
    assert error.value.code == "schema_foreign"

    report = adopt.adopt(empty_dsn)

    assert report.status.revision == "0003,3f2a9c01beef"
    assert migrate.state(empty_dsn) == "current"
    comment = value(empty_dsn, "SELECT obj_description('alembic_version'::regclass)")
    assert "0003,3f2a9c01beef" in comment


def test_a_revision_that_looks_like_ours_is_foreign_without_our_mark(empty_dsn: str) -> None:
    create_published(empty_dsn, rows=False)
    execute(
        empty_dsn,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
        f"INSERT INTO alembic_version VALUES ('{HEAD}')",
    )
    assert migrate.state(empty_dsn) == "foreign"
    adopt.adopt(empty_dsn)
    assert migrate.check(empty_dsn) == []


def test_creates_missing_tables_and_indexes_and_keeps_the_owners(empty_dsn: str) -> None:
    create_published(empty_dsn)
    execute(
        empty_dsn,
        "DROP TABLE competitor_changes, competitor_pages",
        "CREATE TABLE notes (id int PRIMARY KEY, body text)",
        "INSERT INTO notes VALUES (1, 'mine')",
        "ALTER TABLE workflows ADD COLUMN team text",
        "ALTER TABLE workflows ADD COLUMN cost numeric NOT NULL DEFAULT 0",
        "CREATE INDEX by_team ON workflows (team)",
        "CREATE INDEX ON episodic_memory USING hnsw (embedding vector_cosine_ops)",
        "CREATE INDEX by_distance ON semantic_memory USING ivfflat (embedding) WITH (lists = 2)",
    )
    report = adopt.inspect(empty_dsn)
    assert report.extra_tables == ("notes",)
    states = {t.name: t for t in report.tables}
    assert states["competitor_pages"].state == "missing"
    assert states["episodic_memory"].renamed_indexes == (
        ("episodic_memory_embedding_idx", "idx_episodic_embedding"),
    )
    assert "column team is the owner's and stays" in states["workflows"].notes

    adopt.adopt(empty_dsn)

    assert value(empty_dsn, "SELECT body FROM notes") == "mine"
    assert value(empty_dsn, "SELECT count(*) FROM competitor_pages") == 0
    extra = migrate.check(empty_dsn)
    assert [line.split(" is extra")[0] for line in extra] == [
        "index semantic_memory.by_distance",
        "column workflows.cost",
        "column workflows.team",
        "index workflows.by_team",
    ]
    definition = value(empty_dsn, "SELECT pg_get_indexdef('by_distance'::regclass)")
    assert "ivfflat (((embedding)::vector(1536))) WITH (lists='2')" in definition


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            "ALTER TABLE episodic_memory DROP COLUMN context",
            "episodic_memory: column context jsonb is missing",
        ),
        (
            "ALTER TABLE semantic_memory ALTER COLUMN concept TYPE varchar(500)",
            "column concept is character varying(500) NOT NULL, expected character varying(200)",
        ),
        (
            "ALTER TABLE api_keys ALTER COLUMN tier SET DEFAULT 'pro'",
            "api_keys: column tier is",
        ),
        (
            "ALTER TABLE billing_events ALTER COLUMN amount_usd DROP NOT NULL",
            "column amount_usd is numeric(10,2), expected numeric(10,2) NOT NULL",
        ),
        (
            "ALTER TABLE claude_sessions DROP CONSTRAINT claude_sessions_session_id_key",
            "claude_sessions: constraint UNIQUE (session_id) is missing",
        ),
        (
            "ALTER TABLE workflows ADD COLUMN team text NOT NULL DEFAULT ''; "
            "ALTER TABLE workflows ALTER team DROP DEFAULT",
            "column team is extra and must be given a value",
        ),
        (
            "ALTER TABLE episodic_memory ADD COLUMN session_id uuid",
            "column session_id has a name that a later revision adds",
        ),
        (
            "ALTER TYPE memory_importance ADD VALUE 'urgent'",
            "type memory_importance has the values low, medium, high, critical, urgent",
        ),
        (
            "CREATE VIEW recent AS SELECT * FROM episodic_memory",
            "view recent reads episodic_memory.embedding",
        ),
        (
            "CREATE TABLE infra_anomaly_alerts (id serial PRIMARY KEY, message text)",
            "infra_anomaly_alerts: column host character varying(200) is missing",
        ),
        (
            "CREATE INDEX idx_episodic_namespace_session ON episodic_memory (id)",
            "the name idx_episodic_namespace_session is taken",
        ),
    ],
)
def test_refuses_a_table_that_differs_and_says_how(empty_dsn: str, change: str, line: str) -> None:
    create_published(empty_dsn)
    execute(empty_dsn, *change.split("; "))
    assert_refused(empty_dsn, line, "nothing was changed")


def test_names_every_difference_at_once(empty_dsn: str) -> None:
    create_published(empty_dsn, rows=False)
    execute(
        empty_dsn,
        "ALTER TABLE workflows DROP COLUMN graph",
        "ALTER TABLE competitors ALTER COLUMN name TYPE text",
    )
    assert_refused(empty_dsn, "workflows: column graph", "competitors: column name is text")


def test_sets_the_unpublished_table_aside_when_asked(empty_dsn: str) -> None:
    create_published(empty_dsn)
    execute(
        empty_dsn,
        "CREATE TABLE infra_anomaly_alerts (id serial PRIMARY KEY, message text)",
        "INSERT INTO infra_anomaly_alerts (message) VALUES ('cpu'), ('disk')",
    )
    adopt.adopt(empty_dsn, set_aside=True)
    assert value(empty_dsn, "SELECT count(*) FROM aegis_set_aside.infra_anomaly_alerts") == 2
    assert value(empty_dsn, "SELECT count(*) FROM infra_anomaly_alerts") == 0
    assert migrate.check(empty_dsn) == []


def test_setting_aside_is_undone_when_another_table_differs(empty_dsn: str) -> None:
    create_published(empty_dsn)
    execute(
        empty_dsn,
        "CREATE TABLE infra_anomaly_alerts (id serial PRIMARY KEY, message text)",
        "ALTER TABLE workflows DROP COLUMN graph",
    )
    with pytest.raises(OpsError, match="workflows: column graph jsonb is missing"):
        adopt.adopt(empty_dsn, set_aside=True)
    assert value(empty_dsn, "SELECT to_regnamespace('aegis_set_aside') IS NULL")
    assert value(empty_dsn, "SELECT count(*) FROM infra_anomaly_alerts") == 0


def test_there_is_nothing_to_adopt_in_an_empty_database(empty_dsn: str) -> None:
    assert_refused(empty_dsn, "nothing to adopt", "aegis db upgrade")


def test_rows_with_values_of_their_own_are_adopted_and_may_stay(empty_dsn: str) -> None:
    create_published(empty_dsn)
    execute(empty_dsn, "UPDATE decision_outcomes SET outcome_status = 'abandoned' WHERE id = 1")
    adopt.adopt(empty_dsn)
    execute(empty_dsn, "UPDATE decision_outcomes SET lessons_learned = 'x' WHERE id = 1")
    assert migrate.check(empty_dsn) == [
        "constraint decision_outcomes.ck_decision_outcomes_outcome_status is missing"
    ]


def test_tables_of_another_user_are_refused(empty_dsn: str, cluster: Cluster) -> None:
    create_published(empty_dsn)
    execute(
        empty_dsn,
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO guest",
        "GRANT CREATE ON SCHEMA public TO guest",
    )
    database = value(empty_dsn, "SELECT current_database()")
    execute(empty_dsn, f"GRANT CREATE ON DATABASE {database} TO guest")
    with pytest.raises(OpsError, match="episodic_memory belongs to aegis, and guest may not"):
        adopt.adopt(make_conninfo(empty_dsn, user="guest"))
    assert migrate.state(empty_dsn) == "unversioned"


def test_an_upgrade_that_was_cut_off_after_the_stamp_goes_on(empty_dsn: str) -> None:
    create_published(empty_dsn)
    names = columns(empty_dsn)
    before = contents(empty_dsn, names)
    # The name is free while the database is inspected, and taken when revision 0003 comes to it.
    execute(
        empty_dsn,
        """
        CREATE FUNCTION obstruct() RETURNS event_trigger LANGUAGE plpgsql AS
        $$ BEGIN
            IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                       WHERE object_identity LIKE '%.idx_episodic_namespace_timestamp') THEN
                RAISE EXCEPTION 'the power went off';
            END IF;
        END $$
        """,
        "CREATE EVENT TRIGGER obstruct ON ddl_command_end EXECUTE FUNCTION obstruct()",
    )
    with pytest.raises(OpsError, match="the power went off"):
        adopt.adopt(empty_dsn)
    assert (migrate.state(empty_dsn), migrate.current(empty_dsn)) == ("behind", "0002")
    assert contents(empty_dsn, names) == before

    execute(empty_dsn, "DROP EVENT TRIGGER obstruct")
    adopt.adopt(empty_dsn)
    assert migrate.check(empty_dsn) == []
    assert contents(empty_dsn, names) == before
