"""Wrapping data keys by a newer key; the files that they encrypt stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.backup.catalogue import KEY
from aegis.ops.backup.crypto import key_id
from aegis.ops.backup.sealed import read_sealed, write_sealed

if TYPE_CHECKING:
    from aegis.ops.backup.catalogue import Catalogue
    from aegis.ops.backup.crypto import KeyRing

__all__ = ["rekey"]


def rekey(catalogue: Catalogue, keys: KeyRing) -> int:
    """Wrap every data key of the catalogue by the newest key; return how many were changed.

    Raises:
        Conflict: `backup_running`.
        ConfigError: a backup's key is not among `keys`; those before it are changed already.
    """
    changed = 0
    with catalogue.alone():
        for entry in catalogue.entries():
            if entry.manifest is None or not entry.manifest.encrypted:
                continue
            envelope = read_sealed(entry.path / KEY)
            if keys.keys and envelope["key_id"] == key_id(keys.keys[-1]):
                continue
            data_key = keys.unwrap(envelope, entry.name)
            write_sealed(entry.path / KEY, keys.wrap(data_key, entry.name))
            changed += 1
    return changed
