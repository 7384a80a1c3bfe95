-- HMAC-SHA-256 (RFC 2104) of what is equal about a text, in hexadecimal: what Aegis keeps beside an
-- encrypted value, without the id of the key. PostgreSQL's own sha256() is all that it needs; where
-- pgcrypto is installed, hmac() comes to the same. The key is given, and nowhere kept.
CREATE FUNCTION aegis_column_hash(value TEXT, key BYTEA) RETURNS TEXT
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    WITH padded AS (
        SELECT key || decode(repeat('00', 64 - length(key)), 'hex') AS bytes
    ),
    pads AS (
        SELECT
            string_agg(
                set_byte('\x00'::bytea, 0, get_byte(p.bytes, n) # 54), ''::bytea ORDER BY n
            ) AS inner_pad,
            string_agg(
                set_byte('\x00'::bytea, 0, get_byte(p.bytes, n) # 92), ''::bytea ORDER BY n
            ) AS outer_pad
        FROM padded p
        CROSS JOIN generate_series(0, 63) AS n
    )
    SELECT encode(
        sha256(
            p.outer_pad
            || sha256(
                p.inner_pad
                || convert_to(
                    normalize(
                        lower(normalize(btrim(value, E' \t\r\n'), NFC) COLLATE "C"), NFC
                    ),
                    'UTF8'
                )
            )
        ),
        'hex'
    )
    FROM pads p
$$
