DO $$
BEGIN
    IF to_regclass('aegis_kept_0015_events') IS NULL THEN
        RETURN;
    END IF;
    -- None of these is in the sums, so the triggers may sleep.
    ALTER TABLE api_usage_events DISABLE TRIGGER USER;
    UPDATE api_usage_events e
    SET event_id = k.event_id,
        recorded_at = k.recorded_at,
        source = k.source
    FROM aegis_kept_0015_events k
    WHERE k.id = e.id AND k.created_at = e.created_at;
    ALTER TABLE api_usage_events ENABLE TRIGGER USER;
    INSERT INTO usage_event_ids SELECT * FROM aegis_kept_0015_ids;
    INSERT INTO usage_archives SELECT * FROM aegis_kept_0015_archives;
    INSERT INTO usage_hourly AS u
    SELECT k.*
    FROM aegis_kept_0015_hourly k
    WHERE date_trunc('month', k.hour AT TIME ZONE 'UTC')::date IN (
        SELECT a.month FROM usage_archives a WHERE a.state = 'dropped'
    )
    ON CONFLICT ON CONSTRAINT uq_usage_hourly DO UPDATE
    SET calls = u.calls + excluded.calls,
        errors = u.errors + excluded.errors,
        tokens = u.tokens + excluded.tokens,
        cost_usd = u.cost_usd + excluded.cost_usd,
        response_ms_sum = u.response_ms_sum + excluded.response_ms_sum,
        response_histogram = aegis_add_histograms(
            u.response_histogram, excluded.response_histogram
        );
    INSERT INTO usage_daily AS u
    SELECT k.*
    FROM aegis_kept_0015_daily k
    WHERE date_trunc('month', k.day)::date IN (
        SELECT a.month FROM usage_archives a WHERE a.state = 'dropped'
    )
    ON CONFLICT ON CONSTRAINT uq_usage_daily DO UPDATE
    SET calls = u.calls + excluded.calls,
        errors = u.errors + excluded.errors,
        tokens = u.tokens + excluded.tokens,
        cost_usd = u.cost_usd + excluded.cost_usd,
        response_ms_sum = u.response_ms_sum + excluded.response_ms_sum,
        response_histogram = aegis_add_histograms(
            u.response_histogram, excluded.response_histogram
        );
    DROP TABLE aegis_kept_0015_hourly, aegis_kept_0015_daily, aegis_kept_0015_ids,
        aegis_kept_0015_archives, aegis_kept_0015_events;
END
$$
