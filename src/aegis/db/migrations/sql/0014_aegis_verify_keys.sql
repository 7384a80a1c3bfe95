CREATE FUNCTION aegis_verify_keys(requests jsonb, lazily boolean)
RETURNS TABLE (number integer, answer text)
LANGUAGE plpgsql AS $fn$
#variable_conflict use_column
DECLARE
    one record;
    meter api_key_meters%ROWTYPE;
    extra record;
    moment timestamptz;
    now_us bigint;
    today date;
    cost bigint;
    outcome text;
    outcomes text[];
    rooms bigint[];
    levels bigint[];
    -- One element a limit, the key's own rate first.
    names text[];
    per_window bigint[];
    window_us bigint[];
    weights bigint[];
    backlog bigint[];
    over bigint;
    overrun bigint;
    admitted boolean;
    durable boolean := false;
BEGIN
    FOR one IN
        SELECT
            r.number,
            r.hashes,
            r.accepts,
            r.costs,
            r.limits AS asked,
            k.id,
            k.customer_id,
            k.key_prefix,
            k.name,
            k.tier,
            k.scopes,
            k.limits,
            k.enabled IS TRUE AND k.revoked_at IS NULL AS enabled,
            k.expires_at,
            k.last_used_at,
            k.found_hash,
            k.is_old,
            coalesce(k.rate_limit, t.rate_limit)::bigint AS rate_limit,
            coalesce(k.monthly_quota, t.monthly_quota)::bigint AS quota,
            t.overage_allowed
        FROM jsonb_to_recordset(requests) AS r (
            number integer, hashes text[], accepts text[], costs bigint[], limits jsonb
        )
        LEFT JOIN LATERAL (
            SELECT a.*, a.key_hash AS found_hash, FALSE AS is_old
            FROM api_keys a
            WHERE a.key_hash = ANY (r.hashes)
            UNION ALL
            SELECT a.*, o.key_hash, TRUE
            FROM api_key_old_hashes o
            JOIN api_keys a ON a.id = o.api_key_id
            WHERE o.key_hash = ANY (r.hashes)
              AND o.valid_until > clock_timestamp()
            LIMIT 1
        ) k ON TRUE
        LEFT JOIN api_tiers t
            ON t.name = CASE
                WHEN k.tier IN ('free', 'developer', 'pro', 'enterprise') THEN k.tier
                ELSE 'free'
            END
        -- Everybody locks in this order, so that no two wait for each other.
        ORDER BY k.id NULLS FIRST, r.number
    LOOP
        outcome := CASE
            WHEN one.id IS NULL THEN 'NOT_FOUND'
            WHEN NOT one.enabled THEN 'DISABLED'
            WHEN one.expires_at <= clock_timestamp() THEN 'EXPIRED'
            WHEN one.accepts IS NOT NULL AND NOT one.scopes && one.accepts THEN 'FORBIDDEN'
        END;
        IF outcome IS NULL THEN
            SELECT m.* INTO meter FROM api_key_meters m WHERE m.api_key_id = one.id FOR UPDATE;
            IF NOT FOUND THEN
                INSERT INTO api_key_meters (api_key_id)
                SELECT a.id FROM api_keys a WHERE a.id = one.id FOR KEY SHARE
                ON CONFLICT DO NOTHING;
                SELECT m.* INTO meter FROM api_key_meters m WHERE m.api_key_id = one.id FOR UPDATE;
                IF NOT FOUND THEN
                    -- Deleted since it was read.
                    outcome := 'NOT_FOUND';
                END IF;
            END IF;
        END IF;
        number := one.number;
        IF outcome IS NOT NULL THEN
            answer := json_build_object(
                'codes', array_fill(outcome, ARRAY[cardinality(one.costs)]),
                'hash', one.found_hash,
                'id', CASE WHEN outcome <> 'NOT_FOUND' THEN one.id END,
                'customer_id', one.customer_id,
                'prefix', one.key_prefix,
                'name', one.name,
                'tier', one.tier,
                'scopes', one.scopes,
                'expires_at', one.expires_at
            );
            RETURN NEXT;
            CONTINUE;
        END IF;

        -- Read under the lock: times of one key only ever follow each other.
        moment := clock_timestamp();
        now_us := (extract(epoch FROM moment) * 1000000)::bigint;
        IF one.quota IS NOT NULL THEN
            today := date_trunc('month', moment AT TIME ZONE 'UTC')::date;
            IF meter.period IS NULL OR meter.period < today THEN
                PERFORM aegis_open_period(one.id, today);
                SELECT m.* INTO meter FROM api_key_meters m WHERE m.api_key_id = one.id;
                durable := true;
            END IF;
        END IF;

        names := ARRAY['requests'];
        per_window := ARRAY[greatest(one.rate_limit, 0)];
        window_us := ARRAY[60000000::bigint];
        weights := ARRAY[NULL::bigint];
        backlog := ARRAY[aegis_drained(
            meter.rate_backlog, meter.rate_at, window_us[1], now_us, per_window[1], window_us[1]
        )];
        IF one.asked IS NOT NULL THEN
            FOR extra IN
                SELECT
                    l.name,
                    l.cost,
                    coalesce((one.limits #>> ARRAY[l.name, 'limit'])::bigint, l."limit") AS most,
                    coalesce(
                        (one.limits #>> ARRAY[l.name, 'window_s'])::bigint, l.window_s
                    ) * 1000000 AS span,
                    s.backlog,
                    s.counted_at,
                    s.window_us AS was_us
                FROM ROWS FROM (
                    jsonb_to_recordset(one.asked) AS (
                        name text, "limit" bigint, window_s bigint, cost bigint
                    )
                ) WITH ORDINALITY AS l (name, "limit", window_s, cost, place)
                LEFT JOIN api_key_limits s ON s.api_key_id = one.id AND s.name = l.name
                ORDER BY l.place
            LOOP
                names := names || extra.name;
                per_window := per_window || extra.most;
                window_us := window_us || extra.span;
                weights := weights || extra.cost;
                backlog := backlog || CASE
                    WHEN extra.backlog IS NULL THEN 0
                    ELSE aegis_drained(
                        extra.backlog, extra.counted_at, extra.was_us, now_us,
                        extra.most, extra.span
                    )
                END;
            END LOOP;
        END IF;

        outcomes := '{}';
        rooms := '{}';
        levels := '{}';
        overrun := 0;
        admitted := false;
        FOREACH cost IN ARRAY one.costs LOOP
            outcome := 'VALID';
            over := 0;
            IF one.quota IS NOT NULL THEN
                over := greatest(meter.used + cost - meter.granted - meter.overage, 0);
            END IF;
            IF over > 0 AND NOT one.overage_allowed THEN
                outcome := 'QUOTA_EXCEEDED';
            ELSE
                FOR i IN 1 .. cardinality(names) LOOP
                    IF backlog[i] + coalesce(weights[i], cost) * window_us[i]
                        > per_window[i] * window_us[i]
                        AND coalesce(weights[i], cost) > 0
                    THEN
                        outcome := 'RATE_LIMITED';
                        EXIT;
                    END IF;
                END LOOP;
            END IF;
            IF outcome = 'VALID' THEN
                -- All or nothing: not before every limit has room.
                admitted := true;
                FOR i IN 1 .. cardinality(names) LOOP
                    backlog[i] := backlog[i] + coalesce(weights[i], cost) * window_us[i];
                END LOOP;
                IF one.quota IS NOT NULL THEN
                    meter.used := meter.used + cost;
                    meter.overage := meter.overage + over;
                    overrun := overrun + over;
                    durable := durable OR cost > 0;
                END IF;
            END IF;
            outcomes := outcomes || outcome;
            rooms := rooms || (meter.granted + meter.overage - meter.used);
            levels := levels || backlog;
        END LOOP;

        IF admitted THEN
            UPDATE api_key_meters
            SET rate_at = now_us,
                rate_backlog = backlog[1],
                used = meter.used,
                overage = meter.overage
            WHERE api_key_id = one.id;
            IF one.asked IS NOT NULL THEN
                INSERT INTO api_key_limits AS s (api_key_id, name, counted_at, backlog, window_us)
                SELECT one.id, u.name, now_us, u.backlog, u.window_us
                FROM unnest(names[2:], backlog[2:], window_us[2:]) AS u (name, backlog, window_us)
                ON CONFLICT (api_key_id, name) DO UPDATE
                SET counted_at = excluded.counted_at,
                    backlog = excluded.backlog,
                    window_us = excluded.window_us;
            END IF;
            IF overrun > 0 THEN
                INSERT INTO api_quota_ledger AS l (api_key_id, period, kind, amount)
                VALUES (one.id, meter.period, 'overage', overrun)
                ON CONFLICT (api_key_id, period, kind)
                    WHERE kind IN ('grant', 'rollover', 'overage', 'usage', 'reset')
                    DO UPDATE SET amount = l.amount + excluded.amount;
            END IF;
            -- Once a minute, and only forwards.
            IF one.last_used_at IS NULL OR one.last_used_at < moment - interval '1 minute' THEN
                UPDATE api_keys
                SET last_used_at = moment
                WHERE id = one.id
                  AND (last_used_at IS NULL OR last_used_at < moment - interval '1 minute');
            END IF;
            -- The first is the hash of today's secret; the others are to be left behind.
            IF one.found_hash <> one.hashes[1] AND one.hashes[1] LIKE 'hmac-sha256%' THEN
                IF one.is_old THEN
                    UPDATE api_key_old_hashes
                    SET key_hash = one.hashes[1]
                    WHERE key_hash = one.found_hash;
                ELSE
                    UPDATE api_keys
                    SET key_hash = one.hashes[1]
                    WHERE id = one.id
                      AND key_hash = one.found_hash;
                END IF;
            END IF;
        END IF;

        answer := json_build_object(
            'codes', outcomes,
            'hash', one.found_hash,
            'id', one.id,
            'customer_id', one.customer_id,
            'prefix', one.key_prefix,
            'name', one.name,
            'tier', one.tier,
            'scopes', one.scopes,
            'expires_at', one.expires_at,
            'at_us', now_us,
            'names', names,
            'limits', per_window,
            'windows', window_us,
            'weights', weights,
            'levels', levels,
            'period', CASE WHEN one.quota IS NOT NULL THEN meter.period END,
            'granted', meter.granted,
            'overage', meter.overage,
            'rooms', rooms
        );
        RETURN NEXT;
    END LOOP;
    -- What quota was spent is billed, and waits for the disk; a rate that is lost in a crash is not.
    IF lazily AND NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
END
$fn$
