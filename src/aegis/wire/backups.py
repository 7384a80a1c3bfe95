"""Backups as JSON: what faces show of an entry, without what is only for restoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.wire.plain import plain

if TYPE_CHECKING:
    from aegis.ops.backup.models import Entry

__all__ = ["entry_json"]


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return a backup for a program; times in ISO 8601, sizes in bytes."""
    manifest = entry.manifest
    shown: dict[str, Any] = {
        "name": entry.name,
        "verdict": entry.verdict,
        "level": entry.level,
        "damage": entry.damage,
        "hold": entry.state.hold,
        "local": entry.local,
        "copies": entry.state.copies,
        "fast": entry.state.fast,
        "full": entry.state.full,
        "number": None,
    }
    if manifest is not None:
        shown |= {
            "number": manifest.number,
            "label": manifest.label,
            "database": manifest.database,
            "snapshot_at": manifest.snapshot_at,
            "finished_at": manifest.finished_at,
            "format": manifest.format,
            "compression": manifest.compression,
            "encrypted": manifest.encrypted,
            "bytes": manifest.bytes,
            "tables": len(manifest.tables),
            "rows": manifest.rows,
            "server_version": manifest.server_version,
            "schema_revision": manifest.schema_revision,
            "extensions": manifest.extensions,
            "timings": manifest.timings,
        }
    return plain(shown)
