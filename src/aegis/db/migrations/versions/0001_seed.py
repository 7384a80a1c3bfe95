"""The schema that Aegis began with: fifteen tables, one enum, their indexes. Nothing else.

Names, columns, types and defaults are a contract: databases made by this SQL elsewhere are adopted
(`aegis.db.adopt` compares them with the constants below), so this file never changes.

Locks and cost: everything is new, so nothing waits and nothing is rewritten.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# `IF NOT EXISTS` asks for no right when the extension is there already, so an administrator can
# create it for a database user who may not.
VECTOR_EXTENSION = "CREATE EXTENSION IF NOT EXISTS vector"

# The tables' default needs uuid_generate_v4(). Where uuid-ossp is not installed, or not allowed,
# a function of the same name does the same; gen_random_uuid() is in the server itself.
UUID_FUNCTION = """
DO $$
BEGIN
    IF to_regprocedure('uuid_generate_v4()') IS NOT NULL THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp') THEN
        BEGIN
            CREATE EXTENSION "uuid-ossp";
            RETURN;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'uuid-ossp may not be created by this user; a function stands in for it';
        END;
    END IF;
    CREATE FUNCTION uuid_generate_v4() RETURNS uuid
        LANGUAGE sql VOLATILE PARALLEL SAFE
        AS 'SELECT pg_catalog.gen_random_uuid()';
END
$$
"""

IMPORTANCE = "CREATE TYPE memory_importance AS ENUM ('low', 'medium', 'high', 'critical')"

#: Table name to its DDL, in an order that satisfies the foreign keys.
TABLES = {
    "episodic_memory": """
        CREATE TABLE episodic_memory (
            id SERIAL PRIMARY KEY,
            timestamp TIMESTAMPTZ DEFAULT NOW(),
            event_type VARCHAR(100) NOT NULL,
            summary TEXT NOT NULL,
            details JSONB,
            context JSONB,
            importance memory_importance DEFAULT 'medium',
            embedding vector(1536),
            tags TEXT[],
            related_memories INTEGER[],
            created_at TIMESTAMPTZ DEFAULT NOW(),
            decision TEXT,
            metadata JSONB,
            graphiti_synced_at TIMESTAMPTZ
        )
    """,
    "semantic_memory": """
        CREATE TABLE semantic_memory (
            id SERIAL PRIMARY KEY,
            concept VARCHAR(200) NOT NULL,
            content TEXT NOT NULL,
            category VARCHAR(100),
            source VARCHAR(200),
            confidence FLOAT DEFAULT 1.0,
            metadata JSONB,
            tags TEXT[],
            embedding vector(1536),
            created_at TIMESTAMPTZ DEFAULT NOW(),
            updated_at TIMESTAMPTZ DEFAULT NOW()
        )
    """,
    "decision_outcomes": """
        CREATE TABLE decision_outcomes (
            id SERIAL PRIMARY KEY,
            decision_id INTEGER REFERENCES episodic_memory(id),
            task_context TEXT NOT NULL,
            alternatives JSONB NOT NULL,
            chosen_option TEXT NOT NULL,
            reasoning TEXT NOT NULL,
            outcome_status VARCHAR(20) DEFAULT 'pending',
            outcome_details JSONB,
            lessons_learned TEXT,
            user_feedback VARCHAR(20),
            created_at TIMESTAMPTZ DEFAULT NOW(),
            resolved_at TIMESTAMPTZ
        )
    """,
    "api_keys": """
        CREATE TABLE api_keys (
            id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
            customer_id VARCHAR(100) NOT NULL,
            key_hash TEXT NOT NULL UNIQUE,
            key_prefix VARCHAR(20) NOT NULL,
            name VARCHAR(200),
            tier VARCHAR(50) DEFAULT 'free',
            rate_limit INTEGER DEFAULT 60,
            monthly_quota INTEGER DEFAULT 1000,
            enabled BOOLEAN DEFAULT TRUE,
            expires_at TIMESTAMPTZ,
            created_at TIMESTAMPTZ DEFAULT NOW(),
            last_used_at TIMESTAMPTZ
        )
    """,
    "api_usage_events": """
        CREATE TABLE api_usage_events (
            id BIGSERIAL PRIMARY KEY,
            api_key_id UUID REFERENCES api_keys(id),
            customer_id VARCHAR(100) NOT NULL,
            endpoint VARCHAR(200) NOT NULL,
            method VARCHAR(10) NOT NULL,
            status_code INTEGER NOT NULL,
            response_time_ms INTEGER,
            tokens_used INTEGER DEFAULT 0,
            cost_usd DECIMAL(10, 6) DEFAULT 0,
            created_at TIMESTAMPTZ DEFAULT NOW()
        )
    """,
    "billing_events": """
        CREATE TABLE billing_events (
            id BIGSERIAL PRIMARY KEY,
            customer_id VARCHAR(100) NOT NULL,
            event_type VARCHAR(50) NOT NULL,
            amount_usd DECIMAL(10, 2) NOT NULL,
            currency VARCHAR(3) DEFAULT 'USD',
            description TEXT,
            metadata JSONB,
            stripe_invoice_id VARCHAR(100),
            created_at TIMESTAMPTZ DEFAULT NOW()
        )
    """,
    "claude_sessions": """
        CREATE TABLE claude_sessions (
            id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
            session_id VARCHAR(100) UNIQUE NOT NULL,
            user_id VARCHAR(100),
            command TEXT,
            status VARCHAR(20) DEFAULT 'running',
            started_at TIMESTAMPTZ DEFAULT NOW(),
            ended_at TIMESTAMPTZ,
            metadata JSONB
        )
    """,
    "container_metrics": """
        CREATE TABLE container_metrics (
            id BIGSERIAL PRIMARY KEY,
            container_name VARCHAR(100) NOT NULL,
            cpu_percent FLOAT,
            mem_usage_mb FLOAT,
            mem_percent FLOAT,
            net_io_mb FLOAT,
            block_io_mb FLOAT,
            timestamp TIMESTAMPTZ DEFAULT NOW()
        )
    """,
    # The one table whose columns are ours: its name and purpose were given, its DDL was not.
    "infra_anomaly_alerts": """
        CREATE TABLE infra_anomaly_alerts (
            id BIGSERIAL PRIMARY KEY,
            host VARCHAR(200),
            container_name VARCHAR(100),
            metric VARCHAR(100) NOT NULL,
            kind VARCHAR(50) NOT NULL,
            severity VARCHAR(20) NOT NULL DEFAULT 'warning',
            status VARCHAR(20) NOT NULL DEFAULT 'open',
            observed FLOAT,
            expected FLOAT,
            expected_low FLOAT,
            expected_high FLOAT,
            score FLOAT,
            explanation TEXT NOT NULL,
            evidence JSONB,
            started_at TIMESTAMPTZ NOT NULL,
            ended_at TIMESTAMPTZ,
            acknowledged_at TIMESTAMPTZ,
            created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
            updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
        )
    """,
    "workflows": """
        CREATE TABLE workflows (
            id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
            name VARCHAR(100) NOT NULL,
            graph JSONB NOT NULL,
            status VARCHAR(20) DEFAULT 'active',
            created_at TIMESTAMPTZ DEFAULT NOW(),
            updated_at TIMESTAMPTZ DEFAULT NOW()
        )
    """,
    "workflow_executions": """
        CREATE TABLE workflow_executions (
            id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
            workflow_id UUID REFERENCES workflows(id),
            context JSONB NOT NULL,
            current_node VARCHAR(100),
            status VARCHAR(20) DEFAULT 'running',
            error TEXT,
            started_at TIMESTAMPTZ DEFAULT NOW(),
            completed_at TIMESTAMPTZ
        )
    """,
    "deep_briefing_jobs": """
        CREATE TABLE deep_briefing_jobs (
            id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
            query TEXT NOT NULL,
            status VARCHAR(20) DEFAULT 'pending',
            result JSONB,
            provider VARCHAR(50),
            cost_usd DECIMAL(10, 4),
            created_at TIMESTAMPTZ DEFAULT NOW(),
            completed_at TIMESTAMPTZ
        )
    """,
    "competitors": """
        CREATE TABLE competitors (
            id SERIAL PRIMARY KEY,
            name VARCHAR(200) NOT NULL,
            domain VARCHAR(200) NOT NULL,
            category VARCHAR(100),
            last_checked_at TIMESTAMPTZ,
            enabled BOOLEAN DEFAULT TRUE,
            created_at TIMESTAMPTZ DEFAULT NOW()
        )
    """,
    "competitor_pages": """
        CREATE TABLE competitor_pages (
            id SERIAL PRIMARY KEY,
            competitor_id INTEGER REFERENCES competitors(id),
            url TEXT NOT NULL,
            page_type VARCHAR(50),
            content_hash VARCHAR(64),
            screenshot_url TEXT,
            last_checked_at TIMESTAMPTZ,
            created_at TIMESTAMPTZ DEFAULT NOW()
        )
    """,
    "competitor_changes": """
        CREATE TABLE competitor_changes (
            id SERIAL PRIMARY KEY,
            page_id INTEGER REFERENCES competitor_pages(id),
            change_type VARCHAR(50),
            old_value TEXT,
            new_value TEXT,
            diff TEXT,
            detected_at TIMESTAMPTZ DEFAULT NOW()
        )
    """,
}

#: Index name to (table, DDL).
INDEXES = {
    "idx_episodic_embedding": (
        "episodic_memory",
        """
        CREATE INDEX idx_episodic_embedding
            ON episodic_memory USING hnsw (embedding vector_cosine_ops)
        """,
    ),
    "idx_episodic_timestamp": (
        "episodic_memory",
        "CREATE INDEX idx_episodic_timestamp ON episodic_memory (timestamp DESC)",
    ),
    "idx_episodic_event_type": (
        "episodic_memory",
        "CREATE INDEX idx_episodic_event_type ON episodic_memory (event_type)",
    ),
    "idx_episodic_importance": (
        "episodic_memory",
        "CREATE INDEX idx_episodic_importance ON episodic_memory (importance)",
    ),
    "idx_episodic_tags": (
        "episodic_memory",
        "CREATE INDEX idx_episodic_tags ON episodic_memory USING gin (tags)",
    ),
    "idx_semantic_embedding": (
        "semantic_memory",
        """
        CREATE INDEX idx_semantic_embedding
            ON semantic_memory USING hnsw (embedding vector_cosine_ops)
        """,
    ),
    "idx_semantic_concept": (
        "semantic_memory",
        "CREATE INDEX idx_semantic_concept ON semantic_memory (concept)",
    ),
    "idx_semantic_category": (
        "semantic_memory",
        "CREATE INDEX idx_semantic_category ON semantic_memory (category)",
    ),
    "idx_semantic_updated_at": (
        "semantic_memory",
        "CREATE INDEX idx_semantic_updated_at ON semantic_memory (updated_at DESC)",
    ),
    "idx_api_keys_customer_id": (
        "api_keys",
        "CREATE INDEX idx_api_keys_customer_id ON api_keys (customer_id)",
    ),
    "idx_api_keys_enabled": (
        "api_keys",
        "CREATE INDEX idx_api_keys_enabled ON api_keys (enabled)",
    ),
    "idx_api_usage_events_api_key_id": (
        "api_usage_events",
        "CREATE INDEX idx_api_usage_events_api_key_id ON api_usage_events (api_key_id)",
    ),
    "idx_api_usage_events_customer_id": (
        "api_usage_events",
        "CREATE INDEX idx_api_usage_events_customer_id ON api_usage_events (customer_id)",
    ),
    "idx_api_usage_events_created_at": (
        "api_usage_events",
        "CREATE INDEX idx_api_usage_events_created_at ON api_usage_events (created_at DESC)",
    ),
    "idx_container_metrics_name_timestamp": (
        "container_metrics",
        """
        CREATE INDEX idx_container_metrics_name_timestamp
            ON container_metrics (container_name, timestamp DESC)
        """,
    ),
    "idx_infra_anomaly_alerts_started_at": (
        "infra_anomaly_alerts",
        """
        CREATE INDEX idx_infra_anomaly_alerts_started_at
            ON infra_anomaly_alerts (started_at DESC)
        """,
    ),
    "idx_infra_anomaly_alerts_status": (
        "infra_anomaly_alerts",
        """
        CREATE INDEX idx_infra_anomaly_alerts_status
            ON infra_anomaly_alerts (status, container_name, metric)
        """,
    ),
}


def upgrade() -> None:
    op.execute(VECTOR_EXTENSION)
    op.execute(UUID_FUNCTION)
    op.execute(IMPORTANCE)
    for table in TABLES.values():
        op.execute(table)
    for _, index in INDEXES.values():
        op.execute(index)


def downgrade() -> None:
    """Drop the tables with all their rows. The extensions stay: others may use them."""
    # What a later revision set aside on its way down belongs to rows that are gone now.
    op.execute("DROP TABLE IF EXISTS aegis_kept_0003, aegis_kept_0007")
    op.execute("DROP TABLE IF EXISTS aegis_kept_0013_items, aegis_kept_0013_vectors")
    op.execute("DROP TABLE IF EXISTS aegis_kept_0018_15m, aegis_kept_0018_1h")
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
    op.execute("DROP TYPE memory_importance")
    # Only the stand-in is ours to drop; an extension's function has an entry in pg_depend.
    op.execute(
        """
        DO $$
        BEGIN
            IF to_regprocedure('uuid_generate_v4()') IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_proc'::regclass
                  AND objid = to_regprocedure('uuid_generate_v4()')
                  AND deptype = 'e'
            ) THEN
                DROP FUNCTION uuid_generate_v4();
            END IF;
        END
        $$
        """
    )
