-- The clamp at both ends is what makes a clock that was set back harmless: what it takes back is
-- waited for again, and never more than a full bucket.
CREATE FUNCTION aegis_drained(
    backlog bigint, counted_at bigint, was_us bigint, now_us bigint,
    per_window bigint, window_us bigint
) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fn$
    SELECT least(
        greatest(
            CASE
                WHEN was_us = window_us THEN backlog
                ELSE ceil(backlog::numeric * window_us / was_us)::bigint
            END
            - least(greatest(now_us - counted_at, -window_us - 1), window_us + 1) * per_window,
            0
        ),
        per_window * window_us
    )
$fn$
