CREATE OR REPLACE FUNCTION aegis_add_histograms(one integer[], other integer[])
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $fn$
DECLARE
    result integer[] := one;
    have integer := cardinality(one);
    wanted integer := cardinality(other);
BEGIN
    IF have < wanted THEN
        result := result || array_fill(0, ARRAY[wanted - have]);
    END IF;
    -- What a batch adds to one row is a few buckets of many.
    FOR i IN 1 .. wanted LOOP
        CONTINUE WHEN other[i] = 0;
        result[i] := result[i] + other[i];
    END LOOP;
    RETURN result;
END
$fn$
