"""Copies elsewhere: sent, read back to the last byte, and only then believed.

The manifest goes last: a copy that has none is not there. It is removed first for the same reason.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aegis.errors import NotFound, OpsError, Unavailable
from aegis.ops.backup.catalogue import KEY, MANIFEST, read_manifest, require_local
from aegis.ops.backup.hashing import hash_file
from aegis.ops.backup.locks import file_lock
from aegis.ops.backup.models import Copy, Manifest
from aegis.ops.backup.programs import Stopped
from aegis.ops.backup.reading import check_files
from aegis.ops.backup.sealed import decode, sync, unseal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aegis.ops.backup.catalogue import Catalogue
    from aegis.ops.backup.destinations.place import Destination
    from aegis.ops.backup.models import Entry

__all__ = ["drop_copy", "pull", "push", "stamp_of"]

_ATTEMPTS = 3


class _Meter:
    """Tells how far a copy has come, and ends it when nobody wants it any more."""

    def __init__(
        self,
        what: str,
        total: int,
        tell: Callable[[str, int, int], None] | None,
        stop: threading.Event | None,
    ) -> None:
        self.what, self.total, self.done = what, total, 0
        self._tell, self._stop = tell, stop

    def add(self, count: int) -> None:
        """Count bytes (`Stopped`)."""
        if self._stop is not None and self._stop.is_set():
            raise Stopped
        self.done += count
        if self._tell is not None:
            self._tell(self.what, min(self.done, self.total), self.total)

    def pause(self, seconds: float) -> None:
        """Wait, unless it is to end."""
        if self._stop is not None:
            self._stop.wait(seconds)
        else:
            threading.Event().wait(seconds)


def push(
    catalogue: Catalogue,
    entry: Entry,
    place: Destination,
    *,
    stop: threading.Event | None = None,
    tell: Callable[[str, int, int], None] | None = None,
) -> Entry:
    """Copy a backup to `place` and return its entry, which then says so.

    Raises:
        OpsError: `backup_damaged`, it is damaged here; `upload_lost`, it does not come back as it
            was sent.
        Unavailable: the place does not answer; the next push goes on where this one was.
    """
    manifest = require_local(entry)
    wanted = {file.name: file.sha256 for file in manifest.files}
    sizes = {file.name: file.bytes for file in manifest.files}
    for name in [KEY] * manifest.encrypted + [MANIFEST]:
        wanted[name] = hash_file(entry.path / name)
        sizes[name] = (entry.path / name).stat().st_size
    meter = _Meter("Copying", sum(sizes.values()), tell, stop)
    with (
        catalogue.in_use(entry),
        file_lock(catalogue.folder / f".push-{entry.name}"),
    ):
        check_files(entry.path, manifest, stop)
        for name, digest in wanted.items():
            _send(entry.path / name, f"{entry.name}/{name}", digest, sizes[name], place, meter)
        if entry.name not in place.names():
            raise OpsError(f"{place.title} does not list {entry.name}.", code="upload_lost")
    (catalogue.folder / f".push-{entry.name}").unlink(missing_ok=True)
    copy = Copy(destination=place.title, pushed_at=datetime.now(UTC))
    return catalogue.note_copy(entry.name, copy, place.title)


def _send(path: Path, name: str, digest: str, size: int, place: Destination, meter: _Meter) -> None:
    """Send a file until it is there as it is here."""
    before = meter.done
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            # One that an earlier run finished need not be sent again, only looked at.
            if place.size(name) != size:
                place.put(path, name, meter.add)
            if _digest(place, name, meter) == digest:
                meter.done = before
                meter.add(size)
                return
            place.forget(name)
        except Unavailable:
            if attempt == _ATTEMPTS:
                raise
            meter.pause(attempt)
        except OpsError as error:
            if error.code != "upload_lost":
                raise
            place.forget(name)
        meter.done = before
    raise OpsError(
        f"{place.title} took {name} {_ATTEMPTS} times and did not give it back as it was sent; "
        "there is no copy. Use another place, or have that one repaired.",
        code="upload_lost",
    )


def _digest(place: Destination, name: str, meter: _Meter) -> str:
    found = hashlib.sha256()
    for piece in place.read(name):
        found.update(piece)
        meter.add(0)
    return found.hexdigest()


def pull(
    catalogue: Catalogue,
    name: str,
    place: Destination,
    *,
    stop: threading.Event | None = None,
    tell: Callable[[str, int, int], None] | None = None,
) -> Entry:
    """Fetch a backup from `place` and return its entry; a broken fetch goes on where it was.

    Raises:
        NotFound: the place does not have it.
        OpsError: `backup_damaged`, what came is not what its manifest says.
    """
    if name not in place.names():
        raise NotFound(f"{place.title} has no backup {name!r}.", code="backup_not_found")
    with catalogue.folder_errors():
        catalogue.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with file_lock(catalogue.folder / f".pull-lock-{name}"):
            staged = catalogue.folder / f".pull-{name}"
            staged.mkdir(exist_ok=True, mode=0o700)
            manifest = _fetch_all(name, place, staged, stop, tell)
            try:
                check_files(staged, manifest, stop)
            except OpsError:
                shutil.rmtree(staged)
                raise
            entry = _take_in(catalogue, staged, name)
        (catalogue.folder / f".pull-lock-{name}").unlink(missing_ok=True)
    copy = Copy(destination=place.title, pushed_at=datetime.now(UTC))
    return catalogue.note_copy(entry.name, copy, place.title)


def _fetch_all(
    name: str,
    place: Destination,
    staged: Path,
    stop: threading.Event | None,
    tell: Callable[[str, int, int], None] | None,
) -> Manifest:
    text = b"".join(place.read(f"{name}/{MANIFEST}"))
    manifest = decode(Manifest, unseal(text, f"{place.title}/{name}/{MANIFEST}"))
    if manifest.name != name:
        raise OpsError(
            f"{place.title}/{name} is another backup, {manifest.name}.", code="backup_damaged"
        )
    meter = _Meter("Fetching", manifest.bytes, tell, stop)
    for file in manifest.files:
        target = staged / file.name
        # Names come from elsewhere: nothing may be written outside.
        if not target.resolve().is_relative_to(staged.resolve()):
            raise OpsError(f"{file.name!r} is no name of a file.", code="backup_damaged")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _fetch(f"{name}/{file.name}", place, target, file.bytes, meter)
    if manifest.encrypted:
        (staged / KEY).write_bytes(b"".join(place.read(f"{name}/{KEY}")))
    (staged / MANIFEST).write_bytes(text)
    return manifest


def _fetch(name: str, place: Destination, target: Path, size: int, meter: _Meter) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        begun = target.stat().st_size if target.exists() else 0
        if begun > size:
            target.unlink()
            begun = 0
        meter.add(0)
        try:
            with target.open("ab") as file:
                if begun < size:
                    for piece in place.read(name, begun):
                        file.write(piece)
                        meter.add(len(piece))
                os.fsync(file.fileno())
        except Unavailable:
            if attempt == _ATTEMPTS:
                raise
            meter.pause(attempt)
        else:
            return


def _take_in(catalogue: Catalogue, staged: Path, name: str) -> Entry:
    """Make an entry of what was fetched, or give an entry its files back."""
    target = catalogue.folder / name
    if not target.exists():
        return catalogue.publish(staged, name)
    read_manifest(target)
    for child in staged.iterdir():
        if not (target / child.name).exists():
            child.rename(target / child.name)
    sync(target)
    shutil.rmtree(staged)
    return catalogue.get(name)


def drop_copy(catalogue: Catalogue, entry: Entry, place: Destination) -> Entry | None:
    """Remove the copy of a backup at `place`; return its entry, None where nothing is left."""
    names = place.files(entry.name)
    first = f"{entry.name}/{MANIFEST}"
    for name in sorted(names, key=lambda n: n != first):
        place.forget(name.removesuffix(".part"))
    changed = catalogue.note_copy(entry.name, None, place.title)
    if not changed.local and not changed.state.copies:
        catalogue.remove(changed, keep_entry=False)
        return None
    return changed


def stamp_of(name: str) -> str:
    """Return the part of a backup's name that tells when it was made."""
    parts = name.split("_")
    return next((part for part in reversed(parts) if part.endswith("Z")), name)
