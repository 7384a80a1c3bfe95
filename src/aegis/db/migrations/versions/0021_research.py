"""Research: jobs with leases, what they cost and cite, prices with dates, budgets.

Rows that other programs wrote to `deep_briefing_jobs` stay as they are: `queued_at` is NULL there,
and only what has one is run. Nothing is bought because a database was upgraded.

Going back sets aside what the new tables and columns hold; coming again puts it back.

Locks and cost: columns without a rewrite; the check and the indexes read `deep_briefing_jobs` once.
"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

COLUMNS = """
    ALTER TABLE deep_briefing_jobs
        ADD COLUMN namespace VARCHAR(200) NOT NULL DEFAULT 'default',
        ADD COLUMN model VARCHAR(200),
        ADD COLUMN query_key CHAR(64),
        ADD COLUMN query_embedding VECTOR,
        ADD COLUMN embedding_model VARCHAR(100),
        ADD COLUMN options JSONB,
        ADD COLUMN idempotency_key VARCHAR(200),
        ADD COLUMN remember BOOLEAN NOT NULL DEFAULT FALSE,
        ADD COLUMN episode_id BIGINT,
        ADD COLUMN priority INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN queued_at TIMESTAMPTZ,
        ADD COLUMN started_at TIMESTAMPTZ,
        ADD COLUMN deadline_at TIMESTAMPTZ,
        ADD COLUMN next_poll_at TIMESTAMPTZ,
        ADD COLUMN cancel_requested_at TIMESTAMPTZ,
        ADD COLUMN lease_owner VARCHAR(200),
        ADD COLUMN lease_until TIMESTAMPTZ,
        ADD COLUMN token BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN remote_id VARCHAR(500),
        ADD COLUMN sent_at TIMESTAMPTZ,
        ADD COLUMN checkpoint JSONB,
        ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN polls INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN error TEXT,
        ADD COLUMN error_code VARCHAR(100),
        ADD COLUMN budget_usd NUMERIC(18, 10),
        ADD COLUMN budget_month DATE,
        ADD COLUMN reserved_usd NUMERIC(18, 10) NOT NULL DEFAULT 0,
        ADD COLUMN exact_cost_usd NUMERIC(18, 10),
        ADD COLUMN cost_detail JSONB,
        ADD CONSTRAINT ck_deep_briefing_jobs_money CHECK (
            reserved_usd >= 0
            AND (budget_usd IS NULL OR budget_usd >= 0)
            AND (exact_cost_usd IS NULL OR exact_cost_usd >= 0)
        )
"""

INDEXES = (
    """
    CREATE UNIQUE INDEX uq_deep_briefing_jobs_idempotency
        ON deep_briefing_jobs (namespace, idempotency_key)
        WHERE idempotency_key IS NOT NULL
    """,
    # Finished jobs have no next poll: the worker's index holds what is going on alone.
    """
    CREATE INDEX idx_deep_briefing_jobs_due
        ON deep_briefing_jobs (priority DESC, next_poll_at)
        WHERE next_poll_at IS NOT NULL
    """,
    """
    CREATE INDEX idx_deep_briefing_jobs_recent
        ON deep_briefing_jobs (namespace, created_at DESC, id)
    """,
)

TABLES = (
    """
    CREATE TABLE research_calls (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        job_id UUID NOT NULL,
        call_key VARCHAR(500) NOT NULL,
        at TIMESTAMPTZ NOT NULL DEFAULT now(),
        provider VARCHAR(50) NOT NULL,
        model VARCHAR(200),
        usage JSONB NOT NULL,
        cost_usd NUMERIC(18, 10),
        cost_source VARCHAR(20) NOT NULL,
        cost_detail JSONB,
        CONSTRAINT research_calls_pkey PRIMARY KEY (id),
        CONSTRAINT research_calls_job_id_fkey
            FOREIGN KEY (job_id) REFERENCES deep_briefing_jobs (id) ON DELETE CASCADE,
        CONSTRAINT uq_research_calls_call_key UNIQUE (job_id, call_key),
        CONSTRAINT ck_research_calls_cost_source
            CHECK (cost_source::text IN ('provider', 'prices', 'free', 'unknown')),
        CONSTRAINT ck_research_calls_cost CHECK (cost_usd IS NULL OR cost_usd >= 0)
    )
    """,
    """
    CREATE TABLE research_sources (
        job_id UUID NOT NULL,
        position INTEGER NOT NULL,
        kind VARCHAR(20) NOT NULL,
        url TEXT,
        episode_id BIGINT,
        title TEXT,
        snippet TEXT,
        published TEXT,
        CONSTRAINT research_sources_pkey PRIMARY KEY (job_id, position),
        CONSTRAINT research_sources_job_id_fkey
            FOREIGN KEY (job_id) REFERENCES deep_briefing_jobs (id) ON DELETE CASCADE,
        CONSTRAINT ck_research_sources_kind CHECK (kind::text IN ('web', 'memory'))
    )
    """,
    """
    CREATE TABLE research_citations (
        job_id UUID NOT NULL,
        position INTEGER NOT NULL,
        source_position INTEGER,
        url TEXT,
        episode_id BIGINT,
        title TEXT,
        cited_text TEXT,
        start_char INTEGER,
        end_char INTEGER,
        verified BOOLEAN NOT NULL,
        CONSTRAINT research_citations_pkey PRIMARY KEY (job_id, position),
        CONSTRAINT research_citations_job_id_fkey
            FOREIGN KEY (job_id) REFERENCES deep_briefing_jobs (id) ON DELETE CASCADE,
        CONSTRAINT ck_research_citations_span CHECK (
            start_char IS NULL OR (start_char >= 0 AND end_char >= start_char)
        )
    )
    """,
    """
    CREATE TABLE research_prices (
        provider VARCHAR(50) NOT NULL,
        model VARCHAR(200) NOT NULL,
        meter VARCHAR(30) NOT NULL,
        valid_from DATE NOT NULL,
        usd NUMERIC(18, 10) NOT NULL,
        per INTEGER NOT NULL,
        source TEXT NOT NULL,
        source_date DATE NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT research_prices_pkey PRIMARY KEY (provider, model, meter, valid_from),
        CONSTRAINT ck_research_prices_meter CHECK (meter::text IN (
            'input_tokens', 'cached_input_tokens', 'cache_write_5m_tokens',
            'cache_write_1h_tokens', 'output_tokens', 'reasoning_tokens', 'citation_tokens',
            'searches', 'requests'
        )),
        CONSTRAINT ck_research_prices_usd CHECK (usd >= 0 AND per > 0)
    )
    """,
    """
    CREATE TABLE research_budgets (
        namespace VARCHAR(200) NOT NULL,
        month_usd NUMERIC(18, 10) NOT NULL,
        updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT research_budgets_pkey PRIMARY KEY (namespace),
        CONSTRAINT ck_research_budgets_usd CHECK (month_usd >= 0)
    )
    """,
    """
    CREATE TABLE research_months (
        namespace VARCHAR(200) NOT NULL,
        month DATE NOT NULL,
        spent_usd NUMERIC(18, 10) NOT NULL DEFAULT 0,
        reserved_usd NUMERIC(18, 10) NOT NULL DEFAULT 0,
        CONSTRAINT research_months_pkey PRIMARY KEY (namespace, month),
        CONSTRAINT ck_research_months_usd CHECK (spent_usd >= 0 AND reserved_usd >= 0),
        CONSTRAINT ck_research_months_first
            CHECK (month = date_trunc('month', month::timestamp)::date)
    )
    """,
)

#: What their makers' pages said on the day named; other models have no price until one is given.
PRICES = """
    INSERT INTO research_prices (
        provider, model, meter, valid_from, usd, per, source, source_date
    )
    VALUES
        ('perplexity', 'sonar-deep-research', 'input_tokens', '2025-07-05', 2, 1000000,
         'https://docs.perplexity.ai/guides/pricing', '2026-11-29'),
        ('perplexity', 'sonar-deep-research', 'output_tokens', '2025-07-05', 8, 1000000,
         'https://docs.perplexity.ai/guides/pricing', '2026-11-29'),
        ('perplexity', 'sonar-deep-research', 'citation_tokens', '2025-07-05', 2, 1000000,
         'https://docs.perplexity.ai/guides/pricing', '2026-11-29'),
        ('perplexity', 'sonar-deep-research', 'reasoning_tokens', '2025-07-05', 3, 1000000,
         'https://docs.perplexity.ai/guides/pricing', '2026-11-29'),
        ('perplexity', 'sonar-deep-research', 'searches', '2025-07-05', 5, 1000,
         'https://docs.perplexity.ai/guides/pricing', '2026-11-29'),
        ('claude', 'claude-', 'searches', '2025-05-07', 10, 1000,
         'Anthropic, documentation of the web search tool', '2026-11-29'),
        ('claude', 'claude-sonnet-4-5', 'input_tokens', '2025-09-29', 3, 1000000,
         'Anthropic, list prices', '2026-11-29'),
        ('claude', 'claude-sonnet-4-5', 'output_tokens', '2025-09-29', 15, 1000000,
         'Anthropic, list prices', '2026-11-29'),
        ('claude', 'claude-sonnet-4-5', 'cached_input_tokens', '2025-09-29', 0.3, 1000000,
         'Anthropic, list prices', '2026-11-29'),
        ('claude', 'claude-sonnet-4-5', 'cache_write_5m_tokens', '2025-09-29', 3.75, 1000000,
         'Anthropic, list prices', '2026-11-29'),
        ('claude', 'claude-sonnet-4-5', 'cache_write_1h_tokens', '2025-09-29', 6, 1000000,
         'Anthropic, list prices', '2026-11-29')
"""

NEW_COLUMNS = {
    "namespace": "Whose job it is.",
    "model": "Model or agent that is asked for.",
    "query_key": "SHA-256 of the query in its normal form; equal for the same question.",
    "query_embedding": "Vector of the query, to find nearly the same question.",
    "embedding_model": "Model of that vector.",
    "options": "What the provider is told beside the query.",
    "idempotency_key": "The key of whoever started it; one job a key and namespace.",
    "remember": "Whether its report becomes a memory.",
    "episode_id": "The memory that it became.",
    "priority": "Higher is run first.",
    "queued_at": "When Aegis took it on; NULL for rows of plain SQL, which are not run.",
    "started_at": "When the provider was first asked.",
    "deadline_at": "When it is given up.",
    "next_poll_at": "When a worker looks after it next; NULL where nothing is left to do.",
    "cancel_requested_at": "When somebody wanted it to end.",
    "lease_owner": "Worker that looks after it now.",
    "lease_until": "Until when; afterwards another one may.",
    "token": "Fencing token: it rises with each claim, and a write names it.",
    "remote_id": "What the provider calls it.",
    "sent_at": "When a request that is paid was sent whose answer is not stored; NULL for none.",
    "checkpoint": "What the provider needs to go on.",
    "attempts": "Failures since the provider last answered.",
    "polls": "How often the provider was asked.",
    "error": "Why it failed, one line.",
    "error_code": "Stable code of the failure.",
    "budget_usd": "What it may cost at most, in US dollars.",
    "budget_month": "First day of the month (UTC) whose budget it is paid from.",
    "reserved_usd": "What is kept free for it in that budget; 0 once it is settled.",
    "exact_cost_usd": "What it cost in US dollars, unrounded; NULL where that is not known.",
    "cost_detail": "How the cost comes about, and what is uncertain of it.",
}
COLUMN_COMMENTS = {
    "deep_briefing_jobs": NEW_COLUMNS,
    "research_calls": {
        "id": "Number of the call.",
        "job_id": "The job that it was made for.",
        "call_key": "The provider''s id of it: a call that is read twice is counted once.",
        "at": "When its usage was first read.",
        "provider": "Who was paid.",
        "model": "Model that answered.",
        "usage": "Object of meter and amount.",
        "cost_usd": "What it cost in US dollars; NULL where that is not known.",
        "cost_source": "provider (it said so), prices (research_prices), free or unknown.",
        "cost_detail": "Cost by meter, and meters without a price.",
    },
    "research_sources": {
        "job_id": "The job.",
        "position": "Number in the report, from 1.",
        "kind": "web or memory.",
        "url": "Address of a page.",
        "episode_id": "Id of a memory.",
        "title": "Its title.",
        "snippet": "What the provider quoted of it.",
        "published": "Date of the page, as the provider wrote it.",
    },
    "research_citations": {
        "job_id": "The job.",
        "position": "Number in the order of the report, from 1.",
        "source_position": "The source that it names; NULL where the provider returned none.",
        "url": "Address that the report names.",
        "episode_id": "Memory that the report names.",
        "title": "What the report calls it.",
        "cited_text": "What it is cited for.",
        "start_char": "Where in the report it stands, in characters; NULL where that is not known.",
        "end_char": "Behind its last character.",
        "verified": "Whether the provider returned this source; FALSE may be an invention.",
    },
    "research_prices": {
        "provider": "Provider.",
        "model": "Beginning of the names of the models that it holds for; the longest wins.",
        "meter": "What is counted.",
        "valid_from": "From this day (UTC) until the next of the same model and meter.",
        "usd": "US dollars for so many as `per` says.",
        "per": "How many of the meter the price is for.",
        "source": "Who says so.",
        "source_date": "On which day it was read there.",
        "created_at": "When the row was made.",
    },
    "research_budgets": {
        "namespace": "Whose; an asterisk for all namespaces together.",
        "month_usd": "US dollars in a month at most.",
        "updated_at": "When it was last set.",
    },
    "research_months": {
        "namespace": "Whose; an asterisk for all namespaces together.",
        "month": "First day of the month (UTC).",
        "spent_usd": "US dollars of finished jobs, uncertain ones at what was kept free for them.",
        "reserved_usd": "US dollars kept free for jobs that are going on.",
    },
}
TABLE_COMMENTS = {
    "research_calls": "What each paid call of a research job used and cost. Goes with the job.",
    "research_sources": "What a research job was told its report rests on. Goes with the job.",
    "research_citations": "What a report cites, and whether it was returned. Goes with the job.",
    "research_prices": "What providers of research cost, with dates.",
    "research_budgets": "What research may cost in a month.",
    "research_months": "What research cost in a month, and what is kept free.",
}

#: In the order in which they come back: jobs first.
KEPT = ("calls", "sources", "citations", "prices", "budgets", "months")
OF_JOBS = ("calls", "sources", "citations")

PUT_BACK_JOBS = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0021_jobs') IS NULL THEN
        RETURN;
    END IF;
    UPDATE deep_briefing_jobs j
    SET {assignments}
    FROM aegis_kept_0021_jobs k
    WHERE k.id = j.id;
    DROP TABLE aegis_kept_0021_jobs;
END
$$
"""
PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0021_{name}') IS NULL THEN
        RETURN;
    END IF;
    {before};
    INSERT INTO research_{name} {overriding} SELECT k.* FROM aegis_kept_0021_{name} k {where};
    DROP TABLE aegis_kept_0021_{name};
END
$$
"""
RESTART = """
    SELECT setval(
        pg_get_serial_sequence('research_calls', 'id'),
        greatest((SELECT max(id) FROM research_calls), 1)
    )
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    for statement in (*TABLES, PRICES):
        op.execute(statement)
    assignments = ", ".join(f"{name} = k.{name}" for name in NEW_COLUMNS)
    op.execute(PUT_BACK_JOBS.format(assignments=assignments))
    for name in KEPT:
        # A job may have been deleted meanwhile.
        where = "JOIN deep_briefing_jobs j ON j.id = k.job_id" if name in OF_JOBS else ""
        before = "DELETE FROM research_prices" if name == "prices" else "NULL"
        overriding = "OVERRIDING SYSTEM VALUE" if name == "calls" else ""
        op.execute(PUT_BACK.format(name=name, where=where, before=before, overriding=overriding))
    op.execute(RESTART)
    for statement in INDEXES:
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    names = ", ".join(NEW_COLUMNS)
    op.execute(f"CREATE TABLE aegis_kept_0021_jobs AS SELECT id, {names} FROM deep_briefing_jobs")
    for name in KEPT:
        op.execute(f"CREATE TABLE aegis_kept_0021_{name} AS SELECT * FROM research_{name}")
        op.execute(f"DROP TABLE research_{name}")
    op.execute(
        "ALTER TABLE deep_briefing_jobs DROP CONSTRAINT ck_deep_briefing_jobs_money, "
        + ", ".join(f"DROP COLUMN {name}" for name in NEW_COLUMNS)
    )
