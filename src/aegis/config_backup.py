"""Settings of backups; `Settings` in `config.py` takes them in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aegis.config_fields import setting
from aegis.config_http import HttpSettings

__all__ = ["BackupSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings(HttpSettings):
    """Where backups go, how they are made, and how long they stay."""

    backup_dir: Path | None = setting(
        "Folder of backups, best on another disk than the database; `backups` in `data_dir` "
        "otherwise.",
        default=None,
    )
    backup_format: Literal["custom", "directory"] = setting(
        "pg_dump's format: `custom`, one file; `directory`, written by several processes.",
        default="custom",
    )
    backup_jobs: int = setting(
        "Processes that dump (format `directory`) and restore, 1 to 64.", default=2
    )
    backup_compression: str = setting(
        "`auto` for zstd:1, or gzip:1 where pg_dump has no zstd; or a method and level.",
        default="auto",
    )
    backup_encrypt: Literal["no", "yes"] = setting(
        "Whether backups are encrypted by the newest of `backup_keys`.", default="no"
    )
    backup_keys: str | None = setting(
        "Keys that encrypt backups (`aegis backup key` makes one), newest last, set off by commas.",
        secret=True,
        default=None,
    )
    backup_keep_days: int = setting("Days that backups are kept in `backup_dir`.", default=14)
    backup_keep_remote_days: int = setting(
        "Days that their copies are kept at `backup_destination`.", default=90
    )
    backup_keep_at_least: int = setting(
        "Backups that are kept whatever their age, beside the last verified one.", default=3
    )
    backup_destination: str | None = setting(
        "Where copies go: `file:///folder`, `sftp://user@host:port/folder` (below the home folder; "
        "`//folder` begins at the root) or `s3://bucket/prefix`.",
        default=None,
    )
    backup_sftp_key: Path | None = setting(
        "Private key for SFTP; without it those of `~/.ssh` and the agent are tried.",
        default=None,
    )
    backup_sftp_known_hosts: Path | None = setting(
        "File of known host keys for SFTP; `~/.ssh/known_hosts` otherwise. A host that is not in "
        "it is refused.",
        default=None,
    )
    backup_sftp_password: str | None = setting(
        "Password for SFTP, where no key can be used.", secret=True, default=None
    )
    backup_s3_endpoint: str | None = setting(
        "Address of an S3-compatible store; Amazon's if left out.", default=None
    )
    backup_s3_region: str | None = setting("Region of the store.", default=None)
    backup_s3_access_key: str | None = setting(
        "Access key of the store; without it boto3 looks where it always does.",
        secret=True,
        default=None,
    )
    backup_s3_secret_key: str | None = setting(
        "Secret key that belongs to it.", secret=True, default=None
    )
    backup_before_upgrade: Literal["yes", "no"] = setting(
        "Whether `aegis db upgrade` makes a backup before it changes a database with rows.",
        default="yes",
    )
    backup_cron: str = setting(
        "When a backup is made, read, copied and old ones pruned, in UTC; `off` for never.",
        default="0 2 * * *",
    )
    backup_verify_cron: str = setting(
        "When the newest one is restored into a throw-away server and compared.",
        default="0 4 * * 0",
    )
    backup_drill_cron: str = setting("When a full recovery is timed.", default="0 5 1 * *")
