CREATE FUNCTION aegis_open_period(key_id uuid, today date) RETURNS void
LANGUAGE plpgsql AS $fn$
DECLARE
    meter api_key_meters%ROWTYPE;
    quota bigint;
    most bigint;
    unused bigint;
    carried bigint := 0;
    idle integer;
BEGIN
    -- The caller holds the lock, or gets it here; what is read below it is what counts.
    SELECT m.* INTO meter FROM api_key_meters m WHERE m.api_key_id = key_id FOR UPDATE;
    SELECT coalesce(k.monthly_quota, t.monthly_quota), t.rollover_limit
    INTO quota, most
    FROM api_keys k
    LEFT JOIN api_tiers t
        ON t.name = CASE
            WHEN k.tier IN ('free', 'developer', 'pro', 'enterprise') THEN k.tier
            ELSE 'free'
        END
    WHERE k.id = key_id;
    IF quota IS NULL OR meter.period >= today THEN
        RETURN;
    END IF;
    -- A row of before may hold any number.
    quota := greatest(quota, 0);
    IF meter.period IS NOT NULL THEN
        unused := meter.granted + meter.overage - meter.used;
        -- Months without a call were granted and left over whole.
        idle := (extract(year FROM age(today, meter.period)) * 12
            + extract(month FROM age(today, meter.period)))::integer - 1;
        carried := least(unused + greatest(idle, 0) * quota, most);
        INSERT INTO api_quota_ledger (api_key_id, period, kind, amount)
        VALUES
            (key_id, meter.period, 'usage', -meter.used),
            (key_id, meter.period, 'reset', -unused);
    END IF;
    INSERT INTO api_quota_ledger (api_key_id, period, kind, amount)
    VALUES (key_id, today, 'grant', quota);
    IF carried > 0 THEN
        INSERT INTO api_quota_ledger (api_key_id, period, kind, amount)
        VALUES (key_id, today, 'rollover', carried);
    END IF;
    UPDATE api_key_meters
    SET period = today,
        granted = quota + carried,
        used = 0,
        overage = 0
    WHERE api_key_id = key_id;
END
$fn$
