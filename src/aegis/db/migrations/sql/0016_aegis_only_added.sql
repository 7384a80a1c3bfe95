-- The arguments of the trigger are the columns that may change; none else does, and no row goes.
CREATE FUNCTION aegis_only_added() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) - TG_ARGV = to_jsonb(OLD) - TG_ARGV THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'rows of % are only added: correct one by another row', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
