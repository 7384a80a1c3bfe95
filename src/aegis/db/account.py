"""The account that the server runs as, and which folders that account can enter.

PostgreSQL refuses to run as root. Started by root, the server runs as the owner of its data
folder, or else as `postgres` or `nobody`; started by anyone else, as that person.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from aegis.errors import ConfigError, OpsError

__all__ = ["Account", "RunAs", "account_for", "can_enter", "open_way", "run_as"]

#: In this order; both exist on every common Linux, `nobody` also on macOS.
_NAMES = ("postgres", "nobody")


class RunAs(TypedDict, total=False):
    """Keyword arguments of `subprocess` that change the user; empty for the caller's own."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An unprivileged user of the system."""

    name: str
    uid: int
    gid: int


def account_for(*folders: Path) -> Account | None:
    """Return the account for a cluster; None means the caller's own.

    Called by root, it is the owner of the first of `folders` that exists and is not root's.

    Raises:
        OpsError: root called and the system has neither `postgres` nor `nobody`.
    """
    if os.geteuid() != 0:
        return None
    for folder in folders:
        owner = folder.stat() if folder.exists() else None
        if owner is not None and owner.st_uid != 0:
            return Account(name=_name(owner.st_uid), uid=owner.st_uid, gid=owner.st_gid)
    for name in _NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise OpsError(
        "PostgreSQL must not run as root, and the system has no user `postgres` or `nobody`. "
        "Create one (`useradd --system postgres`), or start Aegis as another user.",
        code="server_account_missing",
    )


def run_as(account: Account | None) -> RunAs:
    """Return the `subprocess` arguments that run a program as `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def can_enter(path: Path, account: Account | None) -> bool:
    """Tell whether `account` may enter the folder (or run the program) `path`.

    Asks the kernel in a process of that account: access lists and mounts count too.
    """
    if account is None:
        return os.access(path, os.X_OK)
    probe = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$1"', "sh", path], cwd="/", check=False, **run_as(account)
    )
    return probe.returncode == 0


def open_way(folder: Path, account: Account | None) -> None:
    """Make sure that `account` can enter `folder`, which is ours: let others pass through it.

    Only `folder` itself is changed, never one above it; passing through (mode `--x`) shows nobody
    what is inside.

    Raises:
        ConfigError: a folder above keeps the account out; it is named.
    """
    if account is None or can_enter(folder, account):
        return
    for above in reversed(folder.parents):
        if not can_enter(above, account):
            raise ConfigError(
                f"The server runs as `{account.name}`, not as root, and may not pass through "
                f"{above}. Set AEGIS_DATA_DIR to a folder elsewhere, such as /var/lib/aegis, or "
                f"run `chmod o+x {above}`.",
                code="data_dir_unreachable",
            )
    folder.chmod(folder.stat().st_mode | 0o011)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
