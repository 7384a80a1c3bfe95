-- What is counted of a key is read and locked by one query and written back by one statement at the
-- end, whatever the number of keys: statements are what a verification costs.
CREATE FUNCTION aegis_verify_calls(requests jsonb, lazily boolean)
RETURNS TABLE (
    number integer, codes text[], hash text, key_id uuid, customer_id text, key_prefix text,
    name text, tier text, scopes text[], namespaces jsonb, expires_at timestamptz, unwritten boolean,
    at_us bigint, names text[], limits bigint[], windows bigint[], weights bigint[],
    shared boolean[], levels bigint[],
    period date, granted bigint, overage bigint, rooms bigint[],
    customer_period date, customer_granted bigint, customer_rooms bigint[]
)
LANGUAGE plpgsql
-- A plan for these very calls is never worth the time it takes to make it.
SET plan_cache_mode = force_generic_plan
AS $fn$
#variable_conflict use_column
DECLARE
    one record;
    extra record;
    ours api_customers%ROWTYPE;
    -- Customers whose rows were locked: what others share is counted for these alone.
    locked text[] := '{}';
    moment timestamptz;
    now_us bigint;
    today date;
    month_ends timestamptz := '-infinity';
    last_id uuid;
    seen integer := 0;
    meter_period date;
    meter_granted bigint;
    meter_used bigint;
    meter_overage bigint;
    -- What the rate's backlog was when it was counted last.
    meter_at bigint;
    meter_backlog bigint;
    cost bigint;
    outcome text;
    backlog bigint[];
    over bigint;
    overrun bigint;
    spent bigint;
    admitted boolean;
    taken boolean;
    has_customer boolean;
    -- Places in the arrays of limits: 1 is the key's own rate, the next one its customer's.
    places integer;
    durable boolean := false;
    -- One element a key whose meter is to be written.
    due_ids uuid[] := '{}';
    due_at bigint[] := '{}';
    due_backlog bigint[] := '{}';
    due_used bigint[] := '{}';
    due_overage bigint[] := '{}';
    due integer := 0;
BEGIN
    -- Everybody locks customers first, by name, and then keys, by id: no two wait for each other.
    IF requests @> '[{"shared": true}]' THEN
        INSERT INTO api_customers (customer_id)
        SELECT DISTINCT a.customer_id
        FROM jsonb_to_recordset(requests) AS r (hashes text[], shared boolean)
        CROSS JOIN LATERAL aegis_key_of_hashes(r.hashes) h
        JOIN api_keys a ON a.id = h.key_id
        WHERE r.shared
          AND NOT EXISTS (SELECT FROM api_customers c WHERE c.customer_id = a.customer_id)
        ORDER BY 1
        ON CONFLICT DO NOTHING;
    END IF;
    IF EXISTS (SELECT FROM api_customers) THEN
        SELECT coalesce(array_agg(l.customer_id), '{}')
        INTO locked
        FROM (
            SELECT c.customer_id
            FROM api_customers c
            WHERE c.customer_id IN (
                SELECT a.customer_id
                FROM jsonb_to_recordset(requests) AS r (hashes text[])
                CROSS JOIN LATERAL aegis_key_of_hashes(r.hashes) h
                JOIN api_keys a ON a.id = h.key_id
            )
            ORDER BY c.customer_id
            FOR UPDATE
        ) l;
    END IF;

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
            k.namespaces,
            k.limits,
            k.enabled IS TRUE AND k.revoked_at IS NULL AS enabled,
            k.expires_at,
            k.last_used_at,
            k.found_hash,
            k.is_old,
            coalesce(k.rate_limit, t.rate_limit)::bigint AS rate_limit,
            coalesce(k.monthly_quota, t.monthly_quota)::bigint AS quota,
            t.overage_allowed,
            m.rate_at,
            m.rate_backlog,
            m.period,
            m.granted,
            m.used,
            m.overage
        FROM jsonb_to_recordset(requests) AS r (
            number integer, hashes text[], accepts text[], costs bigint[], limits jsonb
        )
        JOIN LATERAL (
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
        JOIN api_key_meters m ON m.api_key_id = k.id
        LEFT JOIN api_tiers t
            ON t.name = CASE
                WHEN k.tier IN ('free', 'developer', 'pro', 'enterprise') THEN k.tier
                ELSE 'free'
            END
        ORDER BY k.id, r.number
        FOR UPDATE OF m
    LOOP
        seen := seen + 1;
        number := one.number;
        hash := one.found_hash;
        key_id := one.id;
        customer_id := one.customer_id;
        key_prefix := one.key_prefix;
        name := one.name;
        tier := one.tier;
        scopes := one.scopes;
        namespaces := one.namespaces;
        expires_at := one.expires_at;
        -- Read under the lock: times of one key only ever follow each other.
        moment := clock_timestamp();
        outcome := CASE
            WHEN NOT one.enabled THEN 'DISABLED'
            WHEN one.expires_at <= moment THEN 'EXPIRED'
            WHEN one.accepts IS NOT NULL AND NOT one.scopes && one.accepts THEN 'FORBIDDEN'
        END;
        IF outcome IS NOT NULL THEN
            codes := array_fill(outcome, ARRAY[cardinality(one.costs)]);
            levels := NULL;
            RETURN NEXT;
            CONTINUE;
        END IF;

        now_us := (extract(epoch FROM moment) * 1000000)::bigint;
        -- Two questions about one key: what the first one took is not in its row yet.
        IF last_id IS DISTINCT FROM one.id THEN
            last_id := one.id;
            taken := false;
            meter_period := one.period;
            meter_granted := one.granted;
            meter_used := one.used;
            meter_overage := one.overage;
            meter_at := one.rate_at;
            meter_backlog := one.rate_backlog;
        END IF;
        IF one.quota IS NOT NULL THEN
            IF moment >= month_ends THEN
                today := date_trunc('month', moment AT TIME ZONE 'UTC')::date;
                month_ends := (today + interval '1 month') AT TIME ZONE 'UTC';
            END IF;
            IF meter_period IS NULL OR meter_period < today THEN
                PERFORM aegis_open_period(one.id, today);
                SELECT m.period, m.granted, m.used, m.overage
                INTO meter_period, meter_granted, meter_used, meter_overage
                FROM api_key_meters m
                WHERE m.api_key_id = one.id;
                durable := true;
            END IF;
        END IF;

        -- The key's own rate is what `limits[1]` says; others are named.
        limits := ARRAY[greatest(one.rate_limit, 0)];
        backlog := ARRAY[aegis_drained(
            meter_backlog, meter_at, 60000000, now_us, limits[1], 60000000
        )];
        places := 1;
        names := NULL;
        has_customer := one.customer_id = ANY (locked);
        IF has_customer OR one.asked IS NOT NULL THEN
            names := ARRAY['requests'];
            windows := ARRAY[60000000::bigint];
            weights := ARRAY[NULL::bigint];
            shared := ARRAY[false];
            IF has_customer THEN
                SELECT c.* INTO ours FROM api_customers c WHERE c.customer_id = one.customer_id;
                IF ours.monthly_quota IS NOT NULL THEN
                    today := date_trunc('month', moment AT TIME ZONE 'UTC')::date;
                    IF ours.period IS NULL OR ours.period < today THEN
                        PERFORM aegis_open_customer_period(one.customer_id, today);
                        SELECT c.*
                        INTO ours
                        FROM api_customers c
                        WHERE c.customer_id = one.customer_id;
                        durable := true;
                    END IF;
                END IF;
                IF ours.rate_limit IS NOT NULL THEN
                    names := names || 'customer'::text;
                    limits := limits || ours.rate_limit::bigint;
                    windows := windows || 60000000::bigint;
                    weights := weights || NULL::bigint;
                    shared := shared || true;
                    backlog := backlog || aegis_drained(
                        ours.rate_backlog, ours.rate_at, 60000000, now_us,
                        ours.rate_limit::bigint, 60000000
                    );
                END IF;
                places := cardinality(names);
            END IF;
            IF one.asked IS NOT NULL THEN
                FOR extra IN
                    SELECT
                        l.name,
                        l.cost,
                        coalesce(l.shared, FALSE) AS shared,
                        coalesce(o.own ->> 'limit', l."limit"::text)::bigint AS most,
                        coalesce(o.own ->> 'window_s', l.window_s::text)::bigint * 1000000 AS span,
                        coalesce(s.backlog, c.backlog) AS backlog,
                        coalesce(s.counted_at, c.counted_at) AS counted_at,
                        coalesce(s.window_us, c.window_us) AS was_us
                    FROM ROWS FROM (
                        jsonb_to_recordset(one.asked) AS (
                            name text, "limit" bigint, window_s bigint, cost bigint, shared boolean
                        )
                    ) WITH ORDINALITY AS l (name, "limit", window_s, cost, shared, place)
                    CROSS JOIN LATERAL (
                        SELECT CASE
                            WHEN NOT coalesce(l.shared, FALSE) THEN one.limits -> l.name
                            WHEN has_customer THEN ours.limits -> l.name
                        END AS own
                    ) o
                    LEFT JOIN api_key_limits s
                        ON NOT coalesce(l.shared, FALSE)
                        AND s.api_key_id = one.id
                        AND s.name = l.name
                    LEFT JOIN api_customer_limits c
                        ON l.shared
                        AND c.customer_id = one.customer_id
                        AND c.name = l.name
                    ORDER BY l.place
                LOOP
                    names := names || extra.name;
                    limits := limits || extra.most;
                    windows := windows || extra.span;
                    weights := weights || extra.cost;
                    shared := shared || extra.shared;
                    backlog := backlog || CASE
                        WHEN extra.backlog IS NULL THEN 0
                        ELSE aegis_drained(
                            extra.backlog, extra.counted_at, extra.was_us, now_us,
                            extra.most, extra.span
                        )
                    END;
                END LOOP;
            END IF;
        ELSE
            windows := NULL;
            weights := NULL;
            shared := NULL;
        END IF;

        codes := '{}';
        rooms := '{}';
        levels := '{}';
        customer_rooms := NULL;
        overrun := 0;
        spent := 0;
        admitted := false;
        FOREACH cost IN ARRAY one.costs LOOP
            outcome := 'VALID';
            over := 0;
            IF one.quota IS NOT NULL THEN
                over := greatest(meter_used + cost - meter_granted - meter_overage, 0);
            END IF;
            IF over > 0 AND one.overage_allowed IS NOT TRUE THEN
                outcome := 'QUOTA_EXCEEDED';
            ELSIF has_customer AND ours.monthly_quota IS NOT NULL
                AND ours.used + spent + cost > ours.granted AND cost > 0
            THEN
                outcome := 'QUOTA_EXCEEDED';
            ELSIF names IS NULL THEN
                IF backlog[1] + cost * 60000000 > limits[1] * 60000000 AND cost > 0 THEN
                    outcome := 'RATE_LIMITED';
                END IF;
            ELSE
                FOR i IN 1 .. cardinality(names) LOOP
                    IF backlog[i] + coalesce(weights[i], cost) * windows[i] > limits[i] * windows[i]
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
                IF names IS NULL THEN
                    backlog[1] := backlog[1] + cost * 60000000;
                ELSE
                    FOR i IN 1 .. cardinality(names) LOOP
                        backlog[i] := backlog[i] + coalesce(weights[i], cost) * windows[i];
                    END LOOP;
                END IF;
                IF cost > 0 THEN
                    taken := true;
                    spent := spent + cost;
                    IF one.quota IS NOT NULL THEN
                        meter_used := meter_used + cost;
                        meter_overage := meter_overage + over;
                        overrun := overrun + over;
                        durable := true;
                    END IF;
                END IF;
            END IF;
            codes := codes || outcome;
            rooms := rooms || (meter_granted + meter_overage - meter_used);
            levels := levels || backlog;
            IF has_customer AND ours.monthly_quota IS NOT NULL THEN
                customer_rooms := customer_rooms || (ours.granted - ours.used - spent);
            END IF;
        END LOOP;

        unwritten := false;
        IF admitted THEN
            -- A call that takes nothing is a use all the same, once a minute.
            IF taken OR meter_at < now_us - 60000000 THEN
                meter_at := now_us;
                meter_backlog := backlog[1];
                IF due = 0 OR due_ids[due] <> one.id THEN
                    due := due + 1;
                END IF;
                due_ids[due] := one.id;
                due_at[due] := now_us;
                due_backlog[due] := meter_backlog;
                due_used[due] := meter_used;
                due_overage[due] := meter_overage;
            END IF;
            unwritten := one.last_used_at IS NULL
                OR one.last_used_at < moment - interval '1 minute';
            IF has_customer AND spent > 0
                AND (ours.rate_limit IS NOT NULL OR ours.monthly_quota IS NOT NULL)
            THEN
                UPDATE api_customers c
                SET rate_at = now_us,
                    rate_backlog = CASE
                        WHEN ours.rate_limit IS NOT NULL THEN backlog[2]
                        ELSE c.rate_backlog
                    END,
                    used = CASE
                        WHEN ours.monthly_quota IS NOT NULL THEN c.used + spent
                        ELSE c.used
                    END
                WHERE c.customer_id = one.customer_id;
                durable := durable OR ours.monthly_quota IS NOT NULL;
            END IF;
            IF one.asked IS NOT NULL THEN
                INSERT INTO api_key_limits AS s (api_key_id, name, counted_at, backlog, window_us)
                SELECT one.id, u.name, now_us, u.backlog, u.window_us
                FROM unnest(names, backlog, windows, shared)
                    WITH ORDINALITY AS u (name, backlog, window_us, shared, place)
                WHERE u.place > places
                  AND NOT u.shared
                ON CONFLICT (api_key_id, name) DO UPDATE
                SET counted_at = excluded.counted_at,
                    backlog = excluded.backlog,
                    window_us = excluded.window_us;
                INSERT INTO api_customer_limits AS s (
                    customer_id, name, counted_at, backlog, window_us
                )
                SELECT one.customer_id, u.name, now_us, u.backlog, u.window_us
                FROM unnest(names, backlog, windows, shared)
                    WITH ORDINALITY AS u (name, backlog, window_us, shared, place)
                WHERE u.place > places
                  AND u.shared
                ON CONFLICT (customer_id, name) DO UPDATE
                SET counted_at = excluded.counted_at,
                    backlog = excluded.backlog,
                    window_us = excluded.window_us;
            END IF;
            IF overrun > 0 THEN
                INSERT INTO api_quota_ledger AS l (api_key_id, period, kind, amount)
                VALUES (one.id, meter_period, 'overage', overrun)
                ON CONFLICT (api_key_id, period, kind)
                    WHERE kind IN ('grant', 'rollover', 'overage', 'usage', 'reset')
                    DO UPDATE SET amount = l.amount + excluded.amount;
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

        at_us := now_us;
        period := CASE WHEN one.quota IS NOT NULL THEN meter_period END;
        granted := meter_granted;
        overage := meter_overage;
        customer_period := NULL;
        customer_granted := NULL;
        IF customer_rooms IS NOT NULL THEN
            customer_period := ours.period;
            customer_granted := ours.granted;
        END IF;
        RETURN NEXT;
    END LOOP;
    IF due > 0 THEN
        UPDATE api_key_meters m
        SET rate_at = u.rate_at,
            rate_backlog = u.rate_backlog,
            used = u.used,
            overage = u.overage
        FROM unnest(due_ids, due_at, due_backlog, due_used, due_overage)
            AS u (id, rate_at, rate_backlog, used, overage)
        WHERE m.api_key_id = u.id;
    END IF;

    -- Not known, or of a table that another program filled: its caller makes the meter and asks
    -- again, since a lock that is taken here comes out of turn.
    IF seen < jsonb_array_length(requests) THEN
        levels := NULL;
        FOR one IN
            SELECT r.number, r.costs, h.key_id AS id
            FROM jsonb_to_recordset(requests) AS r (
                number integer, hashes text[], costs bigint[]
            )
            LEFT JOIN LATERAL aegis_key_of_hashes(r.hashes) h ON TRUE
            WHERE NOT EXISTS (SELECT FROM api_key_meters m WHERE m.api_key_id = h.key_id)
        LOOP
            number := one.number;
            key_id := one.id;
            codes := CASE
                WHEN one.id IS NULL THEN array_fill('NOT_FOUND'::text, ARRAY[cardinality(one.costs)])
            END;
            RETURN NEXT;
        END LOOP;
    END IF;
    -- What quota was spent is billed, and waits for the disk; a rate that is lost in a crash is not.
    IF lazily AND NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
END
$fn$
