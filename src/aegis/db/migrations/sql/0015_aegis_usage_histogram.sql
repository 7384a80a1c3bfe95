CREATE FUNCTION aegis_usage_histogram(buckets integer[], counts numeric[])
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $fn$
DECLARE
    most integer := 0;
    result integer[];
BEGIN
    -- No query in here: it runs once for every row of sums that a batch touches.
    FOR i IN 1 .. cardinality(buckets) LOOP
        IF buckets[i] > most THEN
            most := buckets[i];
        END IF;
    END LOOP;
    IF most = 0 THEN
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
