CREATE FUNCTION aegis_usage_histogram(buckets integer[], counts numeric[])
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $fn$
DECLARE
    most integer := (SELECT max(b) FROM unnest(buckets) AS b);
    result integer[];
BEGIN
    IF most IS NULL THEN
        RETURN '{}';
    END IF;
    result := array_fill(0, ARRAY[most]);
    FOR i IN 1 .. cardinality(buckets) LOOP
        -- Calls without a response time are in no bucket.
        IF buckets[i] IS NOT NULL THEN
            result[buckets[i]] := result[buckets[i]] + counts[i];
        END IF;
    END LOOP;
    RETURN result;
END
$fn$
