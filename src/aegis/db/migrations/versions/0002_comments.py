"""What every table and column means, as COMMENTs; two checks where the rows there satisfy them.

A comment that somebody wrote before stays, and a check that existing rows violate is left out with
a notice (`aegis db check` names it): this revision never fails on old data.

Locks and cost: COMMENT takes SHARE UPDATE EXCLUSIVE, readers and writers go on, nothing is
rewritten. A check is added NOT VALID (ACCESS EXCLUSIVE for a moment, no scan) and then validated
(SHARE UPDATE EXCLUSIVE, one scan of decision_outcomes).
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CREATED = "When the row was inserted."

#: Table to its comment and those of its columns.
COMMENTS = {
    "episodic_memory": (
        "What happened to the agent, in order of time: events, interactions, decisions.",
        {
            "id": "Number of the memory; what related_memories and decision_id refer to.",
            "timestamp": "When it happened, which may be long before it was recorded.",
            "event_type": "Kind of event: task_complete, decision, error, learning, milestone or "
            "the caller's own.",
            "summary": "What happened, in a sentence or a few; the text that recall reads.",
            "details": "Object with whatever else is known about the event.",
            "context": "Object with the circumstances: task, place, participants.",
            "importance": "How much it matters: low, medium, high or critical.",
            "embedding": "Vector of the text by the embedding model; NULL until it is filled in.",
            "tags": "Words to filter by.",
            "related_memories": "Ids of memories that belong to this one; not enforced.",
            "created_at": CREATED,
            "decision": "What was decided, where the event is a decision.",
            "metadata": "Object for programs: origin, versions, whatever a caller needs back.",
            "graphiti_synced_at": "When the memory was copied to a Graphiti knowledge graph; NULL "
            "if never.",
        },
    ),
    "semantic_memory": (
        "What the agent knows: facts, concepts, lessons, independent of when they were learnt.",
        {
            "id": "Number of the fact.",
            "concept": "What the fact is about; looked up exactly.",
            "content": "The fact itself.",
            "category": "Group of concepts.",
            "source": "Where the fact is from.",
            "confidence": "How sure it is, 0 to 1.",
            "metadata": "Object for programs.",
            "tags": "Words to filter by.",
            "embedding": "Vector of the fact by the embedding model; NULL until it is filled in.",
            "created_at": CREATED,
            "updated_at": "When the fact was last changed.",
        },
    ),
    "decision_outcomes": (
        "Decisions with their alternatives, and how each turned out.",
        {
            "id": "Number of the decision.",
            "decision_id": "The episode in which it was decided, if one was recorded.",
            "task_context": "What the decision was for.",
            "alternatives": "Array of the options that were considered.",
            "chosen_option": "The option that was taken.",
            "reasoning": "Why it was taken.",
            "outcome_status": "pending until known; then success, partial or failure.",
            "outcome_details": "Object with what came of it.",
            "lessons_learned": "What to do differently, or again.",
            "user_feedback": "What people thought of it: positive, negative or neutral.",
            "created_at": CREATED,
            "resolved_at": "When the outcome was recorded; NULL while pending.",
        },
    ),
    "api_keys": (
        "Keys with which customers call the HTTP API; the key itself is never stored.",
        {
            "id": "Id of the key, safe to show.",
            "customer_id": "Whose key it is.",
            "key_hash": "Hash of the key; what a call is looked up by.",
            "key_prefix": "First characters of the key, to recognise it by.",
            "name": "What its owner calls it.",
            "tier": "Plan: free, developer, pro or enterprise.",
            "rate_limit": "Calls allowed a minute.",
            "monthly_quota": "Calls allowed a calendar month.",
            "enabled": "False once it is switched off.",
            "expires_at": "When it stops working; NULL for never.",
            "created_at": CREATED,
            "last_used_at": "When it was last accepted; may lag behind.",
        },
    ),
    "api_usage_events": (
        "One row a call of the HTTP API: what rate limits and bills are made from.",
        {
            "id": "Number of the event.",
            "api_key_id": "The key that was used.",
            "customer_id": "Who pays, as it was at the time of the call.",
            "endpoint": "Path that was called.",
            "method": "HTTP method.",
            "status_code": "HTTP status of the answer.",
            "response_time_ms": "Milliseconds until the answer.",
            "tokens_used": "Tokens of language models that the call used.",
            "cost_usd": "What the call costs the customer, US dollars.",
            "created_at": "When the call was made.",
        },
    ),
    "billing_events": (
        "Charges and credits of customers.",
        {
            "id": "Number of the event.",
            "customer_id": "Who is charged or credited.",
            "event_type": "api_usage, subscription, overage or credit.",
            "amount_usd": "Amount in US dollars; negative for a credit.",
            "currency": "Currency of the invoice, ISO 4217.",
            "description": "The line on the invoice.",
            "metadata": "Object with what the amount was computed from.",
            "stripe_invoice_id": "Invoice at Stripe that carries it; NULL until billed.",
            "created_at": CREATED,
        },
    ),
    "claude_sessions": (
        "Sessions of coding agents: who ran what, from when to when.",
        {
            "id": "Id of the row.",
            "session_id": "The agent's own name of the session.",
            "user_id": "Who ran it.",
            "command": "What it was started with.",
            "status": "running until it ends, then how it ended.",
            "started_at": "When it began.",
            "ended_at": "When it ended; NULL while it runs.",
            "metadata": "Object with what else the agent reported.",
        },
    ),
    "container_metrics": (
        "Resource use of containers over time, one row a sample.",
        {
            "id": "Number of the sample.",
            "container_name": "The container, by name.",
            "cpu_percent": "Processor use; 100 is one whole core.",
            "mem_usage_mb": "Memory in use, megabytes.",
            "mem_percent": "Memory in use as a share of the container's limit, percent.",
            "net_io_mb": "Network traffic received and sent since it started, megabytes.",
            "block_io_mb": "Bytes read from and written to disks since it started, megabytes.",
            "timestamp": "When the sample was taken.",
        },
    ),
    "infra_anomaly_alerts": (
        "Unusual behaviour of hosts and containers: what was seen, what was expected, and why "
        "that is an alert.",
        {
            "id": "Number of the alert.",
            "host": "Machine it was seen on; NULL where there is only one.",
            "container_name": "Container it was seen in; NULL when the host itself is meant.",
            "metric": "What was measured, such as cpu_percent.",
            "kind": "Shape of the anomaly, such as spike, drop, leak, level_shift or flatline.",
            "severity": "info, warning or critical.",
            "status": "open, acknowledged or resolved.",
            "observed": "The value that was seen, in the unit of the metric.",
            "expected": "The value that was expected.",
            "expected_low": "Lower end of the range that would have been normal.",
            "expected_high": "Upper end of that range.",
            "score": "How unusual it is; the scale is the detector's, higher is stranger.",
            "explanation": "The finding in a sentence for people.",
            "evidence": "Object with the detector, its parameters and the samples around it.",
            "started_at": "When the anomaly began.",
            "ended_at": "When values were normal again; NULL while it lasts.",
            "acknowledged_at": "When somebody took note; NULL until then.",
            "created_at": CREATED,
            "updated_at": "When the alert was last changed.",
        },
    ),
    "workflows": (
        "Definitions of workflows.",
        {
            "id": "Id of the workflow.",
            "name": "What people call it.",
            "graph": "Object with its nodes and edges.",
            "status": "active, or why it may not be started.",
            "created_at": CREATED,
            "updated_at": "When the definition was last changed.",
        },
    ),
    "workflow_executions": (
        "Runs of workflows, and where each of them stands.",
        {
            "id": "Id of the run.",
            "workflow_id": "The workflow that is run.",
            "context": "Object with the run's inputs and what its nodes have produced.",
            "current_node": "The node it is at.",
            "status": "running, completed, failed or interrupted.",
            "error": "Why it failed.",
            "started_at": "When it began.",
            "completed_at": "When it ended, however; NULL while it runs.",
        },
    ),
    "deep_briefing_jobs": (
        "Research given to a provider of deep research.",
        {
            "id": "Id of the job.",
            "query": "What is to be found out.",
            "status": "pending until taken, then where it stands.",
            "result": "Object with the report and its sources.",
            "provider": "gemini, perplexity or claude.",
            "cost_usd": "What the provider charged, US dollars.",
            "created_at": CREATED,
            "completed_at": "When the job ended, however.",
        },
    ),
    "competitors": (
        "Companies whose websites are watched.",
        {
            "id": "Number of the competitor.",
            "name": "Name of the company.",
            "domain": "Domain of its website, without a scheme.",
            "category": "Group of competitors.",
            "last_checked_at": "When any of its pages was last fetched.",
            "enabled": "False while it is not watched.",
            "created_at": CREATED,
        },
    ),
    "competitor_pages": (
        "Pages of competitors that are watched for changes.",
        {
            "id": "Number of the page.",
            "competitor_id": "Whose page it is.",
            "url": "Address of the page.",
            "page_type": "pricing, features, homepage, docs or blog.",
            "content_hash": "SHA-256 of the content at the last check, hexadecimal.",
            "screenshot_url": "Where the last picture of it is.",
            "last_checked_at": "When it was last fetched.",
            "created_at": CREATED,
        },
    ),
    "competitor_changes": (
        "Changes that were found on watched pages.",
        {
            "id": "Number of the change.",
            "page_id": "The page that changed.",
            "change_type": "What kind of change it is, such as price or text.",
            "old_value": "Content before.",
            "new_value": "Content after.",
            "diff": "The difference, for people.",
            "detected_at": "When it was found.",
        },
    ),
}

#: Name to (table, condition): the values that the tables were designed with. The cast makes the
#: server print the same condition again after a dump and a restore; without it, it does not.
CHECKS = {
    "ck_decision_outcomes_outcome_status": (
        "decision_outcomes",
        "outcome_status::text IN ('pending', 'success', 'partial', 'failure')",
    ),
    "ck_decision_outcomes_user_feedback": (
        "decision_outcomes",
        "user_feedback::text IN ('positive', 'negative', 'neutral')",
    ),
}

# A row passes a check whose condition is NULL, hence IS FALSE.
ADD_CHECK = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM {table} WHERE ({condition}) IS FALSE) THEN
        RAISE NOTICE 'check {name} is left out: rows of {table} do not satisfy it';
        RETURN;
    END IF;
    ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID;
    ALTER TABLE {table} VALIDATE CONSTRAINT {name};
END
$$
"""


def upgrade() -> None:
    for name, (table, condition) in CHECKS.items():
        op.execute(ADD_CHECK.format(name=name, table=table, condition=condition))
    present = _comments()
    for (table, column), comment in _ours().items():
        if (table, column) not in present:
            _comment(table, column, f"'{comment.replace(chr(39), chr(39) * 2)}'")


def downgrade() -> None:
    ours = _ours()
    for key, comment in _comments().items():
        if ours.get(key) == comment:
            _comment(*key, "NULL")
    for name, (table, _) in CHECKS.items():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")


def _ours() -> dict[tuple[str, str], str]:
    """Return every comment by table and column; the column is empty for the table's own."""
    tables = {(table, ""): comment for table, (comment, _) in COMMENTS.items()}
    columns = {
        (table, column): comment
        for table, (_, comments) in COMMENTS.items()
        for column, comment in comments.items()
    }
    return tables | columns


def _comments() -> dict[tuple[str, str], str]:
    """Return the comments that the database has."""
    rows = op.get_bind().exec_driver_sql(
        """
        SELECT c.relname, coalesce(a.attname, ''), d.description
        FROM pg_description d
        JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid
                                AND d.objsubid > 0
        WHERE c.relnamespace = current_schema()::regnamespace
          AND c.relkind IN ('r', 'p')
        """
    )
    return {(table, column): comment for table, column, comment in rows}


def _comment(table: str, column: str, literal: str) -> None:
    what = f"COLUMN {table}.{column}" if column else f"TABLE {table}"
    op.execute(f"COMMENT ON {what} IS {literal}")
