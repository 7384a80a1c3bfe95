"""Settings of checking, measuring, maintaining and alerting; `Settings` takes them in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aegis.config_fields import setting
from aegis.config_work import WorkSettings

__all__ = ["CollectFrom", "OpsSettings", "PrometheusAccess"]

PrometheusAccess = Literal["token", "loopback"]
CollectFrom = Literal["off", "auto", "docker", "cgroup", "prometheus", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsSettings(WorkSettings):
    """How the database is looked after, and whom alerts are sent to."""

    direct_database_url: str | None = setting(
        "The database of `database_url` past a pooler (docs/howto/pgbouncer.md), for what needs a "
        "session: upgrades, backups, maintenance, notifications; `database_url` if left out.",
        secret=True,
        default=None,
    )
    owner_url: str | None = setting(
        "PostgreSQL as the owner of the tables, for what the application may not: upgrades, "
        "indexes, maintenance; `direct_database_url` or `database_url` if left out.",
        secret=True,
        default=None,
    )
    backup_url: str | None = setting(
        "PostgreSQL as the role that backups are made as; what `owner_url` is, if left out.",
        secret=True,
        default=None,
    )
    role_prefix: str = setting(
        "What names of roles begin with: `aegis` makes `aegis_owner`, `aegis_app` and so on.",
        default="aegis",
    )
    roles_dir: Path | None = setting(
        "Folder of the roles' passwords, one file each; `roles` in `data_dir` otherwise.",
        default=None,
    )
    health_thresholds: str | None = setting(
        "Limits of checks that differ from the built-in ones: `connections=70/85` (warning from, "
        "critical from), `unused-indexes=warning@50`, `slow-log=off` (docs/reference/checks.md).",
        default=None,
    )
    health_mute: str | None = setting(
        "Findings that do not count: ids of checks, or id:object, set off by commas.",
        default=None,
    )
    health_timeout_ms: int = setting(
        "Milliseconds after which a check is given up, 10 to 60000.", default=2_000
    )
    health_storage_gb: float = setting(
        "Gigabytes that the database may take; 0 for what its disk has.", default=0.0
    )
    prometheus_access: PrometheusAccess = setting(
        "Who may read `/metrics`: `token` (the operator), or `loopback` (this machine, too).",
        default="token",
    )
    maintenance_window: str = setting(
        "Hours in UTC in which maintenance works by itself, such as `01:00-05:00`; `always`.",
        default="01:00-05:00",
    )
    maintenance_lock_timeout_ms: int = setting(
        "Milliseconds that maintenance waits for a lock, 1 to 60000; then it goes on elsewhere.",
        default=2_000,
    )
    metrics_collect: CollectFrom = setting(
        "What `aegis up` measures containers with: `auto` (Docker where its socket may be read, "
        "else control groups), `docker`, `cgroup`, `prometheus`, `process` (its own process "
        "alone) or `off`.",
        default="auto",
    )
    metrics_every_s: float = setting("Seconds between measurements.", default=15.0)
    metrics_docker: str = setting(
        "Where Docker listens: a Unix socket, or `http://host:port`.",
        default="/var/run/docker.sock",
    )
    metrics_prometheus: str | None = setting(
        "Address of text to scrape (`http://host:8080/metrics`), or of a Prometheus server with "
        "cAdvisor's series (`http://host:9090`); several are set off by blanks.",
        secret=True,
        default=None,
    )
    metrics_watch: Literal["on", "off"] = setting(
        "Whether `aegis up` looks for anomalies in what is measured.", default="on"
    )
    alert_channels: str | None = setting(
        "Whom alerts are sent to: `NAME=ADDRESS`, set off by blanks, or `@FILE`; "
        "docs/howto/alerts.md has the forms.",
        secret=True,
        default=None,
    )
    alert_keep_days: int = setting("Days that alerts are kept when they are over.", default=180)
    session_events_keep_days: int = setting(
        "Days that single events of sessions are kept; sessions themselves stay. 0 for ever.",
        default=180,
    )
    column_keys: str | None = setting(
        "Keys that encrypt columns (`aegis security encrypt key` makes one), newest last, set off "
        "by commas; the file `column-keys` in `data_dir` otherwise.",
        secret=True,
        default=None,
    )
