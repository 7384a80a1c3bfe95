CREATE FUNCTION aegis_add_histograms(one integer[], other integer[])
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $fn$
DECLARE
    result integer[] := one;
    have integer := cardinality(one);
BEGIN
    FOR i IN 1 .. cardinality(other) LOOP
        IF i <= have THEN
            result[i] := result[i] + other[i];
        ELSE
            result[i] := other[i];
        END IF;
    END LOOP;
    RETURN result;
END
$fn$
