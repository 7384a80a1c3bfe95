-- Rows in every published table, of the kinds that a database in use has: old and future times,
-- NULLs in every column that takes one, empty and NULL-holding arrays, quotes, line breaks, other
-- scripts, the widest numbers, vectors and rows without one.

INSERT INTO episodic_memory (timestamp, event_type, summary, details, context, importance,
                             embedding, tags, related_memories, decision, metadata,
                             graphiti_synced_at)
SELECT TIMESTAMPTZ '2024-01-25 02:00:00+00' + n * INTERVAL '1 hour',
       (ARRAY['task_complete', 'decision', 'error', 'learning', 'milestone'])[1 + n % 5],
       'Episode ' || n || E': deploy "api" isn''t done\n— 東京, Zürich 🚀',
       CASE WHEN n % 3 > 0 THEN jsonb_build_object('step', n, 'ok', n % 2 = 0, 'nested',
                                                   jsonb_build_array(NULL, 1.5, 'x')) END,
       CASE WHEN n % 4 = 0 THEN '{}'::jsonb END,
       (ARRAY['low', 'medium', 'high', 'critical', NULL])[1 + n % 5]::memory_importance,
       CASE WHEN n % 3 > 0 THEN (
           SELECT array_agg(sin(n * i))::vector FROM generate_series(1, 1536) AS i
       ) END,
       CASE n % 4 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['deploy', 'a,b', '"q"'] WHEN 2
            THEN ARRAY['x', NULL] END,
       CASE WHEN n > 1 AND n % 2 = 0 THEN ARRAY[n - 1, NULL] END,
       CASE WHEN n % 5 = 1 THEN 'Roll back' END,
       CASE WHEN n % 2 = 0 THEN '{"source": "cron", "big": 12345678901234567890}'::jsonb END,
       CASE WHEN n % 6 = 0 THEN NOW() END
FROM generate_series(1, 60) AS n;
INSERT INTO episodic_memory (timestamp, event_type, summary, importance, created_at)
VALUES (NULL, 'error', '', NULL, NULL), ('infinity', 'error', 'never', 'low', '-infinity');
DELETE FROM episodic_memory WHERE id = 7;

INSERT INTO semantic_memory (concept, content, category, source, confidence, metadata, tags,
                             embedding)
SELECT 'concept ' || n,
       'Fact number ' || n,
       CASE WHEN n % 2 = 0 THEN 'infra' END,
       CASE WHEN n % 3 = 0 THEN 'manual' END,
       CASE n WHEN 1 THEN NULL WHEN 2 THEN 'NaN' ELSE 1.0 / n END,
       CASE WHEN n % 4 = 0 THEN '[1, 2]'::jsonb END,
       CASE WHEN n % 2 = 1 THEN ARRAY['fact'] END,
       CASE WHEN n % 4 > 0 THEN (
           SELECT array_agg(cos(n * i))::vector FROM generate_series(1, 1536) AS i
       ) END
FROM generate_series(1, 12) AS n;

INSERT INTO decision_outcomes (decision_id, task_context, alternatives, chosen_option, reasoning,
                               outcome_status, outcome_details, lessons_learned, user_feedback,
                               resolved_at)
VALUES (1, 'deploy', '["wait", "roll back"]', 'roll back', 'errors', 'success', '{"minutes": 3}',
        'Roll back early', 'positive', NOW()),
       (2, 'storage', '[{"name": "s3"}, {"name": "nfs"}]', 's3', 'price', DEFAULT, NULL, NULL,
        NULL, NULL),
       (NULL, 'naming', '[]', 'aegis', 'short', NULL, NULL, NULL, 'neutral', NULL);

INSERT INTO api_keys (customer_id, key_hash, key_prefix, name, tier, rate_limit, monthly_quota,
                      enabled, expires_at, last_used_at)
VALUES ('cust-1', repeat('a', 64), 'aeg_live_a', 'Production', 'pro', 600, 100000, TRUE, NULL, NOW()),
       ('cust-1', repeat('b', 64), 'aeg_live_b', NULL, DEFAULT, DEFAULT, DEFAULT, FALSE, NOW(), NULL),
       ('cust-2', repeat('c', 64), 'aeg_test_c', 'x', NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO api_usage_events (api_key_id, customer_id, endpoint, method, status_code,
                              response_time_ms, tokens_used, cost_usd, created_at)
SELECT CASE WHEN n % 3 > 0 THEN k.id END,
       'cust-1',
       '/v1/memory/recall',
       'POST',
       CASE WHEN n % 7 = 0 THEN 500 ELSE 200 END,
       NULLIF(n, 5),
       n * 100,
       CASE WHEN n = 1 THEN 9999.999999 WHEN n = 2 THEN NULL ELSE 0.000001 * n END,
       NOW() - n * INTERVAL '11 days'
FROM generate_series(1, 40) AS n
CROSS JOIN LATERAL (SELECT id FROM api_keys WHERE key_prefix = 'aeg_live_a') AS k;

INSERT INTO billing_events (customer_id, event_type, amount_usd, currency, description, metadata,
                            stripe_invoice_id)
VALUES ('cust-1', 'subscription', 99.00, 'USD', 'Pro', '{"plan": "pro"}', 'in_1'),
       ('cust-1', 'credit', -99999999.99, NULL, NULL, NULL, NULL),
       ('cust-2', 'overage', 0.01, 'EUR', '', '{}', NULL);

INSERT INTO claude_sessions (session_id, user_id, command, status, ended_at, metadata)
VALUES ('s-1', 'agent', '/deploy', 'completed', NOW(), '{"turns": 12}'),
       ('s-2', NULL, NULL, DEFAULT, NULL, NULL),
       ('s-3', NULL, NULL, NULL, NULL, NULL);

INSERT INTO container_metrics (container_name, cpu_percent, mem_usage_mb, mem_percent, net_io_mb,
                               block_io_mb, timestamp)
SELECT 'web-' || n % 3, n * 1.1, n * 10.0, NULLIF(n % 100, 50), n * 0.001, 1e300,
       TIMESTAMPTZ '2024-01-01 00:00:00+00' + n * INTERVAL '1 minute'
FROM generate_series(1, 300) AS n;
INSERT INTO container_metrics (container_name, cpu_percent, timestamp)
VALUES ('web-0', 'NaN', NULL), ('web-1', 'Infinity', NOW());

INSERT INTO workflows (name, graph, status)
VALUES ('nightly', '{"nodes": ["a", "b"], "edges": [["a", "b"]]}', 'active'),
       ('old', '{}', 'archived'),
       ('odd', '[]', NULL);

INSERT INTO workflow_executions (workflow_id, context, current_node, status, error, completed_at)
SELECT id, '{"input": 1}', 'a', 'failed', E'Traceback:\n  boom', NOW() FROM workflows;
INSERT INTO workflow_executions (context) VALUES ('{}');

INSERT INTO deep_briefing_jobs (query, status, result, provider, cost_usd, completed_at)
VALUES ('pgvector roadmap', 'completed', '{"report": "…"}', 'perplexity', 0.4200, NOW()),
       ('nothing', DEFAULT, NULL, NULL, NULL, NULL);

INSERT INTO competitors (name, domain, category, last_checked_at, enabled)
VALUES ('Acme', 'acme.example', 'saas', NOW(), TRUE), ('Other', 'other.example', NULL, NULL, NULL);

INSERT INTO competitor_pages (competitor_id, url, page_type, content_hash, screenshot_url)
VALUES (1, 'https://acme.example/pricing', 'pricing', repeat('0', 64), NULL),
       (NULL, 'https://nowhere.example', NULL, NULL, 'file:///x.png');

INSERT INTO competitor_changes (page_id, change_type, old_value, new_value, diff)
VALUES (1, 'price', '$10', '$12', E'-$10\n+$12'), (NULL, NULL, NULL, NULL, NULL);
