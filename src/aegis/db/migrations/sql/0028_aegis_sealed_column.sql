-- The arguments are a column, and the fields of it that may be encrypted where it is JSON.
CREATE FUNCTION aegis_sealed_column() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    named TEXT := TG_TABLE_NAME || '.' || TG_ARGV[0];
    doing TEXT;
    before JSONB;
    after JSONB := to_jsonb(NEW) -> TG_ARGV[0];
    part TEXT;
    parts TEXT[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := to_jsonb(OLD) -> TG_ARGV[0];
    END IF;
    IF after IS NOT DISTINCT FROM before OR after = 'null' THEN
        RETURN NEW;
    END IF;
    parts := CASE TG_NARGS
        WHEN 1 THEN ARRAY[after #>> '{}']
        ELSE ARRAY(SELECT after ->> f.name FROM unnest(TG_ARGV[1:]) AS f (name))
    END;
    -- Whoever begins or ends the encryption of a column holds this lock alone: what is read after
    -- it stays true until this transaction ends.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('aegis.encrypted_columns', 0));
    SELECT c.state INTO doing
    FROM encrypted_columns c
    WHERE c.table_name = TG_TABLE_NAME
      AND c.column_name = TG_ARGV[0];
    FOREACH part IN ARRAY parts LOOP
        IF part IS NULL THEN
            CONTINUE;
        END IF;
        IF doing IN ('encrypting', 'encrypted') AND NOT starts_with(part, 'aegis:v1:') THEN
            RAISE EXCEPTION '% is encrypted, and takes no clear text', named
                USING ERRCODE = 'check_violation',
                    HINT = 'Write it through an Aegis that has the keys of columns.';
        END IF;
        IF coalesce(doing, 'decrypting') = 'decrypting' AND starts_with(part, 'aegis:v1:') THEN
            RAISE EXCEPTION '% is not encrypted, and takes no encrypted text', named
                USING ERRCODE = 'check_violation';
        END IF;
    END LOOP;
    RETURN NEW;
END
$$
