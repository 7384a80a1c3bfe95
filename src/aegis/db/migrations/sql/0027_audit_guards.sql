-- A temporary table of the same name must not stand in for the seals: hence the search path.
CREATE FUNCTION aegis_audit_log_kept() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        -- What a seal covers may go: the seal keeps where the chain stood.
        IF EXISTS (SELECT FROM audit_seals s WHERE s.through_seq >= OLD.seq) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'rows of audit_log are only added: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$
;
CREATE FUNCTION aegis_audit_seals_kept() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of audit_seals are only added: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$
;
CREATE FUNCTION aegis_audit_head_moves_on() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.seq > OLD.seq AND NEW.log_id = OLD.log_id THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the head of the audit log only moves on: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$
;
