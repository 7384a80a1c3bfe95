"""Heads that were written down outside of the database: a file of the data folder, one a line.

The file is only added to, each line synchronised and signed. Whoever takes rows from the end of the
log, or brings an older database back, does not change this file with it. One who can write the data
folder reads the secret there, too: against that one, copy heads elsewhere (`head --json`). Each
backup's manifest holds one, too, and copies of backups are elsewhere.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from aegis.errors import ConfigError
from aegis.security.audit.encoding import anchor_body, sign
from aegis.security.audit.models import Anchor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aegis.config import Settings
    from aegis.security.audit.models import Head
    from aegis.vault import Secret

__all__ = [
    "Anchors",
    "add_anchor",
    "anchor_path",
    "make_anchor",
    "read_anchor",
    "read_anchors",
    "read_anchors_of",
    "written",
]

_NAME: Final = "audit-anchors.jsonl"
#: Of a backup's folder, and what the anchor is called in there.
_MANIFEST: Final = "manifest.json"
_IN_MANIFEST: Final = "audit_anchor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """What a file of anchors holds."""

    path: Path
    #: Whether there is a file.
    there: bool
    #: In the order of the lines.
    anchors: Sequence[Anchor] = ()
    #: Numbers of lines that are none: changed, or cut short by a crash.
    bad_lines: Sequence[int] = ()


def anchor_path(settings: Settings) -> Path:
    """Return where the anchors are."""
    return settings.data_dir / _NAME


def make_anchor(
    head: Head,
    secret: Secret,
    *,
    at: datetime,
    accepts: bool = False,
    from_backup: bool = False,
) -> Anchor:
    """Return a signed anchor of a head."""
    unsigned = Anchor(
        log_id=head.log_id,
        seq=head.seq,
        hash=head.hash,
        at=at,
        secret_id=secret.id,
        accepts=accepts,
        from_backup=from_backup,
    )
    return replace(unsigned, signature=sign(secret, anchor_body(unsigned)))


def add_anchor(settings: Settings, anchor: Anchor) -> None:
    """Add a line and synchronise it (`ConfigError`)."""
    path = anchor_path(settings)
    line = (json.dumps(written(anchor), separators=(",", ":")) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            # A line that a crash cut short must not swallow this one.
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"The anchors of the audit log {path} cannot be written: {error.strerror}. Make the "
            "folder writable, or set AEGIS_DATA_DIR.",
            code="data_dir_not_writable",
        ) from error


def read_anchors(settings: Settings) -> Anchors:
    """Return the anchors of the data folder (`ConfigError`: they cannot be read)."""
    return read_anchors_of(anchor_path(settings))


def read_anchors_of(path: Path) -> Anchors:
    """Return the anchors of a copy of that file, or of a backup: its folder, or its manifest.

    Raises:
        ConfigError: it cannot be read.
    """
    if path.is_dir():
        path /= _MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Anchors(path=path, there=False)
    except OSError as error:
        raise ConfigError(
            f"The anchors of the audit log {path} cannot be read: {error.strerror}. Use its "
            "owner's account.",
            code="data_dir_not_readable",
        ) from error
    anchors: list[Anchor] = []
    bad: list[int] = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            if number == 1 and "tables" in value:
                # The lines behind it are its checksums; the anchor is signed by itself.
                return _of_manifest(path, value)
            anchors.append(read_anchor(value))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            bad.append(number)
    return Anchors(path=path, there=True, anchors=anchors, bad_lines=bad)


def _of_manifest(path: Path, value: dict[str, Any]) -> Anchors:
    """Return the anchor of a backup; one of before there were any has none."""
    found = value.get(_IN_MANIFEST)
    return Anchors(path=path, there=True, anchors=() if found is None else (read_anchor(found),))


def written(anchor: Anchor) -> dict[str, Any]:
    """Return an anchor as it is written down."""
    return {
        "log_id": str(anchor.log_id),
        "seq": anchor.seq,
        "hash": anchor.hash.hex(),
        "at": anchor.at.astimezone(UTC).isoformat(),
        "accepts": anchor.accepts,
        "from_backup": anchor.from_backup,
        "secret_id": anchor.secret_id,
        "signature": anchor.signature.hex(),
    }


def read_anchor(value: dict[str, Any]) -> Anchor:
    """Return the anchor that was written down (`ValueError`, `KeyError`, `TypeError`: none)."""
    at = datetime.fromisoformat(value["at"])
    if at.tzinfo is None or not isinstance(value["seq"], int):
        raise ValueError("a time without a zone, or no number")
    return Anchor(
        log_id=UUID(value["log_id"]),
        seq=value["seq"],
        hash=bytes.fromhex(value["hash"]),
        at=at,
        accepts=bool(value["accepts"]),
        from_backup=bool(value.get("from_backup", False)),
        secret_id=str(value["secret_id"]),
        signature=bytes.fromhex(value["signature"]),
    )
