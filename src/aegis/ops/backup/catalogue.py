"""The catalogue: one folder a backup, and nothing that a lost database could take along.

    <folder>/<name>/manifest.json   sealed; what the backup is
    <folder>/<name>/key.json        sealed; its data key, encrypted, where it is encrypted
    <folder>/<name>/state.json      sealed; verdicts, holds, copies elsewhere
    <folder>/<name>/database.dump   or `database/`: pg_dump's archive

Names that begin with a dot are unfinished or on their way out; the next run removes them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegis.errors import Conflict, InvalidInput, NotFound, OpsError
from aegis.ops.backup.locks import file_lock, try_lock
from aegis.ops.backup.models import Copy, Drill, Entry, Manifest, State, Verification
from aegis.ops.backup.sealed import decode, encode, read_sealed, seal, sync, unseal, write_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["ARCHIVE", "KEY", "MANIFEST", "STATE", "Catalogue", "read_manifest", "require_local"]

MANIFEST = "manifest.json"
STATE = "state.json"
KEY = "key.json"
ARCHIVE = "database"

_PARTIAL, _TRASH, _DRILL = ".partial-", ".trash-", ".drill-"
#: Locked as long as somebody works in the folder.
_HELD = ".held"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Catalogue:
    """The backups of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Generator[None]:
        """Be the only one that makes or removes backups, and clean up after the last who was.

        Raises:
            Conflict: `backup_running`.
            OpsError: `backup_folder`, it cannot be written.
        """
        with self.folder_errors():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with file_lock(self.folder / ".lock"):
                for left in [
                    *self.folder.glob(f"{_PARTIAL}*"),
                    *self.folder.glob(f"{_TRASH}*"),
                ]:
                    shutil.rmtree(left, ignore_errors=True)
                for left in self.folder.glob(f"{_DRILL}*"):
                    _remove_unless_held(left)
                yield

    @contextmanager
    def pruning(self) -> Generator[None]:
        """Be the only one that removes copies elsewhere; backups are made meanwhile.

        Raises:
            Conflict: `backup_running`.
        """
        with self.folder_errors():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with file_lock(self.folder / ".prune-lock"):
                yield

    @contextmanager
    def drilling(self) -> Generator[Path]:
        """Yield a folder for a drill to fetch into; backups may be made and removed meanwhile."""
        with self.folder_errors():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = Path(tempfile.mkdtemp(prefix=_DRILL, dir=self.folder))
        try:
            with file_lock(path / _HELD):
                yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def folder_errors(self) -> Generator[None]:
        """Say what the system says of the folder as an error of ours."""
        try:
            yield
        except OSError as error:
            raise OpsError(
                f"The backup folder {self.folder} cannot be used: {error.strerror or error}. Free "
                "space there, correct its owner, or set AEGIS_BACKUP_DIR.",
                code="backup_folder",
            ) from error

    def entries(self) -> list[Entry]:
        """Return every backup, newest first; a damaged one is there, and says so."""
        if not self.folder.is_dir():
            return []
        with self.folder_errors():
            found = [
                self._entry(path)
                for path in self.folder.iterdir()
                if path.is_dir() and not path.name.startswith(".")
            ]
        return sorted(found, key=_order, reverse=True)

    def get(self, name: str) -> Entry:
        """Return one backup; `latest` is the newest that is here and did not fail (`NotFound`)."""
        if name == "latest":
            return self.latest()
        path = self._path(name)
        if not path.is_dir():
            missing = NotFound(
                f"There is no backup {name!r} in {self.folder}; `aegis backup list` shows them.",
                code="backup_not_found",
            )
            missing.public = f"There is no backup {name!r}."
            raise missing
        return self._entry(path)

    def latest(self) -> Entry:
        """Return the newest backup that is here and did not fail (`NotFound`)."""
        for entry in self.entries():
            if entry.local and entry.manifest is not None and entry.verdict != "failed":
                return entry
        missing = NotFound(
            f"There is no backup in {self.folder} that could be used; make one with "
            "`aegis backup create`, or fetch one with `aegis backup pull`.",
            code="backup_not_found",
        )
        missing.public = "There is no backup that could be used."
        raise missing

    def next_number(self) -> int:
        """Return the number of the next backup; call it alone."""
        return 1 + max((e.manifest.number for e in self.entries() if e.manifest), default=0)

    @contextmanager
    def staging(self, name: str) -> Generator[Path]:
        """Yield a hidden folder for a new backup; what is left of it at the end is removed."""
        path = self.folder / f"{_PARTIAL}{name}"
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def publish(self, staged: Path, name: str) -> Entry:
        """Give a finished backup its name; from here on it is listed."""
        target = self._path(name)
        for root, _, files in os.walk(staged):
            for file in files:
                sync(Path(root) / file)
            sync(Path(root))
        staged.rename(target)
        sync(self.folder)
        return self._entry(target)

    @contextmanager
    def in_use(self, entry: Entry) -> Generator[None]:
        """Keep a backup from being removed while it is read (`NotFound` if it just was)."""
        try:
            with file_lock(self.folder / f".use-{entry.name}", shared=True, wait=True):
                if not entry.path.is_dir():
                    raise NotFound(
                        f"The backup {entry.name} has just been removed.", code="backup_not_found"
                    )
                yield
        except OSError as error:
            raise OpsError(
                f"The backup {entry.name} cannot be read: {error.strerror or error} "
                f"({error.filename}).",
                code="backup_unreadable",
            ) from error

    def remove(self, entry: Entry, *, keep_entry: bool) -> bool:
        """Remove a backup's files, or all of it; return False where somebody reads it.

        With `keep_entry` the manifest stays, because a copy elsewhere does.
        """
        use = self.folder / f".use-{entry.name}"
        descriptor = try_lock(use)
        if descriptor is None:
            return False
        try:
            trash = self.folder / f"{_TRASH}{entry.name}-{time.time_ns()}"
            if keep_entry:
                trash.mkdir(mode=0o700)
                for path in _payload(entry.path):
                    path.rename(trash / path.name)
                sync(entry.path)
            else:
                entry.path.rename(trash)
            sync(self.folder)
            shutil.rmtree(trash, ignore_errors=True)
            use.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        return True

    def change(self, name: str, change: Callable[[State], State]) -> Entry:
        """Change the state of a backup; two that do so at once follow one another."""
        with self.folder_errors(), file_lock(self.folder / ".state-lock", wait=True):
            entry = self.get(name)
            state = change(entry.state)
            write_sealed(entry.path / STATE, state)
            return entry.with_state(state)

    def note_verification(self, name: str, found: Verification) -> Entry:
        """Remember what a look at a backup found."""
        if found.level == "full":
            return self.change(name, lambda state: replace(state, full=found))
        return self.change(name, lambda state: replace(state, fast=found))

    def note_copy(self, name: str, copy: Copy | None, destination: str) -> Entry:
        """Remember that there is a copy at `destination`, or (None) that there is none any more."""

        def change(state: State) -> State:
            others = tuple(c for c in state.copies if c.destination != destination)
            return replace(state, copies=(*others, copy) if copy is not None else others)

        return self.change(name, change)

    def drills(self) -> list[Drill]:
        """Return the drills so far, oldest first; lines that are damaged are left out."""
        found: list[Drill] = []
        try:
            lines = (self.folder / "drills.jsonl").read_bytes().split(b"\n\n")
        except FileNotFoundError:
            return []
        for text in lines:
            if text.strip():
                with suppress(OpsError):
                    found.append(decode(Drill, unseal(text.rstrip(b"\n") + b"\n", "a drill")))
        return found

    def note_drill(self, drill: Drill) -> None:
        """Append a drill to the history."""
        with self.folder_errors(), file_lock(self.folder / ".state-lock", wait=True):
            path = self.folder / "drills.jsonl"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(seal(encode(drill)) + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"The name of a backup is {name!r}; `aegis backup list` shows what there is."
            )
        return self.folder / name

    def _entry(self, path: Path) -> Entry:
        try:
            manifest, damage = read_manifest(path), None
        except (OpsError, OSError) as error:
            manifest, damage = None, str(error)
        return Entry(
            name=path.name,
            path=path,
            manifest=manifest,
            damage=damage,
            state=_read_state(path),
            local=any(True for _ in _payload(path)) or manifest is None,
        )


def _remove_unless_held(folder: Path) -> None:
    """Remove what a drill that was killed left."""
    try:
        descriptor = try_lock(folder / _HELD)
    except FileNotFoundError:
        # It went by itself.
        return
    if descriptor is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def read_manifest(folder: Path, key: bytes | None = None) -> Manifest:
    """Return the manifest of a backup's folder.

    Raises:
        OpsError: `backup_damaged`, also where it is the manifest of another backup.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise OpsError(f"{path} is missing.", code="backup_damaged")
    manifest = decode(Manifest, read_sealed(path, key))
    if manifest.name != folder.name:
        raise OpsError(
            f"{path} is the manifest of another backup, {manifest.name}.", code="backup_damaged"
        )
    return manifest


def _read_state(path: Path) -> State:
    try:
        return decode(State, read_sealed(path / STATE))
    except FileNotFoundError:
        return State()
    except OpsError as error:
        # Nobody knows whether it was held, so it is; no verdict is believed.
        return State(hold=f"its state is damaged: {error}")


def _payload(path: Path) -> Generator[Path]:
    for child in path.iterdir():
        if child.name not in (MANIFEST, STATE, KEY) and not child.name.startswith("."):
            yield child


def _order(entry: Entry) -> Any:
    return (entry.manifest.number if entry.manifest else 0, entry.name)


def require_local(entry: Entry) -> Manifest:
    """Return the manifest of a backup whose files are here.

    Raises:
        OpsError: `backup_damaged`.
        Conflict: `backup_elsewhere`.
    """
    if entry.manifest is None:
        raise OpsError(f"The backup {entry.name} is damaged: {entry.damage}", code="backup_damaged")
    if not entry.local:
        raise Conflict(
            f"The files of {entry.name} are not here any more; fetch them first: "
            f"`aegis backup pull {entry.name}`.",
            code="backup_elsewhere",
        )
    return entry.manifest
