"""The watching of competitors: when pages are checked, what was seen, what is noise.

`competitors`, `competitor_pages` and `competitor_changes` keep the columns of the specification;
further ones say when a page is due, who is at it, and what the last answer was. Two tables are
new: snapshots (what a page said, with the fetched document of the newest) and hosts (robots.txt,
and when a host may be asked again).

Going back loses nothing: what the new columns and tables held is set aside in
`aegis_kept_0022_*`, and put back by the next upgrade.

Locks and cost: the generated column rewrites `competitor_pages` once, which is small.
"""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_LEASE = """
        ADD COLUMN lease_owner TEXT,
        ADD COLUMN lease_until TIMESTAMPTZ,
        ADD COLUMN lease_token BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN failures INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN last_error TEXT
"""

TABLES = (
    f"""
    ALTER TABLE competitors
        ADD COLUMN url TEXT,
        ADD COLUMN check_every_s INTEGER NOT NULL DEFAULT 86400,
        ADD COLUMN discover_at TIMESTAMPTZ,
        ADD COLUMN discovered_at TIMESTAMPTZ,
        {_LEASE},
        ADD CONSTRAINT ck_competitors_check_every_s CHECK (check_every_s >= 60)
    """,
    """
    CREATE INDEX idx_competitors_discover_at ON competitors (discover_at)
        WHERE discover_at IS NOT NULL
    """,
    # The domain is how people find one; upper and lower case are the same host.
    "CREATE INDEX idx_competitors_domain ON competitors (lower(domain::text))",
    f"""
    ALTER TABLE competitor_pages
        ADD COLUMN host TEXT GENERATED ALWAYS AS (
            lower(substring(url FROM '^[A-Za-z]+://[^/?#]+'))
        ) STORED,
        ADD COLUMN state TEXT NOT NULL DEFAULT 'watched',
        ADD COLUMN browser BOOLEAN NOT NULL DEFAULT false,
        ADD COLUMN include_selectors TEXT[] NOT NULL DEFAULT '{{}}',
        ADD COLUMN exclude_selectors TEXT[] NOT NULL DEFAULT '{{}}',
        ADD COLUMN check_every_s INTEGER,
        ADD COLUMN next_check_at TIMESTAMPTZ,
        {_LEASE},
        ADD COLUMN last_status INTEGER,
        ADD COLUMN etag TEXT,
        ADD COLUMN last_modified TEXT,
        ADD COLUMN body_hash TEXT,
        ADD COLUMN extractor TEXT,
        ADD COLUMN noise JSONB NOT NULL DEFAULT '{{}}',
        ADD COLUMN last_changed_at TIMESTAMPTZ,
        ADD CONSTRAINT ck_competitor_pages_state
            CHECK (state IN ('proposed', 'watched', 'ignored', 'gone')),
        ADD CONSTRAINT ck_competitor_pages_check_every_s CHECK (check_every_s >= 60)
    """,
    # What was there before is not asked for because of an upgrade: a first check by hand starts it.
    "ALTER TABLE competitor_pages ALTER COLUMN next_check_at SET DEFAULT now()",
    """
    CREATE INDEX idx_competitor_pages_next_check_at ON competitor_pages (next_check_at)
        WHERE state IN ('watched', 'gone') AND next_check_at IS NOT NULL
    """,
    """
    CREATE INDEX idx_competitor_pages_lease_until ON competitor_pages (host, lease_until)
        WHERE lease_until IS NOT NULL
    """,
    "CREATE INDEX idx_competitor_pages_competitor_id ON competitor_pages (competitor_id, id)",
    """
    CREATE TABLE competitor_snapshots (
        id BIGSERIAL PRIMARY KEY,
        page_id INTEGER NOT NULL,
        state TEXT NOT NULL,
        taken_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        url TEXT NOT NULL,
        status INTEGER NOT NULL,
        extractor TEXT NOT NULL,
        method TEXT NOT NULL,
        title TEXT NOT NULL,
        text TEXT NOT NULL,
        prices TEXT NOT NULL,
        outline TEXT NOT NULL,
        html BYTEA,
        body_hash TEXT,
        screenshot_url TEXT,
        picture BYTEA,
        CONSTRAINT competitor_snapshots_page_id_fkey
            FOREIGN KEY (page_id) REFERENCES competitor_pages (id) ON DELETE CASCADE,
        CONSTRAINT ck_competitor_snapshots_state
            CHECK (state IN ('baseline', 'pending', 'old')),
        CONSTRAINT ck_competitor_snapshots_method CHECK (method IN ('article', 'blocks'))
    )
    """,
    "CREATE INDEX idx_competitor_snapshots_page_id ON competitor_snapshots (page_id, id DESC)",
    """
    CREATE UNIQUE INDEX uq_competitor_snapshots_baseline ON competitor_snapshots (page_id)
        WHERE state = 'baseline'
    """,
    """
    CREATE TABLE competitor_hosts (
        host TEXT PRIMARY KEY,
        robots TEXT,
        robots_status INTEGER,
        robots_at TIMESTAMPTZ,
        next_request_at TIMESTAMPTZ
    )
    """,
    """
    ALTER TABLE competitor_changes
        ADD COLUMN importance TEXT NOT NULL DEFAULT 'medium',
        ADD COLUMN summary TEXT,
        ADD COLUMN word_diff TEXT,
        ADD COLUMN details JSONB,
        ADD COLUMN old_screenshot_url TEXT,
        ADD COLUMN new_screenshot_url TEXT,
        ADD COLUMN telling_due BOOLEAN NOT NULL DEFAULT false,
        ADD COLUMN acknowledged_at TIMESTAMPTZ,
        ADD CONSTRAINT ck_competitor_changes_importance
            CHECK (importance IN ('low', 'medium', 'high', 'critical'))
    """,
    "CREATE INDEX idx_competitor_changes_page_id ON competitor_changes (page_id, id DESC)",
    "CREATE INDEX idx_competitor_changes_detected_at ON competitor_changes (detected_at DESC)",
    "CREATE INDEX idx_competitor_changes_telling_due ON competitor_changes (id) WHERE telling_due",
)

_LEASE_COMMENTS = {
    "lease_owner": "Worker that is at it.",
    "lease_until": "Until when it holds the lease; NULL where nobody does.",
    "lease_token": "Fencing token, one more with each claim.",
    "failures": "Failures in a row.",
    "last_error": "Why the last attempt failed; NULL after one that did not.",
}

COLUMN_COMMENTS = {
    "competitors": {
        "url": "Where its pages are looked for; https:// and the domain where it is NULL.",
        "check_every_s": "Seconds between checks of its pages.",
        "discover_at": "When new pages are looked for next; NULL for never.",
        "discovered_at": "When they were last looked for.",
        **_LEASE_COMMENTS,
    },
    "competitor_pages": {
        "host": "Scheme, host and port of the URL: what is asked politely.",
        "state": "proposed (found, nobody chose), watched, ignored, or gone (it answers 404).",
        "browser": "Whether a browser fetches it; HTTP otherwise.",
        "include_selectors": "CSS selectors of what counts; everything where there are none.",
        "exclude_selectors": "CSS selectors of what does not count.",
        "check_every_s": "Seconds between checks; those of the competitor where it is NULL.",
        "next_check_at": "When it is checked next; NULL for never.",
        **_LEASE_COMMENTS,
        "last_status": "HTTP status of the last answer.",
        "etag": "ETag of the answer that the baseline is known to equal.",
        "last_modified": "Last-Modified of that answer.",
        "body_hash": "SHA-256 of that answer, byte by byte.",
        "extractor": "Version of the extraction that content_hash was made with.",
        "noise": "What was learned to change by itself: object of masks and of flapping lines.",
        "last_changed_at": "When a change was last confirmed.",
    },
    "competitor_snapshots": {
        "id": "Number of the snapshot.",
        "page_id": "Whose it is.",
        "state": "baseline (compared with), pending (differs, not confirmed yet), or old.",
        "taken_at": "When it was fetched.",
        "url": "Where it was found in the end, after redirects.",
        "status": "HTTP status of the answer.",
        "extractor": "Version of the extraction that made text, prices and outline.",
        "method": "article (main text) or blocks (all that is to be read on the page).",
        "title": "Title of the page.",
        "text": "What it says, a line a block, normalised.",
        "prices": "Prices, a line each: plan, amount, currency, period.",
        "outline": "Headings, navigation, tables and forms, a line each.",
        "html": "The document, compressed with zlib; NULL in old ones.",
        "body_hash": "SHA-256 of the answer, byte by byte.",
        "screenshot_url": "File of the picture, where a browser took one.",
        "picture": "The picture scaled down to 32 columns of grey, a byte each.",
    },
    "competitor_hosts": {
        "host": "Scheme, host and port.",
        "robots": "Its robots.txt; NULL where it has none.",
        "robots_status": "HTTP status of that answer; 0 where there was no answer.",
        "robots_at": "When robots.txt was fetched.",
        "next_request_at": "Before this nobody asks it anything.",
    },
    "competitor_changes": {
        "importance": "low, medium, high or critical.",
        "summary": "What changed, in words.",
        "word_diff": "The difference word by word: [-old-] and {+new+}.",
        "details": "Object with what else is known of it, such as both prices.",
        "old_screenshot_url": "Picture of before.",
        "new_screenshot_url": "Picture of after.",
        "telling_due": "Whether memory and alerts are still to be told.",
        "acknowledged_at": "When somebody took note of it.",
    },
}
TABLE_COMMENTS = {
    "competitor_snapshots": "What pages said when they were fetched. Goes with the page.",
    "competitor_hosts": "Hosts that are asked: their robots.txt and when they may be asked again.",
}

_SEED_TABLES = ("competitors", "competitor_pages", "competitor_changes")
_ADDED = {
    table: [name for name in COLUMN_COMMENTS[table] if name != "host"] for table in _SEED_TABLES
}

SET_ASIDE = (
    *(
        f"CREATE TABLE aegis_kept_0022_{table} AS "
        f"SELECT id, {', '.join(_ADDED[table])} FROM {table}"
        for table in _SEED_TABLES
    ),
    "CREATE TABLE aegis_kept_0022_snapshots AS SELECT * FROM competitor_snapshots",
    "CREATE TABLE aegis_kept_0022_hosts AS SELECT * FROM competitor_hosts",
)


def _put_back(table: str) -> str:
    names = ", ".join(f"{name} = k.{name}" for name in _ADDED[table])
    return f"UPDATE {table} t SET {names} FROM aegis_kept_0022_{table} k WHERE t.id = k.id;"


_SNAPSHOT = ", ".join(COLUMN_COMMENTS["competitor_snapshots"])
_HOST = ", ".join(COLUMN_COMMENTS["competitor_hosts"])
PUT_BACK = f"""
DO $$
BEGIN
    IF to_regclass('aegis_kept_0022_competitors') IS NULL THEN
        RETURN;
    END IF;
    {" ".join(_put_back(table) for table in _SEED_TABLES)}
    -- Pages may have been deleted meanwhile.
    INSERT INTO competitor_snapshots ({_SNAPSHOT})
    SELECT {_SNAPSHOT}
    FROM aegis_kept_0022_snapshots
    WHERE page_id IN (SELECT id FROM competitor_pages);
    PERFORM setval(pg_get_serial_sequence('competitor_snapshots', 'id'), max(id))
    FROM competitor_snapshots;
    INSERT INTO competitor_hosts ({_HOST}) SELECT {_HOST} FROM aegis_kept_0022_hosts;
    DROP TABLE aegis_kept_0022_competitors, aegis_kept_0022_competitor_pages,
        aegis_kept_0022_competitor_changes, aegis_kept_0022_snapshots, aegis_kept_0022_hosts;
END
$$
"""


def upgrade() -> None:
    for statement in (*TABLES, PUT_BACK):
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    for statement in SET_ASIDE:
        op.execute(statement)
    op.execute("DROP TABLE competitor_snapshots, competitor_hosts")
    for index in (
        "idx_competitors_domain",
        "idx_competitor_pages_competitor_id",
        "idx_competitor_changes_page_id",
        "idx_competitor_changes_detected_at",
    ):
        op.execute(f"DROP INDEX {index}")
    for table in _SEED_TABLES:
        drops = ", ".join(f"DROP COLUMN {name}" for name in COLUMN_COMMENTS[table])
        op.execute(f"ALTER TABLE {table} {drops}")
