-- Each runs with the rights of the tables' owner, so that the application, which owns nothing, can
-- have partitions made and dropped: these tables', by these rules, and nothing else.
CREATE OR REPLACE FUNCTION aegis_usage_partition(of_month date)
RETURNS boolean
LANGUAGE plpgsql AS $fn$
DECLARE
    month date := date_trunc('month', of_month)::date;
    partition text := 'api_usage_events_' || to_char(month, 'YYYY_MM');
    rule record;
BEGIN
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- One at a time, and the second sees what the first made: unlike an advisory lock, that of a
    -- table makes the session look at the catalog afresh. ATTACH takes this one anyway.
    LOCK TABLE api_usage_events IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- ATTACH lets writers of the other months go on; CREATE … PARTITION OF would not.
    EXECUTE format(
        'CREATE TABLE %I (LIKE api_usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
        'INCLUDING COMMENTS INCLUDING GENERATED INCLUDING STORAGE)',
        partition
    );
    EXECUTE format('COMMENT ON TABLE %I IS %L', partition, 'Events of one month (UTC).');
    -- Rules of the table do not hold for whoever names the partition: it gets its own.
    FOR rule IN
        SELECT p.polname, p.polpermissive, pg_get_expr(p.polqual, p.polrelid) AS condition
        FROM pg_policy p
        JOIN pg_class c ON c.oid = p.polrelid
        WHERE c.oid = 'api_usage_events'::regclass
          AND c.relrowsecurity
          AND p.polname IN ('aegis_everyone', 'aegis_tenant')
    LOOP
        EXECUTE format(
            'CREATE POLICY %I ON %I AS %s USING (%s)',
            rule.polname,
            partition,
            CASE WHEN rule.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            rule.condition
        );
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', partition);
    END LOOP;
    EXECUTE format(
        'ALTER TABLE api_usage_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition,
        to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
    );
    RETURN true;
END
$fn$;

CREATE FUNCTION aegis_usage_detach(partition text)
RETURNS void
LANGUAGE plpgsql AS $fn$
BEGIN
    IF partition IS NULL OR partition !~ '^api_usage_events_\d{4}_(0[1-9]|1[0-2])$' THEN
        RAISE EXCEPTION '% is no month of usage events', coalesce(quote_literal(partition), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('ALTER TABLE api_usage_events DETACH PARTITION %I', partition);
END
$fn$;

CREATE FUNCTION aegis_usage_drop(partition text)
RETURNS void
LANGUAGE plpgsql AS $fn$
BEGIN
    IF partition IS NULL OR partition !~ '^api_usage_events_\d{4}_(0[1-9]|1[0-2])$' THEN
        RAISE EXCEPTION '% is no month of usage events', coalesce(quote_literal(partition), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (
        SELECT
        FROM pg_inherits
        WHERE inhrelid = to_regclass(quote_ident(partition))
    ) THEN
        RAISE EXCEPTION '% is still part of api_usage_events; detach it first', partition
            USING ERRCODE = 'object_in_use';
    END IF;
    EXECUTE format('DROP TABLE %I', partition);
END
$fn$;

CREATE FUNCTION aegis_metrics_partition(of_table text, of_day date)
RETURNS text
LANGUAGE plpgsql AS $fn$
DECLARE
    partition text := of_table || '_p' || to_char(of_day, 'YYYYMMDD');
    rest text := of_table || '_default';
    moment text := CASE of_table WHEN 'container_metrics' THEN 'timestamp' ELSE 'bucket' END;
    first text := to_char(of_day, 'YYYY-MM-DD') || ' 00:00:00+00';
    last text := to_char(of_day + 1, 'YYYY-MM-DD') || ' 00:00:00+00';
BEGIN
    IF of_table IS NULL OR of_day IS NULL
        OR of_table NOT IN ('container_metrics', 'container_metrics_1m') THEN
        RAISE EXCEPTION '% has no partitions by day', coalesce(quote_literal(of_table), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format(
        'CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition, of_table
    );
    -- Rows that come into the default partition now would be missed.
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', rest);
    EXECUTE format(
        'WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) '
        'INSERT INTO %I SELECT * FROM moved',
        rest, moment, first, moment, last, partition
    );
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        of_table, partition, first, last
    );
    RETURN partition;
END
$fn$;

CREATE FUNCTION aegis_metrics_drop(partition text)
RETURNS void
LANGUAGE plpgsql AS $fn$
BEGIN
    IF partition IS NULL
        OR partition !~ '^container_metrics(_1m)?_(p|before_)\d{8}$' THEN
        RAISE EXCEPTION '% is no day of metrics', coalesce(quote_literal(partition), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('DROP TABLE %I', partition);
END
$fn$;

-- Who a connection is, is whom it logged in as: no SET changes `session_user`.
CREATE FUNCTION aegis_is_tenant()
RETURNS boolean
LANGUAGE sql STABLE AS $fn$
    SELECT EXISTS (
        SELECT
        FROM security_tenants t
        WHERE t.role_name = session_user
    ) OR EXISTS (
        SELECT
        FROM security_roles r
        JOIN pg_catalog.pg_roles g ON g.rolname = r.role_name
        WHERE r.kind = 'tenant'
          AND pg_catalog.pg_has_role(session_user, g.oid, 'MEMBER')
    )
$fn$;

CREATE FUNCTION aegis_tenant_namespace()
RETURNS text
LANGUAGE sql STABLE AS $fn$
    SELECT t.namespace
    FROM security_tenants t
    WHERE t.role_name = session_user
$fn$;

CREATE FUNCTION aegis_tenant_customer()
RETURNS text
LANGUAGE sql STABLE AS $fn$
    SELECT t.customer_id
    FROM security_tenants t
    WHERE t.role_name = session_user
$fn$;
