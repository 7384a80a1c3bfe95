CREATE FUNCTION aegis_open_customer_period(customer text, today date) RETURNS void
LANGUAGE plpgsql AS $fn$
DECLARE
    ours api_customers%ROWTYPE;
BEGIN
    -- The caller holds the lock, or gets it here; what is read below it is what counts.
    SELECT c.* INTO ours FROM api_customers c WHERE c.customer_id = customer FOR UPDATE;
    IF ours.monthly_quota IS NULL OR ours.period >= today THEN
        RETURN;
    END IF;
    IF ours.period IS NOT NULL THEN
        INSERT INTO api_customer_ledger (customer_id, period, kind, amount)
        VALUES
            (customer, ours.period, 'usage', -ours.used),
            (customer, ours.period, 'reset', ours.used - ours.granted);
    END IF;
    INSERT INTO api_customer_ledger (customer_id, period, kind, amount)
    VALUES (customer, today, 'grant', ours.monthly_quota);
    UPDATE api_customers
    SET period = today,
        granted = monthly_quota,
        used = 0
    WHERE customer_id = customer;
END
$fn$
