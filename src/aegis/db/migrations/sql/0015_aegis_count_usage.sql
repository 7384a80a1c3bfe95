CREATE FUNCTION {name}()
RETURNS trigger
LANGUAGE plpgsql AS $fn$
#variable_conflict use_column
BEGIN
    WITH buckets AS MATERIALIZED (
        SELECT
            date_trunc('hour', e.created_at, 'UTC') AS hour,
            e.customer_id,
            e.api_key_id,
            e.endpoint,
            e.method,
            aegis_usage_bucket(e.response_time_ms) AS bucket,
            sum(e.sign) AS calls,
            coalesce(sum(e.sign) FILTER (WHERE e.status_code >= 400), 0) AS errors,
            coalesce(sum(e.sign * e.tokens_used::bigint), 0) AS tokens,
            coalesce(sum(e.sign * e.cost_usd), 0) AS cost_usd,
            coalesce(sum(e.sign * e.response_time_ms::bigint), 0) AS response_ms
        FROM ({source}) e
        GROUP BY 1, 2, 3, 4, 5, 6
    ), hours AS (
        INSERT INTO usage_hourly AS u (
            hour, customer_id, api_key_id, endpoint, method,
            calls, errors, tokens, cost_usd, response_ms_sum, response_histogram
        )
        SELECT
            b.hour,
            b.customer_id,
            b.api_key_id,
            b.endpoint,
            b.method,
            sum(b.calls),
            sum(b.errors),
            sum(b.tokens),
            sum(b.cost_usd),
            sum(b.response_ms),
            aegis_usage_histogram(array_agg(b.bucket), array_agg(b.calls))
        FROM buckets b
        GROUP BY 1, 2, 3, 4, 5
        -- Everybody locks the rows in one order: batches wait for one another, never in a circle.
        ORDER BY 2, 1, 3, 4, 5
        ON CONFLICT ON CONSTRAINT uq_usage_hourly DO UPDATE
        SET calls = u.calls + excluded.calls,
            errors = u.errors + excluded.errors,
            tokens = u.tokens + excluded.tokens,
            cost_usd = u.cost_usd + excluded.cost_usd,
            response_ms_sum = u.response_ms_sum + excluded.response_ms_sum,
            response_histogram = aegis_add_histograms(
                u.response_histogram, excluded.response_histogram
            )
    )
    INSERT INTO usage_daily AS u (
        day, customer_id, api_key_id, endpoint, method,
        calls, errors, tokens, cost_usd, response_ms_sum, response_histogram
    )
    SELECT
        (b.hour AT TIME ZONE 'UTC')::date,
        b.customer_id,
        b.api_key_id,
        b.endpoint,
        b.method,
        sum(b.calls),
        sum(b.errors),
        sum(b.tokens),
        sum(b.cost_usd),
        sum(b.response_ms),
        aegis_usage_histogram(array_agg(b.bucket), array_agg(b.calls))
    FROM buckets b
    GROUP BY 1, 2, 3, 4, 5
    ORDER BY 2, 1, 3, 4, 5
    ON CONFLICT ON CONSTRAINT uq_usage_daily DO UPDATE
    SET calls = u.calls + excluded.calls,
        errors = u.errors + excluded.errors,
        tokens = u.tokens + excluded.tokens,
        cost_usd = u.cost_usd + excluded.cost_usd,
        response_ms_sum = u.response_ms_sum + excluded.response_ms_sum,
        response_histogram = aegis_add_histograms(
            u.response_histogram, excluded.response_histogram
        );
    RETURN NULL;
END
$fn$
