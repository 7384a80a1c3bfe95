"""Agent sessions as they are lived: their state, what happened in them, and what they cost.

`claude_sessions` keeps the columns of the specification; further ones say in which state a session
is and what its counts are. Three tables are new: events (one row each, whatever way and how often
it came), usage (one row a message, so that none is counted twice), and prices with their dates.

Going back loses nothing: what the new columns and tables held is set aside in
`aegis_kept_0017_*`, and put back by the next upgrade.

Locks and cost: new columns with constant defaults rewrite nothing; building the indexes reads
`claude_sessions` once, which is small.
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

COLUMNS = """
    ALTER TABLE claude_sessions
        ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default',
        ADD COLUMN parent_id UUID,
        ADD COLUMN agent_type TEXT,
        ADD COLUMN source TEXT,
        ADD COLUMN turn TEXT NOT NULL DEFAULT 'idle',
        ADD COLUMN end_reason TEXT,
        ADD COLUMN last_event_at TIMESTAMPTZ,
        ADD COLUMN title TEXT,
        ADD COLUMN model TEXT,
        ADD COLUMN cwd TEXT,
        ADD COLUMN transcript_path TEXT,
        ADD COLUMN transcript_offset BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN transcript_at TIMESTAMPTZ,
        ADD COLUMN transcript_due BOOLEAN NOT NULL DEFAULT false,
        ADD COLUMN resumes INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN prompts INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN tool_calls INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN tool_failures INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN input_tokens BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN output_tokens BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN cache_write_tokens BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN cache_read_tokens BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN cost_usd NUMERIC(16, 6),
        ADD COLUMN unpriced_messages INTEGER NOT NULL DEFAULT 0,
        ADD CONSTRAINT claude_sessions_parent_id_fkey
            FOREIGN KEY (parent_id) REFERENCES claude_sessions (id) ON DELETE CASCADE,
        ADD CONSTRAINT ck_claude_sessions_turn
            CHECK (turn IN ('idle', 'working', 'failed', 'interrupted')),
        ADD CONSTRAINT ck_claude_sessions_source CHECK (source IN ('hook', 'transcript'))
"""

TABLES = (
    COLUMNS,
    """
    CREATE INDEX idx_claude_sessions_started_at
        ON claude_sessions (namespace, started_at DESC, id DESC)
    """,
    """
    CREATE INDEX idx_claude_sessions_parent_id ON claude_sessions (parent_id)
        WHERE parent_id IS NOT NULL
    """,
    """
    CREATE INDEX idx_claude_sessions_running ON claude_sessions (last_event_at)
        WHERE status = 'running' AND source IS NOT NULL
    """,
    """
    CREATE INDEX idx_claude_sessions_transcript_due ON claude_sessions (id) WHERE transcript_due
    """,
    """
    CREATE TABLE session_events (
        id BIGSERIAL PRIMARY KEY,
        session_id UUID NOT NULL,
        key TEXT NOT NULL,
        event TEXT NOT NULL,
        at TIMESTAMPTZ NOT NULL,
        tool TEXT,
        path TEXT,
        failed BOOLEAN NOT NULL DEFAULT false,
        text TEXT,
        details JSONB,
        recalled INTEGER[],
        CONSTRAINT session_events_session_id_fkey
            FOREIGN KEY (session_id) REFERENCES claude_sessions (id) ON DELETE CASCADE,
        CONSTRAINT uq_session_events_key UNIQUE (session_id, key)
    )
    """,
    "CREATE INDEX idx_session_events_session_id ON session_events (session_id, id)",
    """
    CREATE TABLE session_usage (
        session_id UUID NOT NULL,
        message_key TEXT NOT NULL,
        at TIMESTAMPTZ NOT NULL,
        model TEXT NOT NULL,
        input_tokens BIGINT NOT NULL,
        output_tokens BIGINT NOT NULL,
        cache_write_5m_tokens BIGINT NOT NULL,
        cache_write_1h_tokens BIGINT NOT NULL,
        cache_read_tokens BIGINT NOT NULL,
        CONSTRAINT session_usage_pkey PRIMARY KEY (session_id, message_key),
        CONSTRAINT session_usage_session_id_fkey
            FOREIGN KEY (session_id) REFERENCES claude_sessions (id) ON DELETE CASCADE,
        CONSTRAINT ck_session_usage_tokens CHECK (
            input_tokens >= 0
            AND output_tokens >= 0
            AND cache_write_5m_tokens >= 0
            AND cache_write_1h_tokens >= 0
            AND cache_read_tokens >= 0
        )
    )
    """,
    "CREATE INDEX idx_session_usage_message_key ON session_usage (message_key)",
    """
    CREATE TABLE model_prices (
        model TEXT NOT NULL,
        valid_from TIMESTAMPTZ NOT NULL,
        input_usd NUMERIC(12, 6) NOT NULL,
        output_usd NUMERIC(12, 6) NOT NULL,
        cache_write_5m_usd NUMERIC(12, 6) NOT NULL,
        cache_write_1h_usd NUMERIC(12, 6) NOT NULL,
        cache_read_usd NUMERIC(12, 6) NOT NULL,
        CONSTRAINT model_prices_pkey PRIMARY KEY (model, valid_from),
        CONSTRAINT ck_model_prices_usd CHECK (
            input_usd >= 0
            AND output_usd >= 0
            AND cache_write_5m_usd >= 0
            AND cache_write_1h_usd >= 0
            AND cache_read_usd >= 0
        )
    )
    """,
)

#: List prices per million tokens: writing the cache for five minutes costs 1.25 of the input, for
#: an hour twice, reading it a tenth.
PRICES = """
    INSERT INTO model_prices (
        model, valid_from, input_usd, output_usd, cache_write_5m_usd, cache_write_1h_usd,
        cache_read_usd
    )
    SELECT model, '2024-01-01 00:00:00+00', input, output, input * 1.25, input * 2, input * 0.1
    FROM (
        VALUES
            ('claude-opus-4-5', 5, 25),
            ('claude-opus-4-1', 15, 75),
            ('claude-opus-4-2', 15, 75),
            ('claude-sonnet-4-5', 3, 15),
            ('claude-sonnet-4-2', 3, 15),
            ('claude-haiku-4-5', 1, 5),
            ('claude-3-7-sonnet', 3, 15),
            ('claude-3-5-sonnet', 3, 15),
            ('claude-3-5-haiku', 0.8, 4)
    ) AS listed (model, input, output)
"""

COLUMN_COMMENTS = {
    "claude_sessions": {
        "namespace": "Whose session it is.",
        "parent_id": "The session that started this sub-agent; NULL for a session of its own.",
        "agent_type": "Kind of sub-agent, as the agent named it.",
        "source": "hook or transcript: where it is known from; NULL for rows of plain SQL.",
        "turn": "Where the conversation stands: idle, working, failed or interrupted.",
        "end_reason": "Why it ended: what the agent reported, or silence.",
        "last_event_at": "When it was last heard of.",
        "title": "Its title, by the user or the agent.",
        "model": "Model of the latest answer.",
        "cwd": "Folder in which it was started.",
        "transcript_path": "File in which the agent keeps the conversation.",
        "transcript_offset": "Bytes of the transcript that have been read.",
        "transcript_at": "Time of the last transcript line that has been read.",
        "transcript_due": "Whether the transcript has lines to read.",
        "resumes": "How often it was resumed.",
        "prompts": "Prompts so far.",
        "tool_calls": "Tool calls so far, failed ones included.",
        "tool_failures": "Tool calls that failed.",
        "input_tokens": "Input tokens beside the cache, each message once.",
        "output_tokens": "Output tokens, each message once.",
        "cache_write_tokens": "Tokens written to the cache.",
        "cache_read_tokens": "Tokens read from the cache.",
        "cost_usd": "Cost at list prices in US dollars; NULL where no message has a price.",
        "unpriced_messages": "Messages whose model has no price; cost_usd is without them.",
    },
    "session_events": {
        "id": "Number of the event, in the order of arrival.",
        "session_id": "Row of the session or sub-agent.",
        "key": "What makes it the same event when it comes again.",
        "event": "Name of the event, as the agent gave it.",
        "at": "When it happened.",
        "tool": "Tool that was called.",
        "path": "File that the tool touched.",
        "failed": "Whether the tool failed.",
        "text": "The prompt, command, error or answer, shortened, credentials removed.",
        "details": "Object with what else is known of it.",
        "recalled": "Ids of the memories that it was answered with.",
    },
    "session_usage": {
        "session_id": "Row of the session or sub-agent.",
        "message_key": "Id of the message; of the request or the line where it has none.",
        "at": "When the message was written.",
        "model": "Model that answered.",
        "input_tokens": "Input tokens beside the cache.",
        "output_tokens": "Output tokens; the most that a line of the message said.",
        "cache_write_5m_tokens": "Tokens written to the cache for five minutes.",
        "cache_write_1h_tokens": "Tokens written to the cache for an hour.",
        "cache_read_tokens": "Tokens read from the cache.",
    },
    "model_prices": {
        "model": "Beginning of the names of the models that it holds for; the longest wins.",
        "valid_from": "Since when; until the next of the same model.",
        "input_usd": "US dollars per million input tokens.",
        "output_usd": "US dollars per million output tokens.",
        "cache_write_5m_usd": "US dollars per million tokens cached for five minutes.",
        "cache_write_1h_usd": "US dollars per million tokens cached for an hour.",
        "cache_read_usd": "US dollars per million tokens read from the cache.",
    },
}
TABLE_COMMENTS = {
    "session_events": "What happened in sessions, one row an event. Goes with the session.",
    "session_usage": "Tokens of each message, once. Goes with the session.",
    "model_prices": "What models cost, with dates.",
}

SET_ASIDE = (
    """
    CREATE TABLE aegis_kept_0017_sessions AS
    SELECT id, namespace, parent_id, agent_type, source, turn, end_reason, last_event_at, title,
           model, cwd, transcript_path, transcript_offset, transcript_at, transcript_due, resumes,
           prompts, tool_calls, tool_failures, input_tokens, output_tokens, cache_write_tokens,
           cache_read_tokens, cost_usd, unpriced_messages
    FROM claude_sessions
    """,
    "CREATE TABLE aegis_kept_0017_events AS SELECT * FROM session_events",
    "CREATE TABLE aegis_kept_0017_usage AS SELECT * FROM session_usage",
    "CREATE TABLE aegis_kept_0017_prices AS SELECT * FROM model_prices",
)

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0017_sessions') IS NULL THEN
        RETURN;
    END IF;
    -- Sessions may have been deleted meanwhile, and with them their sub-agents.
    UPDATE claude_sessions s
    SET namespace = k.namespace,
        parent_id = (SELECT p.id FROM claude_sessions p WHERE p.id = k.parent_id),
        agent_type = k.agent_type,
        source = k.source,
        turn = k.turn,
        end_reason = k.end_reason,
        last_event_at = k.last_event_at,
        title = k.title,
        model = k.model,
        cwd = k.cwd,
        transcript_path = k.transcript_path,
        transcript_offset = k.transcript_offset,
        transcript_at = k.transcript_at,
        transcript_due = k.transcript_due,
        resumes = k.resumes,
        prompts = k.prompts,
        tool_calls = k.tool_calls,
        tool_failures = k.tool_failures,
        input_tokens = k.input_tokens,
        output_tokens = k.output_tokens,
        cache_write_tokens = k.cache_write_tokens,
        cache_read_tokens = k.cache_read_tokens,
        cost_usd = k.cost_usd,
        unpriced_messages = k.unpriced_messages
    FROM aegis_kept_0017_sessions k
    WHERE s.id = k.id;
    INSERT INTO session_events (
        id, session_id, key, event, at, tool, path, failed, text, details, recalled
    )
    SELECT e.id, e.session_id, e.key, e.event, e.at, e.tool, e.path, e.failed, e.text, e.details,
           e.recalled
    FROM aegis_kept_0017_events e
    JOIN claude_sessions s ON s.id = e.session_id;
    PERFORM setval(pg_get_serial_sequence('session_events', 'id'), max(id)) FROM session_events;
    INSERT INTO session_usage (
        session_id, message_key, at, model, input_tokens, output_tokens, cache_write_5m_tokens,
        cache_write_1h_tokens, cache_read_tokens
    )
    SELECT u.session_id, u.message_key, u.at, u.model, u.input_tokens, u.output_tokens,
           u.cache_write_5m_tokens, u.cache_write_1h_tokens, u.cache_read_tokens
    FROM aegis_kept_0017_usage u
    JOIN claude_sessions s ON s.id = u.session_id;
    DELETE FROM model_prices;
    INSERT INTO model_prices (
        model, valid_from, input_usd, output_usd, cache_write_5m_usd, cache_write_1h_usd,
        cache_read_usd
    )
    SELECT model, valid_from, input_usd, output_usd, cache_write_5m_usd, cache_write_1h_usd,
           cache_read_usd
    FROM aegis_kept_0017_prices;
    DROP TABLE aegis_kept_0017_sessions, aegis_kept_0017_events, aegis_kept_0017_usage,
        aegis_kept_0017_prices;
END
$$
"""


def upgrade() -> None:
    for statement in (*TABLES, PRICES, PUT_BACK):
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    for statement in SET_ASIDE:
        op.execute(statement)
    for table in ("model_prices", "session_usage", "session_events"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX idx_claude_sessions_started_at")
    drops = ", ".join(f"DROP COLUMN {name}" for name in COLUMN_COMMENTS["claude_sessions"])
    op.execute(f"ALTER TABLE claude_sessions {drops}")
