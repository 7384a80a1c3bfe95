"""Revision 0015 partitions the events in place, and goes back, without losing one."""

from __future__ import annotations

import pytest

from aegis.db import migrate
from aegis.errors import AegisError
from tests.db.rows import execute, value

pytestmark = pytest.mark.servers("18", "16")

EVENTS = """
    SELECT jsonb_agg(
        jsonb_build_array(
            id, api_key_id, customer_id, endpoint, method, status_code, response_time_ms,
            tokens_used, cost_usd, created_at
        ) ORDER BY id
    )::text
    FROM api_usage_events
"""
STATE = """
    SELECT jsonb_build_array(
        (SELECT jsonb_agg(to_jsonb(e) ORDER BY e.id) FROM api_usage_events e),
        (SELECT jsonb_agg(to_jsonb(i)) FROM usage_event_ids i),
        (SELECT jsonb_agg(to_jsonb(a)) FROM usage_archives a),
        (SELECT jsonb_agg(to_jsonb(h) ORDER BY h.hour, h.customer_id) FROM usage_hourly h),
        (SELECT jsonb_agg(to_jsonb(d) ORDER BY d.day, d.customer_id) FROM usage_daily d)
    )::text
"""
INSERT = (
    "INSERT INTO api_usage_events (customer_id, endpoint, method, status_code, created_at) VALUES "
)


def test_events_of_any_time_and_of_none_are_kept_both_ways(dsn: str) -> None:
    migrate.downgrade(dsn, "0014")
    execute(
        dsn,
        INSERT + "('first', '/', 'GET', 200, NULL)",
        INSERT + "('old', '/', 'GET', 200, '2019-05-31 23:59:59.999999+00')",
        INSERT + "('none', '/', 'GET', 500, NULL)",
        INSERT + "('never', '/', 'GET', 200, 'infinity'), ('bc', '/', 'GET', 200, '0044-03-15 BC')",
        INSERT + "('far', '/', 'GET', 200, '2031-02-01 00:00:00+00')",
    )
    before = value(dsn, EVENTS)
    migrate.upgrade(dsn)
    assert value(dsn, "SELECT relkind FROM pg_class WHERE relname = 'api_usage_events'") == "p"
    assert value(
        dsn,
        "SELECT string_agg(DISTINCT tableoid::regclass::text, ' ' ORDER BY tableoid::regclass::text"
        ") FROM api_usage_events",
    ) == ("api_usage_events_2019_05 api_usage_events_2031_02")
    # One without a time is billed where its neighbour of the number before is.
    assert value(
        dsn, "SELECT string_agg(customer_id, ' ' ORDER BY id) FROM api_usage_events "
             "WHERE created_at < '2019-06-01'",
    ) == "first old none never bc"  # fmt: skip
    assert value(dsn, "SELECT sum(calls) FROM usage_daily") == 6
    assert value(dsn, "SELECT sum(calls) FROM usage_hourly") == 6
    assert migrate.check(dsn) == []
    execute(dsn, INSERT + "('new', '/', 'GET', 200, DEFAULT)")
    assert value(dsn, "SELECT max(id) FROM api_usage_events") == 7
    execute(dsn, "DELETE FROM api_usage_events WHERE customer_id = 'new'")
    migrate.downgrade(dsn, "0014")
    assert value(dsn, EVENTS) == before
    assert value(dsn, "SELECT relkind FROM pg_class WHERE relname = 'api_usage_events'") == "r"
    execute(dsn, INSERT + "('again', '/', 'GET', 200, DEFAULT)")
    assert value(dsn, "SELECT max(id) FROM api_usage_events") == 8


def test_what_metering_knows_comes_back(dsn: str) -> None:
    execute(
        dsn,
        "INSERT INTO api_usage_events (customer_id, endpoint, method, status_code, event_id, "
        "source) VALUES ('a', '/', 'GET', 200, 'e1', 'events'), ('b', '/', 'GET', 200, NULL, NULL)",
        "INSERT INTO usage_event_ids (customer_id, event_id, created_at) VALUES ('a', 'e1', now())",
        # A month whose events are in a file alone: its sums cannot be computed again.
        "INSERT INTO usage_archives (month, state, path, rows, size_bytes, sha256, digest, "
        "dropped_at) VALUES ('2020-01-01', 'dropped', '/x', 5, 1, 's', 'd', now())",
        "INSERT INTO usage_hourly (hour, customer_id, endpoint, method, calls, cost_usd, "
        "response_histogram) VALUES ('2020-01-31 23:00+00', 'a', '/', 'GET', 5, 1.5, '{0,5}')",
        "INSERT INTO usage_daily (day, customer_id, endpoint, method, calls, cost_usd) "
        "VALUES ('2020-01-31', 'a', '/', 'GET', 5, 1.5)",
    )
    before = value(dsn, STATE)
    migrate.downgrade(dsn, "0014")
    assert value(dsn, "SELECT to_regclass('usage_hourly') IS NULL")
    migrate.upgrade(dsn)
    assert value(dsn, STATE) == before
    assert value(dsn, r"SELECT count(*) = 0 FROM pg_class WHERE relname LIKE 'aegis\_kept\_0015%'")
    assert migrate.check(dsn) == []


def test_what_the_owner_added_goes_along(dsn: str) -> None:
    migrate.downgrade(dsn, "0014")
    execute(
        dsn,
        "ALTER TABLE api_usage_events ADD COLUMN region text DEFAULT 'eu'",
        "CREATE INDEX of_the_owner ON api_usage_events (region)",
        "GRANT SELECT ON api_usage_events TO PUBLIC",
        INSERT + "('a', '/', 'GET', 200, now())",
    )
    migrate.upgrade(dsn)
    assert value(dsn, "SELECT region FROM api_usage_events") == "eu"
    assert value(dsn, "SELECT to_regclass('of_the_owner') IS NOT NULL")
    granted = "SELECT relacl::text LIKE '%=r/%' FROM pg_class WHERE relname = 'api_usage_events'"
    assert value(dsn, granted)
    migrate.downgrade(dsn, "0014")
    assert value(dsn, "SELECT region FROM api_usage_events") == "eu"
    assert value(dsn, "SELECT to_regclass('of_the_owner') IS NOT NULL")
    assert value(dsn, granted)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE VIEW bills AS SELECT * FROM api_usage_events", "view bills"),
        ("CREATE UNIQUE INDEX mine ON api_usage_events (id, method)", "unique index mine"),
        (
            "CREATE TABLE notes (event_id bigint CONSTRAINT of_event REFERENCES api_usage_events)",
            "foreign key of_event of notes",
        ),
    ],
)
def test_what_cannot_go_along_is_named_and_nothing_is_changed(
    dsn: str, statement: str, named: str
) -> None:
    migrate.downgrade(dsn, "0014")
    execute(dsn, INSERT + "('a', '/', 'GET', 200, NULL)", statement)
    with pytest.raises(AegisError, match=f"{named} hangs on api_usage_events"):
        migrate.upgrade(dsn)
    assert migrate.current(dsn) == "0014"
    assert value(dsn, "SELECT created_at IS NULL FROM api_usage_events")
