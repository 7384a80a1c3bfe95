-- Times for events that have none a partition could be found for.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM api_usage_events_before
        WHERE created_at IS NULL
           OR created_at NOT BETWEEN '0001-01-02 00:00:00+00' AND '9999-11-30 00:00:00+00'
    ) THEN
        CREATE TABLE aegis_kept_0015_times AS
        SELECT b.id, b.created_at
        FROM api_usage_events_before b
        WHERE b.created_at IS NULL
           OR b.created_at NOT BETWEEN '0001-01-02 00:00:00+00' AND '9999-11-30 00:00:00+00';
        UPDATE api_usage_events_before b
        SET created_at = coalesce(
            (
                SELECT l.created_at FROM api_usage_events_before l
                WHERE l.id < b.id AND NOT EXISTS (
                    SELECT FROM aegis_kept_0015_times t WHERE t.id = l.id
                )
                ORDER BY l.id DESC LIMIT 1
            ),
            (
                SELECT h.created_at FROM api_usage_events_before h
                WHERE h.id > b.id AND NOT EXISTS (
                    SELECT FROM aegis_kept_0015_times t WHERE t.id = h.id
                )
                ORDER BY h.id LIMIT 1
            ),
            now()
        )
        FROM aegis_kept_0015_times t
        WHERE t.id = b.id;
    END IF;
END
$$
