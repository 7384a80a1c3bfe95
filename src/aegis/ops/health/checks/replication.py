"""WAL: replicas, slots, the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.health.looking import check, rows, seconds, size, value
from aegis.ops.health.models import Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]

_GB = 1 << 30


@check(
    "replication-lag",
    "backup",
    "Replicas that are behind",
    means="What was committed meanwhile is lost if this server is; the specification's alarm is "
    "above one minute.",
    advice="Look at the replica and the network between.",
    limits=Limits(warning=5, critical=60),
    unit="s",
)
async def replication_lag(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how far replicas are behind; on a replica, how far it is itself."""
    del ask
    if await value(conn, "SELECT pg_is_in_recovery()"):
        age = await value(
            conn,
            """
            SELECT CASE
                -- All that came is replayed: nothing is missing, however long nothing came, as
                -- long as there is somebody for it to come from.
                WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
                    AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
                -- Since it was started it may have replayed nothing at all.
                ELSE extract(epoch FROM clock_timestamp() - coalesce(
                    pg_last_xact_replay_timestamp(), pg_postmaster_start_time()
                ))
            END::float8
            """,
        )
        return [] if age is None else [Seen(observed=f"{seconds(age)} behind", value=age)]
    found = await rows(
        conn,
        """
        SELECT
            coalesce(nullif(application_name, ''), client_addr::text, 'pid ' || pid),
            state,
            coalesce(extract(epoch FROM replay_lag), 0)::float8,
            coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint
        FROM pg_stat_replication
        WHERE state IN ('streaming', 'catchup')
        ORDER BY 3 DESC
        """,
    )
    return [
        Seen(object=name, observed=f"{seconds(age)}, {size(lag)} behind ({state})", value=age)
        for name, state, age, lag in found
    ]


@check(
    "slots-inactive",
    "backup",
    "Replication slots that nobody reads",
    means="The server keeps all WAL since for them, until the disk is full.",
    advice="Bring its reader back, or drop the slot.",
)
async def slots_inactive(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List slots without a reader; those that lost WAL or hold gigabytes are critical."""
    del ask
    found = await rows(
        conn,
        """
        SELECT
            slot_name,
            wal_status,
            CASE WHEN pg_is_in_recovery() THEN 0
                 ELSE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)
            END::bigint,
            format('SELECT pg_drop_replication_slot(%L);', slot_name)
        FROM pg_replication_slots
        WHERE NOT active
          AND NOT temporary
        ORDER BY 3 DESC
        """,
    )
    return [
        Seen(
            object=name,
            observed=f"inactive, keeps {size(kept)} (WAL {status or 'not reserved'})",
            state="critical" if status in ("lost", "unreserved") or kept >= 5 * _GB else None,
            fix=fix,
        )
        for name, status, kept, fix in found
    ]


@check(
    "slot-wal",
    "backup",
    "WAL that slots hold back",
    means="pg_wal grows until the disk is full.",
    advice="Find out why the reader is slow; set max_slot_wal_keep_size.",
    limits=Limits(warning=1, critical=20),
    unit="GB",
)
async def slot_wal(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say how much WAL each slot keeps."""
    del ask
    if await value(conn, "SELECT pg_is_in_recovery()"):
        return []
    found = await rows(
        conn,
        """
        SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint
        FROM pg_replication_slots
        WHERE restart_lsn IS NOT NULL
        ORDER BY 2 DESC
        """,
    )
    return [Seen(object=n, observed=f"keeps {size(k)}", value=k / _GB) for n, k in found]


@check(
    "slot-limit",
    "backup",
    "Slots without a limit",
    means="A reader that stays away fills the disk, and the server stops.",
    advice="Set max_slot_wal_keep_size to what the disk can spare, a third at most.",
    fine="none needed",
)
async def slot_limit(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Look at max_slot_wal_keep_size where there are slots."""
    del ask
    ((slots, limit),) = await rows(
        conn,
        """
        SELECT (SELECT count(*) FROM pg_replication_slots WHERE NOT temporary),
               current_setting('max_slot_wal_keep_size')
        """,
    )
    if not slots or limit != "-1":
        return []
    return [
        Seen(
            observed=f"{slots} slot(s), and max_slot_wal_keep_size is unlimited",
            fix="ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf();",
        )
    ]


@check(
    "archiving",
    "backup",
    "WAL that is not archived",
    means="A recovery cannot go past the first segment that is missing, and pg_wal grows.",
    advice="Look at the server's log for what archive_command says.",
    fine="off",
)
async def archiving(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say whether the last attempt to archive failed."""
    del ask
    mode = await value(conn, "SELECT current_setting('archive_mode')")
    if mode == "off":
        return []
    ((last, failed, segment, count, age),) = await rows(
        conn,
        """
        SELECT last_archived_time, last_failed_time, last_failed_wal, failed_count,
               extract(epoch FROM clock_timestamp() - last_failed_time)::float8
        FROM pg_stat_archiver
        """,
    )
    if failed is not None and (last is None or failed > last):
        return [
            Seen(
                observed=f"{segment} failed {seconds(age)} ago ({count} failures)", state="critical"
            )
        ]
    if failed is not None and age < 86_400:
        return [Seen(observed=f"works again; failed {seconds(age)} ago", state="warning")]
    return [Seen(observed="works" if last else "nothing to archive yet", state="ok")]


@check(
    "archive-backlog",
    "backup",
    "WAL that waits for the archive",
    means="So much is lost if the disk is.",
    advice="Make the archive faster, or find out why it stands still.",
    limits=Limits(warning=100, critical=500),
    unit="segments",
    fine="off",
)
async def archive_backlog(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Count segments that are ready to be archived."""
    del ask
    if await value(conn, "SELECT current_setting('archive_mode')") == "off":
        return []
    count = await value(
        conn, "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
    )
    return [Seen(observed=f"{count} segment(s)", value=count)]


CHECKS = (
    replication_lag,
    slots_inactive,
    slot_wal,
    slot_limit,
    archiving,
    archive_backlog,
)
