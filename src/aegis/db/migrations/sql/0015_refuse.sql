-- What hangs on the table and cannot be moved to one of partitions.
DO $$
DECLARE
    found text;
BEGIN
    LOCK TABLE api_usage_events IN ACCESS EXCLUSIVE MODE;
    SELECT w.what INTO found
    FROM (
        SELECT DISTINCT 'view ' || v.relname AS what
        FROM pg_depend d
        JOIN pg_rewrite r ON r.oid = d.objid
        JOIN pg_class v ON v.oid = r.ev_class
        WHERE d.classid = 'pg_rewrite'::regclass
          AND d.refobjid = 'api_usage_events'::regclass
          AND v.oid <> d.refobjid
        UNION ALL
        SELECT 'rule ' || r.rulename
        FROM pg_rewrite r
        WHERE r.ev_class = 'api_usage_events'::regclass
        UNION ALL
        SELECT 'trigger ' || t.tgname
        FROM pg_trigger t
        WHERE t.tgrelid = 'api_usage_events'::regclass
          AND NOT t.tgisinternal
        UNION ALL
        SELECT 'foreign key ' || k.conname || ' of ' || k.conrelid::regclass
        FROM pg_constraint k
        WHERE k.confrelid = 'api_usage_events'::regclass
          AND k.conparentid = 0
        UNION ALL
        SELECT 'policy ' || p.polname
        FROM pg_policy p
        WHERE p.polrelid = 'api_usage_events'::regclass
        UNION ALL
        SELECT 'unique index ' || i.relname
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        WHERE x.indrelid = 'api_usage_events'::regclass
          AND x.indisunique
          AND i.relname NOT IN ('api_usage_events_pkey', 'uq_api_usage_events_id')
        UNION ALL
        SELECT 'table ' || c.inhrelid::regclass
        FROM pg_inherits c
        JOIN pg_class p ON p.oid = c.inhparent AND p.relkind = 'r'
        WHERE c.inhparent = 'api_usage_events'::regclass
    ) w
    ORDER BY 1
    LIMIT 1;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION '% hangs on api_usage_events, which this revision replaces; '
            'drop it, upgrade, and create it again', found;
    END IF;
END
$$
