-- The tables of billing; statements end with a line of `;`.

ALTER TABLE billing_events
    ADD COLUMN period DATE,
    ADD COLUMN line TEXT,
    ADD COLUMN quantity NUMERIC(30, 6),
    ADD COLUMN entry_key TEXT
;

-- Whoever adds an entry twice adds it once.
CREATE UNIQUE INDEX uq_billing_events_entry_key ON billing_events (customer_id, entry_key)
    WHERE entry_key IS NOT NULL
;

CREATE INDEX idx_billing_events_customer ON billing_events (customer_id, period)
;

CREATE TABLE billing_plans (
    id BIGSERIAL PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    valid_from DATE NOT NULL,
    terms JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT uq_billing_plans_version UNIQUE (name, version),
    CONSTRAINT uq_billing_plans_valid_from UNIQUE (name, valid_from)
)
;

CREATE TABLE billing_accounts (
    customer_id VARCHAR(100) NOT NULL,
    name TEXT,
    email TEXT,
    address TEXT,
    stripe_mode TEXT NOT NULL DEFAULT 'none',
    stripe_customer_id TEXT,
    stripe_linked_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT billing_accounts_pkey PRIMARY KEY (customer_id),
    CONSTRAINT uq_billing_accounts_stripe_customer_id UNIQUE (stripe_customer_id),
    CONSTRAINT ck_billing_accounts_stripe_mode
        CHECK (stripe_mode IN ('none', 'invoices', 'meters'))
)
;

CREATE TABLE billing_subscriptions (
    id BIGSERIAL PRIMARY KEY,
    customer_id VARCHAR(100) NOT NULL,
    plan TEXT NOT NULL,
    starts_on DATE NOT NULL,
    ends_on DATE,
    proration TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT billing_subscriptions_customer_id_fkey
        FOREIGN KEY (customer_id) REFERENCES billing_accounts (customer_id),
    CONSTRAINT ck_billing_subscriptions_days CHECK (ends_on > starts_on),
    CONSTRAINT ck_billing_subscriptions_proration
        CHECK (proration IN ('daily', 'full', 'none'))
)
;

CREATE INDEX idx_billing_subscriptions_customer
    ON billing_subscriptions (customer_id, starts_on)
;

CREATE TABLE billing_runs (
    period DATE NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    finished_at TIMESTAMPTZ,
    CONSTRAINT billing_runs_pkey PRIMARY KEY (period)
)
;

CREATE TABLE billing_periods (
    customer_id VARCHAR(100) NOT NULL,
    period DATE NOT NULL,
    run_period DATE NOT NULL,
    segments JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT billing_periods_pkey PRIMARY KEY (customer_id, period)
)
;

CREATE INDEX idx_billing_periods_period ON billing_periods (period)
;

CREATE TABLE billing_invoices (
    id BIGSERIAL PRIMARY KEY,
    customer_id VARCHAR(100) NOT NULL,
    period DATE NOT NULL,
    number TEXT,
    state TEXT NOT NULL DEFAULT 'draft',
    currency VARCHAR(3) NOT NULL DEFAULT 'USD',
    total_usd NUMERIC(16, 2) NOT NULL,
    customer_name TEXT,
    customer_address TEXT,
    due_on DATE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    finalized_at TIMESTAMPTZ,
    sent_at TIMESTAMPTZ,
    paid_at TIMESTAMPTZ,
    voided_at TIMESTAMPTZ,
    stripe_invoice_id TEXT,
    stripe_status TEXT,
    stripe_event_at TIMESTAMPTZ,
    CONSTRAINT billing_invoices_customer_id_fkey
        FOREIGN KEY (customer_id) REFERENCES billing_accounts (customer_id),
    CONSTRAINT uq_billing_invoices_number UNIQUE (number),
    CONSTRAINT uq_billing_invoices_stripe_invoice_id UNIQUE (stripe_invoice_id),
    CONSTRAINT ck_billing_invoices_state
        CHECK (state IN ('draft', 'final', 'sent', 'paid', 'void')),
    CONSTRAINT ck_billing_invoices_numbered
        CHECK (CASE state WHEN 'draft' THEN number IS NULL WHEN 'void' THEN TRUE
               ELSE number IS NOT NULL END),
    CONSTRAINT ck_billing_invoices_total CHECK (total_usd >= 0)
)
;

-- A run that is repeated makes no second one.
CREATE UNIQUE INDEX uq_billing_invoices_period ON billing_invoices (customer_id, period)
    WHERE state <> 'void'
;

CREATE INDEX idx_billing_invoices_period ON billing_invoices (period, id)
;

CREATE TABLE billing_invoice_lines (
    invoice_id BIGINT NOT NULL,
    position INTEGER NOT NULL,
    event_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    quantity NUMERIC(30, 6),
    amount_usd NUMERIC(10, 2) NOT NULL,
    CONSTRAINT billing_invoice_lines_pkey PRIMARY KEY (invoice_id, position),
    CONSTRAINT billing_invoice_lines_invoice_id_fkey
        FOREIGN KEY (invoice_id) REFERENCES billing_invoices (id),
    CONSTRAINT billing_invoice_lines_event_id_fkey
        FOREIGN KEY (event_id) REFERENCES billing_events (id),
    CONSTRAINT ck_billing_invoice_lines_kind
        CHECK (kind IN ('api_usage', 'subscription', 'overage', 'credit'))
)
;

CREATE INDEX idx_billing_invoice_lines_event ON billing_invoice_lines (event_id)
;

CREATE TABLE billing_invoice_numbers (
    year INTEGER NOT NULL,
    last INTEGER NOT NULL,
    CONSTRAINT billing_invoice_numbers_pkey PRIMARY KEY (year)
)
;

CREATE TABLE billing_stripe_outbox (
    id BIGSERIAL PRIMARY KEY,
    kind TEXT NOT NULL,
    customer_id VARCHAR(100) NOT NULL,
    invoice_id BIGINT,
    subject TEXT NOT NULL,
    payload JSONB NOT NULL,
    meter TEXT,
    day DATE,
    quantity NUMERIC(30, 6),
    idempotency_key TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    first_attempt_at TIMESTAMPTZ,
    last_error TEXT,
    stripe_id TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    sent_at TIMESTAMPTZ,
    CONSTRAINT billing_stripe_outbox_customer_id_fkey
        FOREIGN KEY (customer_id) REFERENCES billing_accounts (customer_id),
    CONSTRAINT billing_stripe_outbox_invoice_id_fkey
        FOREIGN KEY (invoice_id) REFERENCES billing_invoices (id),
    CONSTRAINT uq_billing_stripe_outbox_subject UNIQUE (subject),
    CONSTRAINT uq_billing_stripe_outbox_idempotency_key UNIQUE (idempotency_key),
    CONSTRAINT ck_billing_stripe_outbox_kind
        CHECK (kind IN ('customer', 'invoice', 'invoice_item', 'finalize', 'meter_event')),
    CONSTRAINT ck_billing_stripe_outbox_state
        CHECK (state IN ('pending', 'sent', 'failed'))
)
;

-- What was sent stays, and is not read to find what is next.
CREATE INDEX idx_billing_stripe_outbox_pending ON billing_stripe_outbox (id)
    WHERE state = 'pending'
;

CREATE INDEX idx_billing_stripe_outbox_unsent ON billing_stripe_outbox (customer_id, id)
    WHERE state <> 'sent'
;

CREATE INDEX idx_billing_stripe_outbox_meter ON billing_stripe_outbox (customer_id, day)
    WHERE meter IS NOT NULL
;

CREATE TABLE billing_stripe_events (
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    object_id TEXT,
    invoice_id BIGINT,
    happened_at TIMESTAMPTZ NOT NULL,
    outcome TEXT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT billing_stripe_events_pkey PRIMARY KEY (event_id),
    CONSTRAINT billing_stripe_events_invoice_id_fkey
        FOREIGN KEY (invoice_id) REFERENCES billing_invoices (id),
    CONSTRAINT ck_billing_stripe_events_outcome
        CHECK (outcome IN ('applied', 'stale', 'ignored'))
)
;
