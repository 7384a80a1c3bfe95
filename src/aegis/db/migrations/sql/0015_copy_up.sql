-- All columns that both have, those that the owner added too.
DO $$
DECLARE
    columns text := (
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
        FROM pg_attribute
        WHERE attrelid = 'api_usage_events_before'::regclass
          AND attnum > 0
          AND NOT attisdropped
          AND attgenerated = ''
    );
BEGIN
    EXECUTE format(
        'INSERT INTO api_usage_events (%s, recorded_at) OVERRIDING SYSTEM VALUE '
        'SELECT %s, NULL FROM api_usage_events_before ORDER BY id',
        columns, columns
    );
END
$$
