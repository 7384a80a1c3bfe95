-- Tables of alerts and of watching metrics, their indexes, and columns of older tables.

CREATE TABLE alert_rules (
    name TEXT NOT NULL,
    source TEXT NOT NULL DEFAULT '*',
    condition TEXT NOT NULL DEFAULT '*',
    labels JSONB NOT NULL DEFAULT '{}',
    priority INTEGER NOT NULL DEFAULT 0,
    least_severity TEXT NOT NULL DEFAULT 'warning',
    hold_s DOUBLE PRECISION NOT NULL DEFAULT 60,
    clear_s DOUBLE PRECISION NOT NULL DEFAULT 120,
    unknown_s DOUBLE PRECISION NOT NULL DEFAULT 900,
    channels TEXT[] NOT NULL DEFAULT '{}',
    escalate_s DOUBLE PRECISION NOT NULL DEFAULT 0,
    escalate_to TEXT[] NOT NULL DEFAULT '{}',
    remind_s DOUBLE PRECISION NOT NULL DEFAULT 0,
    group_s DOUBLE PRECISION NOT NULL DEFAULT 5,
    enabled BOOLEAN NOT NULL DEFAULT true,
    CONSTRAINT alert_rules_pkey PRIMARY KEY (name),
    CONSTRAINT ck_alert_rules_least_severity
        CHECK (least_severity IN ('warning', 'critical')),
    CONSTRAINT ck_alert_rules_seconds CHECK (
        hold_s >= 0 AND clear_s >= 0 AND unknown_s >= 0 AND escalate_s >= 0
        AND remind_s >= 0 AND group_s >= 0
    )
);

CREATE TABLE alerts (
    id BIGSERIAL PRIMARY KEY,
    source TEXT NOT NULL,
    condition_id TEXT NOT NULL,
    labels JSONB NOT NULL DEFAULT '{}',
    group_key TEXT NOT NULL,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    severity TEXT NOT NULL,
    condition_state TEXT NOT NULL,
    observed TEXT,
    threshold TEXT,
    advice TEXT,
    link TEXT,
    rule TEXT NOT NULL,
    hold_s DOUBLE PRECISION NOT NULL,
    lasting BOOLEAN NOT NULL DEFAULT false,
    began_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    observed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    unknown_since TIMESTAMPTZ,
    fired_at TIMESTAMPTZ,
    cleared_at TIMESTAMPTZ,
    resolved_at TIMESTAMPTZ,
    acknowledged_at TIMESTAMPTZ,
    acknowledged_by TEXT,
    note TEXT,
    marked_false_at TIMESTAMPTZ,
    escalated_at TIMESTAMPTZ,
    told_at TIMESTAMPTZ,
    CONSTRAINT ck_alerts_state
        CHECK (state IN ('pending', 'firing', 'recovering', 'resolved')),
    CONSTRAINT ck_alerts_severity CHECK (severity IN ('warning', 'critical')),
    CONSTRAINT ck_alerts_condition_state
        CHECK (condition_state IN ('ok', 'warning', 'critical', 'unknown')),
    CONSTRAINT ck_alerts_resolved CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);

CREATE TABLE alert_events (
    id BIGSERIAL PRIMARY KEY,
    alert_id BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    kind TEXT NOT NULL,
    by TEXT,
    text TEXT,
    CONSTRAINT alert_events_alert_id_fkey
        FOREIGN KEY (alert_id) REFERENCES alerts (id) ON DELETE CASCADE,
    CONSTRAINT ck_alert_events_kind CHECK (
        kind IN ('fired', 'worsened', 'eased', 'recovered', 'acknowledged', 'marked_false',
                 'escalated', 'reminded', 'silenced', 'dropped')
    )
);

CREATE TABLE alert_silences (
    id BIGSERIAL PRIMARY KEY,
    source TEXT NOT NULL DEFAULT '*',
    condition TEXT NOT NULL DEFAULT '*',
    labels JSONB NOT NULL DEFAULT '{}',
    until TIMESTAMPTZ NOT NULL,
    reason TEXT,
    created_by TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ended_at TIMESTAMPTZ
);

CREATE TABLE alert_channels (
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    shown TEXT NOT NULL,
    least_severity TEXT NOT NULL DEFAULT 'warning',
    quiet_from INTEGER,
    quiet_until INTEGER,
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    sent_at TIMESTAMPTZ,
    failed_at TIMESTAMPTZ,
    last_error TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT alert_channels_pkey PRIMARY KEY (name),
    CONSTRAINT ck_alert_channels_kind
        CHECK (kind IN ('webhook', 'slack', 'email', 'command', 'apprise')),
    CONSTRAINT ck_alert_channels_least_severity
        CHECK (least_severity IN ('warning', 'critical'))
);

CREATE TABLE alert_deliveries (
    id BIGSERIAL PRIMARY KEY,
    delivery_id UUID NOT NULL DEFAULT gen_random_uuid(),
    channel TEXT NOT NULL,
    group_key TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    critical BOOLEAN NOT NULL,
    entries JSONB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    lease_owner TEXT,
    lease_until TIMESTAMPTZ,
    token BIGINT NOT NULL DEFAULT 0,
    last_error TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    sent_at TIMESTAMPTZ,
    CONSTRAINT uq_alert_deliveries_delivery_id UNIQUE (delivery_id),
    CONSTRAINT ck_alert_deliveries_state CHECK (state IN ('pending', 'sent', 'dead'))
);

CREATE TABLE metric_rules (
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    container TEXT NOT NULL DEFAULT '*',
    metric TEXT NOT NULL,
    above BOOLEAN NOT NULL DEFAULT true,
    value DOUBLE PRECISION NOT NULL,
    for_s DOUBLE PRECISION NOT NULL DEFAULT 60,
    severity TEXT NOT NULL DEFAULT 'warning',
    enabled BOOLEAN NOT NULL DEFAULT true,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT metric_rules_pkey PRIMARY KEY (name),
    CONSTRAINT ck_metric_rules_kind CHECK (kind IN ('threshold', 'rate', 'absence')),
    CONSTRAINT ck_metric_rules_severity CHECK (severity IN ('warning', 'critical'))
);

CREATE TABLE metric_watch (
    id INTEGER NOT NULL DEFAULT 1,
    owner TEXT,
    lease_until TIMESTAMPTZ,
    done_until TIMESTAMPTZ,
    CONSTRAINT metric_watch_pkey PRIMARY KEY (id),
    CONSTRAINT ck_metric_watch_one CHECK (id = 1)
);

CREATE TABLE metric_watch_states (
    container_name VARCHAR(100) NOT NULL,
    state BYTEA NOT NULL,
    saved_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT metric_watch_states_pkey PRIMARY KEY (container_name)
);

CREATE UNIQUE INDEX uq_alerts_open
    ON alerts (source, condition_id)
    WHERE state <> 'resolved';

CREATE INDEX idx_alerts_condition ON alerts (source, condition_id, id DESC);

CREATE INDEX idx_alerts_resolved_at ON alerts (resolved_at) WHERE state = 'resolved';

CREATE INDEX idx_session_events_at
    ON session_events USING brin (at) WITH (pages_per_range = 32);

CREATE INDEX idx_alert_events_alert_id ON alert_events (alert_id, id);

CREATE INDEX idx_alert_silences_until ON alert_silences (until) WHERE ended_at IS NULL;

CREATE INDEX idx_alert_deliveries_due ON alert_deliveries (next_at) WHERE state = 'pending';

CREATE INDEX idx_alert_deliveries_channel ON alert_deliveries (channel, created_at DESC);

ALTER TABLE infra_anomaly_alerts
    ADD COLUMN incident VARCHAR(300),
    ADD COLUMN marked_false_at TIMESTAMPTZ,
    ADD COLUMN first_id BIGINT;

CREATE UNIQUE INDEX uq_infra_anomaly_alerts_incident ON infra_anomaly_alerts (incident);

CREATE INDEX idx_infra_anomaly_alerts_false
    ON infra_anomaly_alerts (container_name, metric, marked_false_at)
    WHERE marked_false_at IS NOT NULL;

ALTER TABLE model_prices ADD COLUMN known_on DATE, ADD COLUMN note TEXT;
