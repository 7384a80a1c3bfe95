-- What the owner added and goes along: definitions to run on the new table.
CREATE TEMP TABLE aegis_usage_extras ON COMMIT DROP AS
SELECT pg_get_indexdef(x.indexrelid) AS statement
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = 'api_usage_events'::regclass
  AND NOT x.indisunique
UNION ALL
SELECT format(
    'ALTER TABLE api_usage_events ADD CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)
)
FROM pg_constraint k
WHERE k.conrelid = 'api_usage_events'::regclass
  AND k.contype = 'f'
UNION ALL
SELECT format(
    'GRANT %s ON api_usage_events TO %s%s',
    a.privilege_type,
    CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
)
FROM pg_class c
CROSS JOIN LATERAL aclexplode(c.relacl) a
WHERE c.oid = 'api_usage_events'::regclass
  AND a.grantee <> c.relowner
UNION ALL
SELECT format('ALTER TABLE api_usage_events OWNER TO %I', pg_get_userbyid(c.relowner))
FROM pg_class c
WHERE c.oid = 'api_usage_events'::regclass
  AND pg_get_userbyid(c.relowner) <> current_user
