"""Looking at a backup without a server: its files, their hashes, and the whole archive once."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.errors import AegisError, ConfigError, OpsError
from aegis.ops.backup import crypto
from aegis.ops.backup.catalogue import ARCHIVE, KEY, MANIFEST, STATE, read_manifest
from aegis.ops.backup.hashing import hash_file
from aegis.ops.backup.models import Check, Verification
from aegis.ops.backup.programs import Stopped, find_program, first_error, run_program
from aegis.ops.backup.sealed import read_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aegis.ops.backup.crypto import KeyRing
    from aegis.ops.backup.models import Entry, FileEntry, Manifest, Verdict

__all__ = [
    "check_files",
    "data_key_of",
    "plain_archive",
    "require_sound",
    "summary",
    "timed_check",
    "verify_fast",
]


def verify_fast(
    entry: Entry,
    keys: KeyRing,
    *,
    stop: threading.Event | None = None,
    tell: Callable[[str, int, int], None] | None = None,
) -> Verification:
    """Compare every file with the manifest and read the whole archive; changes nothing."""
    began = time.monotonic()
    checks = [timed_check("manifest", lambda: _manifest(entry, keys))]
    manifest = entry.manifest
    if manifest is not None and checks[0].verdict != "failed":
        checks.append(timed_check("files", lambda: check_files(entry.path, manifest, stop, tell)))
        if checks[-1].verdict == "verified" and checks[0].verdict == "verified":
            checks.append(timed_check("archive", lambda: _read_archive(entry, keys, stop)))
    return summary(checks, "fast", began)


def summary(checks: list[Check], level: str, began: float) -> Verification:
    """Return the verdict of several checks: one that failed decides, then one that could not."""
    verdicts = {check.verdict for check in checks}
    verdict: Verdict = "verified"
    if "failed" in verdicts:
        verdict = "failed"
    elif "not_verified" in verdicts or not checks:
        verdict = "not_verified"
    return Verification(
        verdict=verdict,
        level="full" if level == "full" else "fast",
        at=datetime.now(UTC),
        seconds=round(time.monotonic() - began, 3),
        checks=tuple(checks),
    )


def timed_check(name: str, check: Callable[[], str]) -> Check:
    """Run a check, which returns what it found and raises what is wrong.

    `OpsError` with a code of damage fails; what could not be looked at is `not_verified`.
    """
    began = time.monotonic()
    verdict: Verdict = "verified"
    try:
        detail = check()
    except Stopped:
        raise
    except AegisError as error:
        verdict = "failed" if error.code in _FAILURES else "not_verified"
        detail = error.message
    except OSError as error:
        # A file that cannot be read may be there for others: no verdict on its contents.
        verdict, detail = "not_verified", f"{error.strerror or error}: {error.filename}"
    return Check(
        name=name, verdict=verdict, detail=detail, seconds=round(time.monotonic() - began, 3)
    )


#: Codes that say that the backup itself is bad.
_FAILURES = frozenset(
    {"backup_damaged", "restore_failed", "restore_differs", "restored_unsound", "smoke_failed"}
)


def _manifest(entry: Entry, keys: KeyRing) -> str:
    if entry.manifest is None:
        raise OpsError(entry.damage or "there is no manifest", code="backup_damaged")
    _envelope(entry, entry.manifest)
    data_key = data_key_of(entry, keys)
    read_manifest(entry.path, None if data_key is None else crypto.manifest_key(data_key))
    return f"{len(entry.manifest.files)} files, {len(entry.manifest.tables)} tables"


def _envelope(entry: Entry, manifest: Manifest) -> None:
    if manifest.encrypted != (entry.path / KEY).is_file():
        what = "missing" if manifest.encrypted else "there, and the backup is not encrypted"
        raise OpsError(f"{entry.path / KEY} is {what}.", code="backup_damaged")


def data_key_of(entry: Entry, keys: KeyRing) -> bytes | None:
    """Return the key of an encrypted backup's files; None for one that is not.

    Raises:
        ConfigError: `backup_key_missing`.
        OpsError: `backup_damaged`.
    """
    if entry.manifest is None or not entry.manifest.encrypted:
        return None
    return keys.unwrap(read_sealed(entry.path / KEY), entry.name)


def check_files(
    folder: Path,
    manifest: Manifest,
    stop: threading.Event | None = None,
    tell: Callable[[str, int, int], None] | None = None,
) -> str:
    """Compare the files of a backup with its manifest and say how many there are.

    Raises:
        OpsError: `backup_damaged`, naming each file that is missing, changed or too many.
    """
    wanted = {file.name: file for file in manifest.files}
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }
    there = {n for n in there if n not in (MANIFEST, STATE, KEY) and not n.startswith(".")}
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - there)]
    problems += [f"{name} does not belong there" for name in sorted(there - wanted.keys())]
    done = 0

    def one(file: FileEntry) -> str | None:
        nonlocal done
        if stop is not None and stop.is_set():
            raise Stopped
        found = _file_problem(folder / file.name, file)
        done += file.bytes
        if tell is not None:
            tell("Hashes", done, manifest.bytes)
        return found

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        present = [file for file in manifest.files if file.name in there]
        problems += [text for text in pool.map(one, present) if text]
    if problems:
        raise OpsError("; ".join(problems[:10]) + ".", code="backup_damaged")
    return f"{len(wanted)} files, {manifest.bytes} bytes, as the manifest says"


def _file_problem(path: Path, file: FileEntry) -> str | None:
    if path.is_symlink() or not path.is_file():
        return f"{file.name} is no plain file"
    size = path.stat().st_size
    if size != file.bytes:
        return f"{file.name} has {size} bytes, not {file.bytes}"
    if hash_file(path) != file.sha256:
        return f"{file.name} has another SHA-256 than when it was written"
    return None


@contextmanager
def plain_archive(entry: Entry, keys: KeyRing) -> Generator[Path]:
    """Yield the path of pg_dump's archive, decrypted into a private folder if need be.

    Raises:
        ConfigError: `backup_key_missing`.
        OpsError: `backup_damaged`.
    """
    manifest = entry.manifest
    if manifest is None:
        raise OpsError(entry.damage or "it has no manifest", code="backup_damaged")
    name = ARCHIVE if manifest.format == "directory" else f"{ARCHIVE}.dump"
    data_key = data_key_of(entry, keys)
    if data_key is None:
        yield entry.path / name
        return
    # Beside the backups: there is room for them, and nobody else may enter.
    with tempfile.TemporaryDirectory(prefix=".partial-plain-", dir=entry.path.parent) as place:
        for file in manifest.files:
            target = Path(place) / file.name.removesuffix(".enc")
            target.parent.mkdir(exist_ok=True, mode=0o700)
            source_path = entry.path / file.name
            with source_path.open("rb") as source, target.open("xb") as out:
                for piece in crypto.decrypted(
                    source, crypto.file_key(data_key, file.name), str(source_path)
                ):
                    out.write(piece)
        yield Path(place) / name


def _read_archive(entry: Entry, keys: KeyRing, stop: threading.Event | None) -> str:
    manifest = entry.manifest
    assert manifest is not None
    pg_restore, _ = find_program(
        "pg_restore", manifest.client_major, compression=manifest.compression
    )
    with plain_archive(entry, keys) as archive:
        status, said = run_program(
            [pg_restore, f"--file={os.devnull}", archive], {"LC_ALL": "C"}, stop=stop
        )
    if status != 0:
        raise OpsError(f"pg_restore: {first_error(said)}", code="backup_damaged")
    return "pg_restore read it to its end"


def require_sound(entry: Entry, keys: KeyRing) -> None:
    """Return if a backup's files are as its manifest says, before anything is made of them.

    Raises:
        OpsError: `backup_damaged`.
        ConfigError: `backup_key_missing`.
    """
    if entry.manifest is None:
        raise OpsError(f"The backup {entry.name} is damaged: {entry.damage}", code="backup_damaged")
    try:
        _manifest(entry, keys)
        check_files(entry.path, entry.manifest)
    except ConfigError:
        raise
    except OpsError as error:
        raise OpsError(
            f"The backup {entry.name} is damaged, and nothing was done: {error.message}",
            code="backup_damaged",
        ) from error
