CREATE FUNCTION aegis_usage_bucket(response_ms integer)
RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
-- Bucket n > 1 holds what is above 1.1 ^ (n - 3) and up to 1.1 ^ (n - 2) milliseconds.
RETURN CASE
    WHEN response_ms <= 0 THEN 1
    ELSE 2 + ceil(ln(response_ms::double precision) / ln(1.1::double precision))::integer
END
