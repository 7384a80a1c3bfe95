CREATE FUNCTION aegis_usage_partition(of_month date)
RETURNS boolean
LANGUAGE plpgsql AS $fn$
DECLARE
    month date := date_trunc('month', of_month)::date;
    partition text := 'api_usage_events_' || to_char(month, 'YYYY_MM');
BEGIN
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- One at a time, and the second sees what the first made.
    PERFORM pg_advisory_xact_lock(hashtextextended('aegis.usage.partitions', 0));
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- ATTACH lets writers of the other months go on; CREATE … PARTITION OF would not.
    EXECUTE format(
        'CREATE TABLE %I (LIKE api_usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
        'INCLUDING COMMENTS INCLUDING GENERATED INCLUDING STORAGE)',
        partition
    );
    EXECUTE format('COMMENT ON TABLE %I IS %L', partition, 'Events of one month (UTC).');
    EXECUTE format(
        'ALTER TABLE api_usage_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition,
        to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
    );
    RETURN true;
END
$fn$
