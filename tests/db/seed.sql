-- The schema that Aegis began with, word for word as it was published, with the indexes it
-- lists. Databases made by this exist; adoption is tested against it. Do not edit.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE TYPE memory_importance AS ENUM ('low', 'medium', 'high', 'critical');

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
);

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
);

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
);

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
);

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
);

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
);

CREATE TABLE claude_sessions (
    id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    session_id VARCHAR(100) UNIQUE NOT NULL,
    user_id VARCHAR(100),
    command TEXT,
    status VARCHAR(20) DEFAULT 'running',
    started_at TIMESTAMPTZ DEFAULT NOW(),
    ended_at TIMESTAMPTZ,
    metadata JSONB
);

CREATE TABLE container_metrics (
    id BIGSERIAL PRIMARY KEY,
    container_name VARCHAR(100) NOT NULL,
    cpu_percent FLOAT,
    mem_usage_mb FLOAT,
    mem_percent FLOAT,
    net_io_mb FLOAT,
    block_io_mb FLOAT,
    timestamp TIMESTAMPTZ DEFAULT NOW()
);

CREATE TABLE workflows (
    id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    name VARCHAR(100) NOT NULL,
    graph JSONB NOT NULL,
    status VARCHAR(20) DEFAULT 'active',
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW()
);

CREATE TABLE workflow_executions (
    id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    workflow_id UUID REFERENCES workflows(id),
    context JSONB NOT NULL,
    current_node VARCHAR(100),
    status VARCHAR(20) DEFAULT 'running',
    error TEXT,
    started_at TIMESTAMPTZ DEFAULT NOW(),
    completed_at TIMESTAMPTZ
);

CREATE TABLE deep_briefing_jobs (
    id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    query TEXT NOT NULL,
    status VARCHAR(20) DEFAULT 'pending',
    result JSONB,
    provider VARCHAR(50),
    cost_usd DECIMAL(10, 4),
    created_at TIMESTAMPTZ DEFAULT NOW(),
    completed_at TIMESTAMPTZ
);

CREATE TABLE competitors (
    id SERIAL PRIMARY KEY,
    name VARCHAR(200) NOT NULL,
    domain VARCHAR(200) NOT NULL,
    category VARCHAR(100),
    last_checked_at TIMESTAMPTZ,
    enabled BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMPTZ DEFAULT NOW()
);

CREATE TABLE competitor_pages (
    id SERIAL PRIMARY KEY,
    competitor_id INTEGER REFERENCES competitors(id),
    url TEXT NOT NULL,
    page_type VARCHAR(50),
    content_hash VARCHAR(64),
    screenshot_url TEXT,
    last_checked_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ DEFAULT NOW()
);

CREATE TABLE competitor_changes (
    id SERIAL PRIMARY KEY,
    page_id INTEGER REFERENCES competitor_pages(id),
    change_type VARCHAR(50),
    old_value TEXT,
    new_value TEXT,
    diff TEXT,
    detected_at TIMESTAMPTZ DEFAULT NOW()
);
