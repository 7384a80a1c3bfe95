DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT statement FROM aegis_usage_extras LOOP
        EXECUTE one.statement;
    END LOOP;
    DROP TABLE aegis_usage_extras;
END
$$
