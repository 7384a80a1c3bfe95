"""A graph over memory: entities, relations, what is still to be read, and what Graphiti refused.

A relation goes from an episode, a fact or an entity to another one; foreign keys hold both ends, so
that nothing deleted leaves an id behind. `related_memories` of the seed and the graph say the same:
an id stands in an episode's array exactly while a relation from it to that episode has no end. The
triggers cost nothing where the array is empty, and they act on SQL of any origin. An id that is no
episode of the namespace stays in the array, as the seed allows, and is no relation until it is one
(`aegis memory graph build` looks again).

New and changed texts are noted in `graph_queue` in the transaction that writes them. A number that
is counted up cannot serve: ids are given out in another order than they are committed in.

`degree` and `mentions` of an entity are counted where relations come and go; an entity without a
relation is deleted, so that nothing remains of what was only said in a deleted memory.

Going back drops the graph; `related_memories` keeps what it says of episodes.

Locks and cost: triggers on the memory tables take SHARE ROW EXCLUSIVE until the revision commits.
Both tables are read once to note every row and every related memory, about two seconds per million
rows. What writing costs: 2,000 episodes with vectors through COPY take 0.46 s with the triggers and
0.50 s without, which is no difference; a single one some tenths of a millisecond more, and one that
names related memories about a millisecond and a half.
"""

from __future__ import annotations

from alembic import op

from aegis.db.graph_triggers import FUNCTIONS, TRIGGERS

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE graph_entities (
        id SERIAL PRIMARY KEY,
        namespace TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        key TEXT NOT NULL,
        aliases TEXT[] NOT NULL DEFAULT '{}',
        first_seen_at TIMESTAMPTZ,
        last_seen_at TIMESTAMPTZ,
        mentions INTEGER NOT NULL DEFAULT 0,
        degree INTEGER NOT NULL DEFAULT 0,
        merged_into INTEGER,
        created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        CONSTRAINT ck_graph_entities_kind CHECK (
            kind IN (
                'person', 'project', 'file', 'host', 'url', 'email', 'organisation', 'ticket',
                'commit', 'concept'
            )
        ),
        CONSTRAINT ck_graph_entities_merged_into CHECK (merged_into <> id),
        CONSTRAINT graph_entities_merged_into_fkey
            FOREIGN KEY (merged_into) REFERENCES graph_entities (id) ON DELETE CASCADE
    )
    """,
    "CREATE UNIQUE INDEX uq_graph_entities_key ON graph_entities (namespace, kind, key)",
    """
    CREATE INDEX idx_graph_entities_merged_into ON graph_entities (merged_into)
        WHERE merged_into IS NOT NULL
    """,
    # The ends as numbers of their own, id * 4 + kind of node: one column to walk along, whatever
    # the kinds.
    """
    CREATE TABLE graph_relations (
        id BIGSERIAL PRIMARY KEY,
        namespace TEXT NOT NULL,
        type TEXT NOT NULL,
        from_episode INTEGER,
        from_fact INTEGER,
        from_entity INTEGER,
        to_episode INTEGER,
        to_fact INTEGER,
        to_entity INTEGER,
        said_in_episode INTEGER,
        said_in_fact INTEGER,
        weight REAL NOT NULL DEFAULT 1,
        valid_from TIMESTAMPTZ,
        valid_to TIMESTAMPTZ,
        recorded_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        found_by TEXT NOT NULL,
        source BIGINT NOT NULL GENERATED ALWAYS AS (
            coalesce(
                from_episode::bigint * 4, from_fact::bigint * 4 + 1, from_entity::bigint * 4 + 2
            )
        ) STORED,
        target BIGINT NOT NULL GENERATED ALWAYS AS (
            coalesce(to_episode::bigint * 4, to_fact::bigint * 4 + 1, to_entity::bigint * 4 + 2)
        ) STORED,
        CONSTRAINT ck_graph_relations_ends CHECK (
            num_nonnulls(from_episode, from_fact, from_entity) = 1
            AND num_nonnulls(to_episode, to_fact, to_entity) = 1
            AND num_nonnulls(said_in_episode, said_in_fact) <= 1
            AND source <> target
        ),
        CONSTRAINT ck_graph_relations_weight CHECK (weight >= 0 AND weight <= 1),
        CONSTRAINT ck_graph_relations_validity CHECK (
            isfinite(valid_from) AND isfinite(valid_to) AND valid_from <= valid_to
        ),
        CONSTRAINT ck_graph_relations_found_by CHECK (found_by IN ('rule', 'hand', 'model')),
        CONSTRAINT graph_relations_from_episode_fkey
            FOREIGN KEY (from_episode) REFERENCES episodic_memory (id) ON DELETE CASCADE,
        CONSTRAINT graph_relations_from_fact_fkey
            FOREIGN KEY (from_fact) REFERENCES semantic_memory (id) ON DELETE CASCADE,
        CONSTRAINT graph_relations_from_entity_fkey
            FOREIGN KEY (from_entity) REFERENCES graph_entities (id) ON DELETE CASCADE,
        CONSTRAINT graph_relations_to_episode_fkey
            FOREIGN KEY (to_episode) REFERENCES episodic_memory (id) ON DELETE CASCADE,
        CONSTRAINT graph_relations_to_fact_fkey
            FOREIGN KEY (to_fact) REFERENCES semantic_memory (id) ON DELETE CASCADE,
        CONSTRAINT graph_relations_to_entity_fkey
            FOREIGN KEY (to_entity) REFERENCES graph_entities (id) ON DELETE CASCADE,
        CONSTRAINT graph_relations_said_in_episode_fkey
            FOREIGN KEY (said_in_episode) REFERENCES episodic_memory (id) ON DELETE CASCADE,
        CONSTRAINT graph_relations_said_in_fact_fkey
            FOREIGN KEY (said_in_fact) REFERENCES semantic_memory (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE UNIQUE INDEX uq_graph_relations ON graph_relations
        (source, target, type, valid_from, said_in_episode, said_in_fact) NULLS NOT DISTINCT
    """,
    "CREATE INDEX idx_graph_relations_target ON graph_relations (target, source)",
    # Each foreign key asks by its column whenever something is deleted.
    *(
        f"CREATE INDEX idx_graph_relations_{column} ON graph_relations ({column}) "
        f"WHERE {column} IS NOT NULL"
        for column in (
            "from_episode",
            "from_fact",
            "from_entity",
            "to_episode",
            "to_fact",
            "to_entity",
            "said_in_episode",
            "said_in_fact",
        )
    ),
    """
    CREATE TABLE graph_queue (
        id BIGSERIAL PRIMARY KEY,
        episode_id INTEGER,
        fact_id INTEGER,
        stage TEXT NOT NULL DEFAULT 'rules',
        CONSTRAINT ck_graph_queue_stage CHECK (stage IN ('rules', 'model'))
    )
    """,
    "CREATE INDEX idx_graph_queue_stage ON graph_queue (stage, id)",
    """
    CREATE TABLE graph_merges (
        id BIGSERIAL PRIMARY KEY,
        namespace TEXT NOT NULL,
        kept INTEGER NOT NULL,
        merged INTEGER NOT NULL,
        before JSONB NOT NULL,
        at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        undone_at TIMESTAMPTZ,
        CONSTRAINT graph_merges_kept_fkey
            FOREIGN KEY (kept) REFERENCES graph_entities (id) ON DELETE CASCADE,
        CONSTRAINT graph_merges_merged_fkey
            FOREIGN KEY (merged) REFERENCES graph_entities (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_graph_merges_kept ON graph_merges (kept)",
    "CREATE INDEX idx_graph_merges_merged ON graph_merges (merged)",
    """
    CREATE TABLE graphiti_failures (
        episode_id INTEGER PRIMARY KEY,
        attempts INTEGER NOT NULL,
        error TEXT NOT NULL,
        failed_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        CONSTRAINT graphiti_failures_episode_id_fkey
            FOREIGN KEY (episode_id) REFERENCES episodic_memory (id) ON DELETE CASCADE
    )
    """,
)

#: What is there already: a relation for each related memory, and every text to be read.
FILL = (
    """
    INSERT INTO graph_relations (namespace, type, from_episode, to_episode, valid_from, found_by)
    SELECT DISTINCT e.namespace,
           'related',
           e.id,
           o.id,
           CASE WHEN isfinite(e.timestamp) THEN e.timestamp END,
           'hand'
    FROM episodic_memory e
    CROSS JOIN LATERAL unnest(e.related_memories) AS r (id)
    JOIN episodic_memory o ON o.id = r.id
    WHERE o.namespace = e.namespace
      AND o.id <> e.id
    """,
    "INSERT INTO graph_queue (episode_id) SELECT id FROM episodic_memory ORDER BY id",
    "INSERT INTO graph_queue (fact_id) SELECT id FROM semantic_memory ORDER BY id",
)

TABLE_COMMENTS = {
    "graph_entities": "Who and what memories speak of, each once in a namespace.",
    "graph_relations": "How memories, facts and entities hang together, typed and dated.",
    "graph_queue": "Texts that are new or changed and have not been read for entities yet.",
    "graph_merges": "Entities that were made one, so that it can be undone.",
    "graphiti_failures": "Episodes that Graphiti did not take, until it does.",
}
COLUMN_COMMENTS = {
    "graph_entities": {
        "id": "Number of the entity.",
        "namespace": "Whose graph it is in.",
        "kind": "What it is: person, project, file, host, url, email, organisation, ticket, "
        "commit or concept.",
        "name": "What it is called, as it was first written.",
        "key": "The name as it is compared; unique in a namespace and kind.",
        "aliases": "Other ways in which it is written.",
        "first_seen_at": "When it was first mentioned, by the time of the memory.",
        "last_seen_at": "When it was last mentioned, by the time of the memory.",
        "mentions": "How many mentions of it there are; kept by triggers.",
        "degree": "How many relations it has; kept by triggers. Without any it is deleted.",
        "merged_into": "Entity that stands for it since they were made one; NULL for none.",
        "created_at": "When it was first written down.",
    },
    "graph_relations": {
        "id": "Number of the relation.",
        "namespace": "Whose graph it is in; both ends are of it too.",
        "type": "What the one is to the other, such as mentions, related, works_on.",
        "from_episode": "Episode that it goes out from; one of the three.",
        "from_fact": "Fact that it goes out from.",
        "from_entity": "Entity that it goes out from.",
        "to_episode": "Episode that it leads to; one of the three.",
        "to_fact": "Fact that it leads to.",
        "to_entity": "Entity that it leads to.",
        "said_in_episode": "Episode that says so; the relation goes with it.",
        "said_in_fact": "Fact that says so; the relation goes with it.",
        "weight": "How strong or how sure it is, 0 to 1.",
        "valid_from": "From when on it holds, inclusive; NULL since always.",
        "valid_to": "Until when it holds, exclusive; NULL while no end is known.",
        "recorded_at": "When it was written down.",
        "found_by": "How it was found: rule, hand or model.",
        "source": "The node that it goes out from: id * 4, + 1 for a fact, + 2 for an entity.",
        "target": "The node that it leads to, numbered likewise.",
    },
    "graph_queue": {
        "id": "Number of the note; the oldest is read first.",
        "episode_id": "Episode to read; it may be gone.",
        "fact_id": "Fact to read; it may be gone.",
        "stage": "What reads it next: rules, or the language model after them.",
    },
    "graph_merges": {
        "id": "Number of the merge.",
        "namespace": "Whose graph it is in.",
        "kept": "Entity that stands for both.",
        "merged": "Entity that is no longer shown.",
        "before": "What was moved, dropped and added, to put it back.",
        "at": "When they were made one.",
        "undone_at": "When that was taken back; NULL while it stands.",
    },
    "graphiti_failures": {
        "episode_id": "The episode.",
        "attempts": "How often it was tried.",
        "error": "What was said the last time.",
        "failed_at": "When it was tried last.",
    },
}

DROPS = (
    "DROP TRIGGER graph_related_insert ON episodic_memory",
    "DROP TRIGGER graph_related_update ON episodic_memory",
    "DROP TRIGGER graph_queue_insert ON episodic_memory",
    "DROP TRIGGER graph_queue_update ON episodic_memory",
    "DROP TRIGGER graphiti_unsynced ON episodic_memory",
    "DROP TRIGGER graph_queue_insert ON semantic_memory",
    "DROP TRIGGER graph_queue_update ON semantic_memory",
    "DROP TABLE graphiti_failures, graph_merges, graph_queue, graph_relations, graph_entities",
    """
    DROP FUNCTION graph_from_array(), graph_to_array(), graph_count_new(), graph_count_gone(),
        graph_note_episodes(), graph_note_episode(), graph_note_fact(), graphiti_unsynced()
    """,
)


def upgrade() -> None:
    for statement in (*TABLES, *FUNCTIONS, *FILL, *TRIGGERS):
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    for statement in DROPS:
        op.execute(statement)
