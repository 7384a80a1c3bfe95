CREATE FUNCTION aegis_key_of_hashes(hashes text[]) RETURNS TABLE (key_id uuid)
LANGUAGE sql STABLE AS $fn$
    SELECT a.id
    FROM api_keys a
    WHERE a.key_hash = ANY (hashes)
    UNION ALL
    SELECT o.api_key_id
    FROM api_key_old_hashes o
    WHERE o.key_hash = ANY (hashes)
      AND o.valid_until > now()
    LIMIT 1
$fn$
