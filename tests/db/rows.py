"""Databases as others made them, and their rows as a value to compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from aegis.db.revision import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent

#: What an owner without contrib has instead of uuid-ossp.
UUID_STAND_IN = """
CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()'
"""

#: Rows that only the newest schema can hold.
MODERN_ROWS = """
INSERT INTO episodic_memory (event_type, summary, namespace, session_id, source_id, embedding,
                             embedding_model)
SELECT 'learning', 'modern ' || n, 'agent-' || n % 2, 's', 'git:' || n,
       (SELECT array_agg(sin(n * i))::vector FROM generate_series(1, 384) AS i),
       'all-MiniLM-L6-v2-onnx-int8'
FROM generate_series(1, 20) AS n;
INSERT INTO semantic_memory (concept, content, namespace, source_id, embedding, embedding_model)
SELECT 'c', 'modern ' || n, 'agent', 'doc:' || n,
       (SELECT array_agg(sin(n * i))::vector FROM generate_series(1, 384) AS i),
       'all-MiniLM-L6-v2-onnx-int8'
FROM generate_series(1, 5) AS n;
INSERT INTO decision_outcomes (task_context, alternatives, chosen_option, reasoning, namespace)
VALUES ('t', '["a"]', 'a', 'r', 'agent-1');
INSERT INTO decision_outcomes (task_context, alternatives, chosen_option, reasoning, confidence,
                               review_at)
VALUES ('sure', '["a"]', 'a', 'r', 0.75, '2026-06-01 00:00:00+00');
INSERT INTO decision_episodes (decision_id, episode_id, role)
SELECT d.id, e.id, 'against'
FROM decision_outcomes d, episodic_memory e
WHERE d.task_context = 'sure' AND e.summary = 'modern 1';
INSERT INTO api_keys (id, customer_id, key_hash, key_prefix, scopes, limits, revoked_at)
VALUES ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e11', 'modern', 'hmac-sha256:a:1', 'aegis_live_a',
        '{a:b}', '{"tokens": {"limit": 5, "window_s": 60}}', '2026-06-01 00:00:00+00'),
       ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e12', 'modern', 'hmac-sha256:a:2', 'aegis_live_b',
        '{}', NULL, NULL);
INSERT INTO api_key_meters (api_key_id, rate_at, rate_backlog, period, granted, used, overage)
VALUES ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e11', 1, 2, '2026-06-01', 5, 7, 2);
INSERT INTO api_key_limits (api_key_id, name, counted_at, backlog, window_us)
VALUES ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e11', 'tokens', 1, 2, 60000000);
INSERT INTO api_key_old_hashes (key_hash, api_key_id, valid_until)
VALUES ('hmac-sha256:a:0', '3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e12', '2026-06-01 00:00:00+00');
INSERT INTO api_key_secrets (id) VALUES ('a');
INSERT INTO api_customers (customer_id, rate_limit, monthly_quota, limits, period, granted, used)
VALUES ('c', 100, 10, '{"t": {"limit": 5, "window_s": 60}}', '2026-01-01', 12, 3);
INSERT INTO api_customer_limits (customer_id, name, counted_at, backlog, window_us)
VALUES ('c', 't', 1, 2, 3000000);
INSERT INTO api_customer_ledger (customer_id, period, kind, amount, note)
VALUES ('c', '2026-01-01', 'grant', 10, NULL), ('c', '2026-01-01', 'topup', 2, 'why');
UPDATE api_keys SET namespaces = '[{"namespace": "n", "write": false}]'
WHERE id = (SELECT min(id::text)::uuid FROM api_keys);
INSERT INTO api_quota_ledger (api_key_id, period, kind, amount)
VALUES ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e11', '2026-06-01', 'grant', 5),
       ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e11', '2026-06-01', 'overage', 2);
INSERT INTO security_roles (role_name, kind) VALUES ('aegis_tenant', 'tenant');
INSERT INTO security_tenants (role_name, namespace, customer_id)
VALUES ('aegis_tenant_modern', 'agent-1', NULL);
UPDATE api_tiers SET price_usd = 30 WHERE name = 'developer';
INSERT INTO infra_anomaly_alerts (metric, kind, explanation, started_at, evidence)
VALUES ('cpu_percent', 'spike', 'three times the usual', NOW(), '{"window": [1, 2]}');
INSERT INTO claude_sessions (session_id, namespace, source, turn, title, transcript_offset, resumes,
                             input_tokens, cost_usd)
VALUES ('modern', 'agent-1', 'hook', 'working', 'Fix the index', 4096, 2, 12, 0.25);
INSERT INTO claude_sessions (session_id, parent_id, source, agent_type)
SELECT 'modern:a1', id, 'hook', 'Explore' FROM claude_sessions WHERE session_id = 'modern';
INSERT INTO session_events (session_id, key, event, at, tool, path, details, recalled)
SELECT id, 'tool:1', 'PostToolUse', '2026-05-01 09:00:00+00', 'Edit', '/a.py', '{"ms": 3}', '{1,2}'
FROM claude_sessions WHERE session_id = 'modern';
INSERT INTO session_usage (session_id, message_key, at, model, input_tokens, output_tokens,
                           cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens)
SELECT id, 'msg_1', '2026-05-01 09:00:00+00', 'claude-sonnet-4-5', 12, 34, 5, 6, 7
FROM claude_sessions WHERE session_id = 'modern';
INSERT INTO model_prices (model, valid_from, input_usd, output_usd, cache_write_5m_usd,
                          cache_write_1h_usd, cache_read_usd)
VALUES ('my-model', '2026-01-01 00:00:00+00', 1, 2, 3, 4, 5);
INSERT INTO schedules (name, cron, function, created_by, next_at)
VALUES ('modern', '0 2 * * *', 'memory.sweep', 'operator', '2026-06-02 02:00:00+00');
INSERT INTO jobs (function, arguments, key, state, unique_key, schedule, planned_at, finished_at)
VALUES ('memory.sweep', '{"a": 1}', 'k', 'completed', 'once', 'modern', '2026-06-01 02:00:00+00',
        '2026-06-01 02:00:01+00');
INSERT INTO workers (id, host, pid, kinds, concurrency)
VALUES ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e99', 'box', 7, '{jobs}', 4);
INSERT INTO provider_rates (provider, per_minute, burst) VALUES ('modern', 60, 2);
INSERT INTO billing_plans (name, version, valid_from, terms)
VALUES ('basic', 1, '2026-06-01', '{"flat_usd": "5.00"}');
INSERT INTO billing_accounts (customer_id, name) VALUES ('modern', 'Modern');
INSERT INTO billing_subscriptions (customer_id, plan, starts_on, proration)
VALUES ('modern', 'basic', '2026-06-01', 'daily');
INSERT INTO billing_meter_spans (customer_id, begins_on, ends_on)
VALUES ('modern', '2026-05-01', '2026-06-01');
INSERT INTO billing_runs (period) VALUES ('2026-06-01');
INSERT INTO billing_periods (customer_id, period, run_period, segments)
VALUES ('modern', '2026-06-01', '2026-06-01', '[]');
INSERT INTO billing_events (id, customer_id, event_type, amount_usd, period, line, quantity,
                            entry_key)
VALUES (1001, 'modern', 'subscription', 5.00, '2026-06-01', '0:flat', NULL, 'a');
INSERT INTO billing_invoices (customer_id, period, number, state, total_usd)
VALUES ('modern', '2026-06-01', '2026-000001', 'final', 5.00);
INSERT INTO billing_invoice_lines (invoice_id, position, event_id, kind, description, amount_usd)
SELECT id, 1, 1001, 'subscription', 'basic', 5.00 FROM billing_invoices;
INSERT INTO billing_invoice_numbers (year, last) VALUES (2026, 1);
INSERT INTO billing_stripe_outbox (kind, customer_id, subject, payload, idempotency_key)
VALUES ('customer', 'modern', 'customer:modern', '{}', 'k');
INSERT INTO billing_stripe_events (event_id, event_type, happened_at, outcome)
VALUES ('evt_1', 'invoice.paid', '2026-06-01 00:00:00+00', 'ignored');
INSERT INTO workflows (id, name, graph, version)
VALUES ('5a1d8f1e-6a43-4f0e-9d31-2f3b7c1c2e21', 'modern', '{}', 2);
INSERT INTO workflow_versions (workflow_id, version, graph, status)
SELECT id, n, '{"nodes": {}}', CASE n WHEN 1 THEN 'archived' ELSE 'active' END
FROM workflows, generate_series(1, 2) AS n WHERE name = 'modern';
INSERT INTO workflow_executions (id, workflow_id, version, context, idempotency_key, reason, token,
                                 wake_at, steps)
SELECT '5a1d8f1e-6a43-4f0e-9d31-2f3b7c1c2e22', id, 1, '{}', 'k', 'waiting', 3,
       '2026-06-01 00:00:00+00', 1
FROM workflows WHERE name = 'modern';
INSERT INTO workflow_steps (execution_id, seq, node, branch, status, output, started_at)
VALUES ('5a1d8f1e-6a43-4f0e-9d31-2f3b7c1c2e22', 1, 'a', 'each[3]', 'completed', '{"n": 1}',
        '2026-06-01 00:00:00+00');
INSERT INTO workflow_signals (execution_id, name, payload)
VALUES ('5a1d8f1e-6a43-4f0e-9d31-2f3b7c1c2e22', 'go', 'true');
INSERT INTO deep_briefing_jobs (id, query, status, provider, namespace, model, query_key, token,
                                query_embedding, embedding_model, remember, queued_at, remote_id,
                                checkpoint, budget_usd, budget_month, exact_cost_usd)
VALUES ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e21', 'modern', 'completed', 'claude', 'agent-1', 'm',
        repeat('a', 64), 3, '[1,2]', 'e', TRUE, '2026-06-01 00:00:00+00', 'msg_1', '{"turns": 1}',
        2.5, '2026-06-01', 0.1234567891);
INSERT INTO research_calls (job_id, call_key, provider, usage, cost_usd, cost_source)
VALUES ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e21', 'msg_1', 'claude', '{"searches": 2}', 0.02,
        'prices');
INSERT INTO research_sources (job_id, position, kind, url)
VALUES ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e21', 1, 'web', 'https://example.org/');
INSERT INTO research_citations (job_id, position, source_position, url, start_char, end_char,
                                verified)
VALUES ('3f0e8a52-9c1d-4a57-8a36-0d5b7c1c2e21', 1, 1, 'https://example.org/', 0, 4, TRUE);
INSERT INTO research_prices (provider, model, meter, valid_from, usd, per, source, source_date)
VALUES ('gemini', 'mine', 'searches', '2026-06-01', 14, 1000, 'invoice', '2026-06-01');
INSERT INTO research_budgets (namespace, month_usd) VALUES ('agent-1', 20);
INSERT INTO research_months (namespace, month, spent_usd)
VALUES ('agent-1', '2026-06-01', 0.1234567891);
INSERT INTO competitors (name, domain, url, check_every_s, lease_owner, lease_until, lease_token)
VALUES ('modern', 'modern.example', 'http://modern.example:8080/', 3600, 'w', NOW(), 4);
INSERT INTO competitor_pages (competitor_id, url, page_type, state, exclude_selectors, noise, etag)
SELECT id, 'http://modern.example:8080/pricing', 'pricing', 'proposed', '{.ad}', '{"masks": []}',
       '"a"'
FROM competitors WHERE name = 'modern';
INSERT INTO competitor_snapshots (page_id, state, url, status, extractor, method, title, text,
                                  prices, outline, html, picture)
SELECT id, 'baseline', url, 200, 'x-1', 'blocks', 'Plans', 'Pro', 'Pro 10 USD', 'h1 Plans', '\\x01',
       '\\x0203'
FROM competitor_pages WHERE etag = '"a"';
INSERT INTO competitor_hosts (host, robots, robots_status, robots_at, next_request_at)
VALUES ('http://modern.example:8080', 'User-agent: *', 200, NOW(), NOW());
INSERT INTO competitor_changes (page_id, change_type, old_value, new_value, importance, summary,
                                word_diff, details, telling_due)
SELECT id, 'price', '10', '12', 'high', 'Pro costs more', '[-10-] {+12+}', '{"plan": "Pro"}', true
FROM competitor_pages WHERE etag = '"a"';
INSERT INTO backups (name, number, label, snapshot_at, finished_at, format, compression, encrypted,
                     bytes, table_count, row_count, server_version, verdict, local, copied_to)
VALUES ('aegis_20260601T020000000000Z_nightly', 1, 'nightly', '2026-06-01 02:00:00+00',
        '2026-06-01 02:01:00+00', 'custom', 'gzip:1', false, 1000, 2, 3, '18.6', 'not_verified',
        true, '{}');
INSERT INTO backup_drills (started_at, backup, verdict, rto_s, rpo_s, source, detail)
VALUES ('2026-06-01 05:00:00+00', 'aegis_20260601T020000000000Z_nightly', 'verified', 12.5, 10800,
        'local', 'recovered');
INSERT INTO health_snapshots (server_started_at, database_bytes, connections, heap_hit, heap_read,
                              index_hit, index_read, commits, rollbacks, deadlocks, temp_bytes,
                              checksum_failures, with_relations)
VALUES ('2026-06-01 00:00:00+00', 8192, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, true);
INSERT INTO health_relations (snapshot_id, schema_name, name, table_name, kind, size_bytes)
SELECT id, 'public', 'api_keys', 'api_keys', 'table', 8192 FROM health_snapshots;
INSERT INTO health_queries (query_id, query) VALUES (1, 'SELECT $1');
INSERT INTO health_statements (snapshot_id, query_id, calls, total_ms, rows, blocks_hit,
                               blocks_read)
SELECT id, 1, 2, 3, 4, 5, 6 FROM health_snapshots;
INSERT INTO maintenance_runs (task, object, reason, command)
VALUES ('vacuum', 'public.api_keys', 'dead rows', 'VACUUM public.api_keys');
INSERT INTO infra_anomaly_alerts (metric, kind, explanation, started_at, incident, first_id,
                                  marked_false_at)
VALUES ('mem_percent', 'drift', 'leaks', '2026-06-01', 'web/mem_percent/1', 1, '2026-06-01');
INSERT INTO alert_rules (name, source, labels, channels, hold_s)
VALUES ('night', 'doctor', '{"a": "b*"}', '{ops}', 0);
INSERT INTO alerts (id, source, condition_id, labels, group_key, title, state, severity,
                    condition_state, rule, hold_s, began_at, fired_at)
VALUES (7, 'doctor', 'backup.age', '{"a": "b"}', 'doctor', 'Backup is old', 'firing', 'critical',
        'critical', 'night', 0, '2026-06-01', '2026-06-01');
INSERT INTO alert_events (alert_id, kind, by) VALUES (7, 'fired', NULL), (7, 'acknowledged', 'me');
INSERT INTO alert_silences (condition, until, reason) VALUES ('backup.*', '2026-06-02', 'move');
INSERT INTO alert_channels (name, kind, shown, quiet_from, quiet_until, quiet)
VALUES ('ops', 'webhook', 'https://example.org', 1320, 420, '22:00-07:00 UTC');
INSERT INTO alert_deliveries (channel, group_key, critical, entries)
VALUES ('ops', 'doctor', true, '[{"alert_id": 7, "kind": "fired"}]');
INSERT INTO metric_rules (name, kind, metric, value) VALUES ('hot', 'threshold', 'cpu_percent', 90);
UPDATE metric_watch SET owner = 'me', done_until = '2026-06-01';
INSERT INTO metric_watch_states (container_name, state)
VALUES ('web', decode('0001', 'hex'));
INSERT INTO audit_log (seq, recorded_at, action, actor_kind, face, object_kind, details,
                       previous_hash, hash, secret_id, signature)
SELECT 2, '2026-06-01 00:00:00.123456+00', 'keys.revoke', 'cli', 'cli', 'key', '{"n": 1}',
       sha256('a'), sha256('b'), 's', sha256('c');
UPDATE audit_head SET seq = 2, hash = sha256('b');
INSERT INTO audit_seals (through_seq, from_seq, hash, row_count, first_recorded_at,
                         last_recorded_at, sealed_at, secret_id, signature)
SELECT 1, 1, sha256('a'), 1, '2026-05-01', '2026-05-01', '2026-06-01', 's', sha256('d');
INSERT INTO audit_verifications (complete, from_seq, through_seq, row_count, problem_count,
                                 warning_count, elapsed_ms)
VALUES (true, 2, 2, 1, 0, 0, 1.5);
INSERT INTO encrypted_columns (table_name, column_name, state, key_id, older_keys)
VALUES ('billing_accounts', 'address', 'decrypting', '0123abcd', '{89abcdef}');
INSERT INTO container_starts (container_name, started_at, starts) VALUES ('web', '2026-06-01', 2);
INSERT INTO metric_collectors VALUES ('box', 'me', '2026-06-01');
INSERT INTO container_metrics_5m (container_name, bucket, samples, cpu_percent_avg)
VALUES ('web', '2026-06-01', 20, 3.5);
"""

#: Its events are of the last 440 days; older revisions have no partitions.
PARTITIONS = """
DO $$
BEGIN
    IF to_regprocedure('aegis_usage_partition(date)') IS NOT NULL THEN
        PERFORM aegis_usage_partition((now() - make_interval(months => n))::date)
        FROM generate_series(0, 16) AS n;
    END IF;
END
$$
"""


def execute(dsn: str, *statements: str) -> None:
    """Run statements, each committed."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def value(dsn: str, query: str) -> Any:
    """Return the first column of the first row."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        row = conn.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def create_published(dsn: str, *, rows: bool = True) -> None:
    """Create what the published DDL makes, with rows in every table."""
    execute(dsn, UUID_STAND_IN, (HERE / "seed.sql").read_text())
    if rows:
        fill(dsn)


def fill(dsn: str) -> None:
    """Insert rows into every published table."""
    execute(dsn, PARTITIONS, (HERE / "seed_rows.sql").read_text())


def columns(dsn: str) -> dict[str, list[str]]:
    """Return the columns of each of our tables that exists."""
    with psycopg.connect(dsn) as conn:
        rows = conn.execute(
            """
            SELECT relname, array_agg(attname::text ORDER BY attnum)
            FROM pg_class
            JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
            WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s)
            GROUP BY relname
            """,
            (list(TABLES),),
        ).fetchall()
        return dict(rows)


def contents(dsn: str, names: dict[str, list[str]]) -> dict[str, Sequence[Any]]:
    """Return every row of the tables, as text, in the given columns."""
    found: dict[str, Sequence[Any]] = {}
    with psycopg.connect(dsn) as conn:
        for table, wanted in names.items():
            query = sql.SQL("SELECT {} FROM {} ORDER BY id").format(
                sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(c)) for c in wanted),
                sql.Identifier(table),
            )
            found[table] = conn.execute(query).fetchall()
    return found
