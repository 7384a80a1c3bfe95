"""The configuration of the embedded server: `aegis.conf` in its data folder, written by us.

Order of precedence, weakest first: PostgreSQL's defaults, `aegis.conf` (rewritten at every start),
`local.conf` beside it (the operator's, never touched), `ALTER SYSTEM`.
Every parameter: https://www.postgresql.org/docs/current/runtime-config.html
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["INCLUDES", "memory_bytes", "render", "server_settings"]

#: Appended once to the `postgresql.conf` that initdb makes.
INCLUDES = "\n# Aegis: the first is rewritten at every start, the second is yours.\n" + (
    "include_if_exists = 'aegis.conf'\ninclude_if_exists = 'local.conf'\n"
)

_MB = 1 << 20
_HEADER = "# Written by Aegis at every start. Put your own settings into local.conf.\n"


def server_settings(
    *,
    port: int,
    socket_dir: Path,
    log_dir: Path,
    total_memory_bytes: int,
    preload: tuple[str, ...],
) -> dict[str, str]:
    """Return what the server is started with, name to value.

    Sized for one box that does other work too: memory that is reserved is touched only when used,
    and `shared_buffers` stays small because the system's own cache serves one box as well.
    """
    eighth = total_memory_bytes // 8
    return {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        # A list: quoted, since the folder's name may hold a comma.
        "unix_socket_directories": '"' + str(socket_dir).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
        "password_encryption": "scram-sha-256",
        "max_connections": "100",
        "shared_buffers": _mb(eighth, least=64, most=256),
        "effective_cache_size": _mb(total_memory_bytes // 2, least=256, most=65_536),
        "work_mem": "16MB",
        # What an HNSW build needs to stay in memory; taken only while it runs.
        "maintenance_work_mem": _mb(eighth, least=64, most=512),
        # Solid-state disks: a random page costs hardly more than the next one.
        "random_page_cost": "1.1",
        # Compiling pays for minutes, not for the milliseconds of a recall.
        "jit": "off",
        # Durability is the point of a memory.
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        # After a crash: one call for the whole file system instead of one for every file.
        "recovery_init_sync_method": "syncfs" if sys.platform == "linux" else "fsync",
        "wal_level": "replica",
        "min_wal_size": "80MB",
        "max_wal_size": "1GB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "shared_preload_libraries": ", ".join(preload),
        "pg_stat_statements.max": "5000",
        "track_io_timing": "on",
        "logging_collector": "on",
        "log_destination": "stderr",
        "log_directory": str(log_dir),
        # One file a weekday, overwritten a week later.
        "log_filename": "postgresql-%a.log",
        "log_file_mode": "0600",
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
        "log_line_prefix": "%m [%p] %q%u@%d %a ",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "log_min_duration_statement": "1000",
        "log_lock_waits": "on",
        "log_autovacuum_min_duration": "10s",
        "log_temp_files": "64MB",
        # Values in logs may be secrets or other people's text: the statement is enough.
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
    }


def render(settings: dict[str, str]) -> str:
    """Return the text of `aegis.conf`."""
    lines = (f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())
    return _HEADER + "".join(lines)


def memory_bytes() -> int:
    """Return the machine's memory, or what the control group leaves of it; 1 GiB if unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 1024 * _MB
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(limit, encoding="ascii") as file:  # noqa: PTH123  no Path at run time here
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def _mb(value_bytes: int, *, least: int, most: int) -> str:
    return f"{min(max(value_bytes // _MB, least), most)}MB"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
