DO $$
DECLARE
    columns text := (
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
        FROM pg_attribute
        WHERE attrelid = 'api_usage_events'::regclass
          AND attnum > 0
          AND NOT attisdropped
          AND attgenerated = ''
    );
BEGIN
    EXECUTE format(
        'INSERT INTO api_usage_events (%s) OVERRIDING SYSTEM VALUE '
        'SELECT %s FROM api_usage_events_before ORDER BY id',
        columns, columns
    );
    -- A number may be in two months, if another program gave it twice.
    UPDATE api_usage_events e
    SET id = nextval(pg_get_serial_sequence('api_usage_events', 'id'))
    FROM (
        SELECT ctid AS place, row_number() OVER (PARTITION BY id ORDER BY ctid) AS n
        FROM api_usage_events
    ) d
    WHERE d.n > 1 AND d.place = e.ctid;
    IF to_regclass('aegis_kept_0015_times') IS NOT NULL THEN
        UPDATE api_usage_events e
        SET created_at = t.created_at
        FROM aegis_kept_0015_times t
        WHERE t.id = e.id;
        DROP TABLE aegis_kept_0015_times;
    END IF;
    ALTER TABLE api_usage_events ADD CONSTRAINT api_usage_events_pkey PRIMARY KEY (id);
END
$$
