CREATE TABLE audit_head (
    only_row BOOLEAN NOT NULL DEFAULT true,
    log_id UUID NOT NULL DEFAULT gen_random_uuid(),
    seq BIGINT NOT NULL DEFAULT 0,
    hash BYTEA NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    CONSTRAINT audit_head_pkey PRIMARY KEY (only_row),
    CONSTRAINT ck_audit_head_only_row CHECK (only_row),
    CONSTRAINT ck_audit_head_hash CHECK (octet_length(hash) = 32)
)
;
CREATE TABLE audit_log (
    seq BIGINT NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    action TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT,
    face TEXT NOT NULL,
    request_id TEXT,
    object_kind TEXT NOT NULL,
    object_id TEXT,
    details JSONB NOT NULL,
    previous_hash BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    secret_id TEXT NOT NULL,
    signature BYTEA NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (seq),
    CONSTRAINT ck_audit_log_seq CHECK (seq > 0),
    CONSTRAINT ck_audit_log_actor_kind CHECK (
        actor_kind IN ('operator', 'key', 'cli', 'mcp', 'worker', 'service', 'library')
    ),
    CONSTRAINT ck_audit_log_face CHECK (face IN ('cli', 'http', 'mcp', 'worker', 'library')),
    CONSTRAINT ck_audit_log_hash CHECK (
        octet_length(previous_hash) = 32 AND octet_length(hash) = 32
        AND octet_length(signature) = 32
    )
)
;
CREATE INDEX idx_audit_log_recorded_at ON audit_log (recorded_at)
;
CREATE INDEX idx_audit_log_action ON audit_log (action, seq)
;
CREATE INDEX idx_audit_log_object ON audit_log (object_kind, object_id, seq)
;
CREATE TABLE audit_seals (
    through_seq BIGINT NOT NULL,
    from_seq BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    row_count BIGINT NOT NULL,
    first_recorded_at TIMESTAMPTZ NOT NULL,
    last_recorded_at TIMESTAMPTZ NOT NULL,
    sealed_at TIMESTAMPTZ NOT NULL,
    secret_id TEXT NOT NULL,
    signature BYTEA NOT NULL,
    CONSTRAINT audit_seals_pkey PRIMARY KEY (through_seq),
    CONSTRAINT ck_audit_seals_seq CHECK (from_seq > 0 AND through_seq >= from_seq),
    CONSTRAINT ck_audit_seals_hash CHECK (
        octet_length(hash) = 32 AND octet_length(signature) = 32
    )
)
;
CREATE TABLE audit_verifications (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    verified_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    complete BOOLEAN NOT NULL,
    from_seq BIGINT NOT NULL,
    through_seq BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    problem_count BIGINT NOT NULL,
    warning_count BIGINT NOT NULL,
    first_finding TEXT,
    elapsed_ms DOUBLE PRECISION NOT NULL,
    CONSTRAINT audit_verifications_pkey PRIMARY KEY (id)
)
;
